/*
 * Runs the vectors that all surfaces share through the C ABI.
 *
 * usage: vectors GROUP/CASE.json...   in the folder tests/vectors
 */
#include "check.h"

#include <amochats.h>
#include <jansson.h>
#include <string.h>

/* ---- reading a case ---- */

/* What body_base64 held; freed after the case. */
static char *decoded;

/* How JSON is read for this case: Jansson has no integers beyond 64 bits, so that a case with one
 * is compared in floating point. */
static size_t json_flags;

static json_t *load(const char *path, json_error_t *why) {
    json_flags = JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_t *vector = json_load_file(path, json_flags, why);
    if (vector == NULL && json_error_code(why) == json_error_numeric_overflow) {
        json_flags |= JSON_DECODE_INT_AS_REAL;
        vector = json_load_file(path, json_flags, why);
    }
    return vector;
}

static amochats_slice slice(const json_t *text) {
    amochats_slice slice = {json_string_value(text), json_string_length(text)};
    return slice;
}

static amochats_slice text(const json_t *input, const char *key) {
    const json_t *value = json_object_get(input, key);
    if (!json_is_string(value)) check_fail("input.%s is not a string", key);
    return slice(value);
}

static amochats_slice decode_base64(amochats_slice text) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, held = 0;
    amochats_slice bytes = {NULL, 0};
    REQUIRE(decoded = (char *)malloc(text.len + 1));
    bytes.data = decoded;
    for (size_t i = 0; i < text.len && text.data[i] != '='; i++) {
        const char *digit = (const char *)memchr(alphabet, text.data[i], 64);
        if (digit == NULL) {
            check_fail("input.body_base64 is not base64");
            break;
        }
        bits = (bits << 6 | (unsigned)(digit - alphabet)) & 0xfff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            decoded[bytes.len++] = (char)(bits >> held & 0xff);
        }
    }
    return bytes;
}

static amochats_slice body(const json_t *input) {
    amochats_slice none = {NULL, 0};
    if (json_object_get(input, "body_base64")) return decode_base64(text(input, "body_base64"));
    return json_object_get(input, "body") ? text(input, "body") : none;
}

/* ---- comparing ---- */

static int same(amochats_slice a, amochats_slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void check_text(const char *what, amochats_slice found, const json_t *expected) {
    if ((found.data != NULL) != json_is_string(expected)) {
        check_fail("%s is %s", what, found.data ? "there" : "missing");
    } else if (!same(found, slice(expected))) {
        check_fail("%s is \"%.*s\"", what, (int)found.len, found.data);
    }
}

static void check_integer(const char *what, int found, int64_t number, const json_t *expected) {
    int equal = json_is_integer(expected) ? number == json_integer_value(expected)
                                          : (double)number == json_real_value(expected);
    if (found != json_is_number(expected)) {
        check_fail("%s is %s", what, found ? "there" : "missing");
    } else if (found && !equal) {
        check_fail("%s is %lld", what, (long long)number);
    }
}


static void check_json(const char *what, amochats_slice found, const json_t *expected) {
    json_error_t why;
    json_t *value = json_loadb(found.data, found.len, json_flags, &why);
    if (value == NULL) {
        check_fail("%s is not JSON: %s", what, why.text);
    } else if (!json_equal(value, expected)) {
        check_fail("%s is %.*s", what, (int)found.len, found.data);
    }
    json_decref(value);
}

/* Whether there is an output to look at. Frees the error. */
static int succeeded(amochats_result result, amochats_error *error, const json_t *expected) {
    const json_t *failure = json_object_get(expected, "error");
    amochats_slice said = amochats_error_message(error);
    if (failure == NULL) {
        if (result != AMOCHATS_RESULT_OK) {
            check_fail("%s: %.*s", amochats_result_name(result), (int)said.len, said.data);
        }
        CHECK(result != AMOCHATS_RESULT_OK || error == NULL);
    } else {
        const json_t *field = json_object_get(failure, "field");
        check_text("error.kind", amochats_slice_of(amochats_result_name(result)),
                   json_object_get(failure, "kind"));
        if (field != NULL) check_text("error.field", amochats_error_field(error), field);
        CHECK(amochats_error_code(error) == result);
        CHECK(said.len > 0);
    }
    amochats_error_free(error);
    return failure == NULL && result == AMOCHATS_RESULT_OK;
}

/* ---- the operations ---- */

static void sign_body(const json_t *input, const json_t *expected) {
    char signature[AMOCHATS_SIGNATURE_SIZE];
    amochats_error *error = NULL;
    amochats_result result = amochats_sign_body(text(input, "secret"), body(input), &signature, &error);
    if (succeeded(result, error, expected)) {
        check_text("x_signature", amochats_slice_of(signature), json_object_get(expected, "x_signature"));
    }
}

static void sign_request(const json_t *input, const json_t *expected) {
    amochats_signed_headers *headers = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_sign_request(
        text(input, "secret"), text(input, "method"), text(input, "path"), text(input, "content_type"),
        text(input, "date"), body(input), &headers, &error);
    if (succeeded(result, error, expected)) {
        const json_t *four = json_object_get(expected, "headers");
        CHECK(json_object_size(four) == 4);
        check_text("Date", amochats_signed_headers_date(headers), json_object_get(four, "Date"));
        check_text("Content-Type", amochats_signed_headers_content_type(headers),
                   json_object_get(four, "Content-Type"));
        check_text("Content-MD5", amochats_signed_headers_content_md5(headers),
                   json_object_get(four, "Content-MD5"));
        check_text("X-Signature", amochats_signed_headers_x_signature(headers),
                   json_object_get(four, "X-Signature"));
    }
    amochats_signed_headers_free(headers);
}

static void verify_webhook(const json_t *input, const json_t *expected) {
    const json_t *secrets = json_object_get(input, "secrets");
    const json_t *header = json_object_get(input, "signature");
    amochats_slice signature = slice(header), bytes = body(input), verdict = {NULL, 0};
    amochats_verifier *verifier = amochats_verifier_new();
    amochats_error *error = NULL;
    amochats_result result;
    CHECK(json_is_array(secrets));
    CHECK(json_is_string(header) || json_is_null(header));
    for (size_t i = 0; i < json_array_size(secrets); i++) {
        CHECK(amochats_verifier_add_secret(verifier, slice(json_array_get(secrets, i)), NULL) ==
              AMOCHATS_RESULT_OK);
    }
    result = amochats_verifier_verify(verifier, bytes, signature, &error);
    if (succeeded(result, error, expected)) CHECK(json_is_true(json_object_get(expected, "valid")));
    CHECK(amochats_verifier_diagnose(verifier, bytes, signature, &verdict, NULL) == AMOCHATS_RESULT_OK);
    CHECK(same(verdict, amochats_slice_of("valid")) == (result == AMOCHATS_RESULT_OK));
    amochats_verifier_free(verifier);
}

static const struct {
    const char *key;
    amochats_slice (*get)(const amochats_webhook *);
} texts[] = {
    {"kind", amochats_webhook_kind_name},
    {"api_version", amochats_webhook_api_version},
    {"account_id", amochats_webhook_account_id},
    {"conversation_id", amochats_webhook_conversation_id},
    {"conversation_ref_id", amochats_webhook_conversation_ref_id},
    {"message_id", amochats_webhook_message_id},
    {"message_ref_id", amochats_webhook_message_ref_id},
    {"type", amochats_webhook_type},
    {"text", amochats_webhook_text},
    {"media", amochats_webhook_media},
    {"thumbnail", amochats_webhook_thumbnail},
    {"file_name", amochats_webhook_file_name},
    {"media_group_id", amochats_webhook_media_group_id},
    {"source_external_id", amochats_webhook_source_external_id},
    {"user_ref_id", amochats_webhook_user_ref_id},
    {"emoji", amochats_webhook_emoji},
};

static const struct {
    const char *key;
    bool (*get)(const amochats_webhook *, int64_t *);
} integers[] = {
    {"time", amochats_webhook_time},
    {"timestamp", amochats_webhook_timestamp},
    {"msec_timestamp", amochats_webhook_msec_timestamp},
    {"file_size", amochats_webhook_file_size},
    {"expired_at", amochats_webhook_expired_at},
};

static const struct {
    const char *key;
    const amochats_participant *(*get)(const amochats_webhook *);
} people[] = {
    {"sender", amochats_webhook_sender},
    {"receiver", amochats_webhook_receiver},
};

static const struct {
    const char *key;
    amochats_slice (*get)(const amochats_participant *);
} person_texts[] = {
    {"user_id", amochats_participant_user_id}, {"user_ref_id", amochats_participant_user_ref_id},
    {"name", amochats_participant_name},       {"phone", amochats_participant_phone},
    {"email", amochats_participant_email},
};

/* What C reads from the JSON. */
static const char *const only_in_json[] = {"tag", "markup", "template", "reply_to", "forwards", "extra"};

/* A post has one accessor for its two places: of typing in `post_id`, of a comment in `post.id`. */
static const char *const posts[] = {"post_id", "post"};

static const json_t *post_id(const json_t *event) {
    const json_t *post = json_object_get(event, "post");
    return post != NULL ? json_object_get(post, "id") : json_object_get(event, "post_id");
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Whether a field of the event is in one of the tables above. */
static int is_known(const char *key) {
    size_t i;
    for (i = 0; i < COUNT(texts); i++) if (strcmp(key, texts[i].key) == 0) return 1;
    for (i = 0; i < COUNT(integers); i++) if (strcmp(key, integers[i].key) == 0) return 1;
    for (i = 0; i < COUNT(people); i++) if (strcmp(key, people[i].key) == 0) return 1;
    for (i = 0; i < COUNT(posts); i++) if (strcmp(key, posts[i]) == 0) return 1;
    for (i = 0; i < COUNT(only_in_json); i++) if (strcmp(key, only_in_json[i]) == 0) return 1;
    return 0;
}

static void check_person(const char *what, const amochats_participant *found, const json_t *expected) {
    CHECK((found != NULL) == json_is_object(expected));
    for (size_t i = 0; i < COUNT(person_texts); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%s", what, person_texts[i].key);
        check_text(name, person_texts[i].get(found), json_object_get(expected, person_texts[i].key));
    }
}

static void parse_webhook(const json_t *input, const json_t *expected) {
    static const char *const kinds[] = {"unknown", "message", "typing", "reaction"};
    const json_t *event = json_object_get(expected, "event");
    amochats_webhook *webhook = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_webhook_parse(body(input), &webhook, &error);
    const char *key;
    json_t *value;
    if (!succeeded(result, error, expected)) return;

    check_json("json", amochats_webhook_json(webhook), event);
    CHECK(amochats_webhook_kind(webhook) < COUNT(kinds));
    check_text("kind", amochats_slice_of(kinds[amochats_webhook_kind(webhook) % COUNT(kinds)]),
               json_object_get(event, "kind"));
    for (size_t i = 0; i < COUNT(texts); i++) {
        check_text(texts[i].key, texts[i].get(webhook), json_object_get(event, texts[i].key));
    }
    check_text("post_id", amochats_webhook_post_id(webhook), post_id(event));
    for (size_t i = 0; i < COUNT(integers); i++) {
        int64_t number = 0;
        bool found = integers[i].get(webhook, &number);
        check_integer(integers[i].key, found, number, json_object_get(event, integers[i].key));
    }
    for (size_t i = 0; i < COUNT(people); i++) {
        check_person(people[i].key, people[i].get(webhook), json_object_get(event, people[i].key));
    }
    json_object_foreach((json_t *)event, key, value) {
        if (!is_known(key)) check_fail("the field %s has no accessor and is not known to this test", key);
    }
    amochats_webhook_free(webhook);
}

static void encode_message(const json_t *input, const json_t *expected) {
    char *json = json_dumps(json_object_get(input, "message"), JSON_ENCODE_ANY | JSON_COMPACT);
    amochats_buffer *encoded = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_message_encode(amochats_slice_of(json), &encoded, &error);
    REQUIRE(json != NULL);
    if (succeeded(result, error, expected)) {
        check_json("body", amochats_buffer_slice(encoded), json_object_get(expected, "body"));
    }
    amochats_buffer_free(encoded);
    free(json);
}

static void encode_request(const json_t *input, const json_t *expected) {
    char *json = json_dumps(json_object_get(input, "request"), JSON_ENCODE_ANY | JSON_COMPACT);
    amochats_buffer *encoded = NULL;
    amochats_error *error = NULL;
    amochats_result result =
        amochats_request_encode(text(input, "call"), amochats_slice_of(json), &encoded, &error);
    REQUIRE(json != NULL);
    if (succeeded(result, error, expected)) {
        check_json("body", amochats_buffer_slice(encoded), json_object_get(expected, "body"));
    }
    amochats_buffer_free(encoded);
    free(json);
}

static void parse_history(const json_t *input, const json_t *expected) {
    amochats_buffer *page = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_history_parse(body(input), &page, &error);
    if (succeeded(result, error, expected)) {
        check_json("page", amochats_buffer_slice(page), json_object_get(expected, "page"));
    }
    amochats_buffer_free(page);
}

/* The library without the channel has no part of the CRM. */
#ifdef VECTORS_WITHOUT_CRM
#define CRM_OPERATIONS {NULL, NULL, 0}
#else
#include "vectors_crm.h"
#endif

static struct {
    const char *name;
    void (*run)(const json_t *input, const json_t *expected);
    int count;
} operations[] = {
    {"sign_body", sign_body, 0},         {"sign_request", sign_request, 0},
    {"verify_webhook", verify_webhook, 0}, {"parse_webhook", parse_webhook, 0},
    {"encode_message", encode_message, 0}, {"encode_request", encode_request, 0},
    {"parse_history", parse_history, 0},   CRM_OPERATIONS,
};

static void run_case(const char *path) {
    static const char *const groups[] = {"signing/", "webhooks/", "payloads/", "crm/"};
    json_error_t why;
    json_t *vector = load(path, &why);
    const json_t *input = json_object_get(vector, "input"), *expected = json_object_get(vector, "expected");
    const char *operation = json_string_value(json_object_get(vector, "operation"));
    int known = 0;
    if (vector == NULL) check_fail("%s at line %d", why.text, why.line);
    for (size_t i = 0; i < COUNT(groups); i++) known |= strncmp(path, groups[i], strlen(groups[i])) == 0;
    if (!known) check_fail("the group is unknown");
    CHECK(json_is_object(input) && json_is_object(expected));
    for (size_t i = 0; i <= COUNT(operations); i++) {
        if (i == COUNT(operations)) {
            check_fail("the operation is unknown");
        } else if (operation != NULL && operations[i].run != NULL && strcmp(operation, operations[i].name) == 0) {
            operations[i].count++;
            operations[i].run(input, expected);
            break;
        }
    }
    json_decref(vector);
    free(decoded);
    decoded = NULL;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        check_begin(argv[i]);
        run_case(argv[i]);
        check_end();
    }
    check_begin("every operation has a case");
    for (size_t i = 0; i < COUNT(operations) && operations[i].run != NULL; i++) {
        printf("%s: %d cases\n", operations[i].name, operations[i].count);
        if (operations[i].count == 0) check_fail("%s has none", operations[i].name);
    }
    check_end();
    return check_result();
}
