/* What the header promises beside the vectors: ownership, NULL, bad text, size, threads. */
#include "check.h"

#include <amochats.h>
#include <pthread.h>
#include <string.h>

#define SECRET "da39a3ee5e6b4b0d3255bfef95601890afd80709"

static const amochats_slice none = {NULL, 0};
static const amochats_slice without_data = {NULL, 3};

static amochats_slice of(const char *text) { return amochats_slice_of(text); }

static int is(amochats_slice slice, const char *text) {
    return slice.data != NULL && slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

static int is_nothing(amochats_slice slice) { return slice.data == NULL && slice.len == 0; }

/* Whether a call failed with this result and field, and said why. Frees the error. */
static int failed(amochats_result result, amochats_error **error, amochats_result expected,
                  const char *field) {
    int as_expected = result == expected && amochats_error_code(*error) == expected &&
                      amochats_error_message(*error).len > 0 &&
                      (field ? is(amochats_error_field(*error), field)
                             : is_nothing(amochats_error_field(*error)));
    amochats_error_free(*error);
    *error = NULL;
    return as_expected;
}

static amochats_verifier *verifier_with_secret(void) {
    amochats_verifier *verifier = amochats_verifier_new();
    REQUIRE(amochats_verifier_add_secret(verifier, of(SECRET), NULL) == AMOCHATS_RESULT_OK);
    return verifier;
}

static amochats_webhook *parsed(const char *body) {
    amochats_webhook *webhook = NULL;
    REQUIRE(amochats_webhook_parse(of(body), &webhook, NULL) == AMOCHATS_RESULT_OK);
    return webhook;
}

static void library_and_header_have_one_version(void) {
    CHECK(strcmp(amochats_version(), AMOCHATS_VERSION) == 0);
}

static void results_have_names(void) {
    CHECK(strcmp(amochats_result_name(AMOCHATS_RESULT_OK), "OK") == 0);
    CHECK(strcmp(amochats_result_name(AMOCHATS_RESULT_TRANSPORT), "TRANSPORT") == 0);
    CHECK(strcmp(amochats_result_name(4242), "UNKNOWN") == 0);
}

static void slices_of_text(void) {
    CHECK(is(of("text"), "text"));
    CHECK(is(of(""), ""));
    CHECK(is_nothing(of(NULL)));
}

static void freeing_null_is_nothing_to_do(void) {
    amochats_error_free(NULL);
    amochats_buffer_free(NULL);
    amochats_verifier_free(NULL);
    amochats_webhook_free(NULL);
    amochats_signed_headers_free(NULL);
}

static void null_objects_and_outputs_are_named(void) {
    const amochats_result expected = AMOCHATS_RESULT_NULL_POINTER;
    amochats_verifier *verifier = amochats_verifier_new();
    amochats_slice verdict;
    amochats_error *error = NULL;
    amochats_result result;

    result = amochats_verifier_add_secret(NULL, of(SECRET), &error);
    CHECK(failed(result, &error, expected, "verifier"));
    result = amochats_verifier_verify(NULL, none, none, &error);
    CHECK(failed(result, &error, expected, "verifier"));
    result = amochats_verifier_diagnose(NULL, none, none, &verdict, &error);
    CHECK(failed(result, &error, expected, "verifier"));
    result = amochats_verifier_diagnose(verifier, none, none, NULL, &error);
    CHECK(failed(result, &error, expected, "verdict"));
    result = amochats_webhook_parse(of("{}"), NULL, &error);
    CHECK(failed(result, &error, expected, "webhook"));
    result = amochats_sign_body(of(SECRET), none, NULL, &error);
    CHECK(failed(result, &error, expected, "signature"));
    result = amochats_sign_request(of(SECRET), of("GET"), of("/"), none, none, none, NULL, &error);
    CHECK(failed(result, &error, expected, "headers"));
    result = amochats_message_encode(of("{}"), NULL, &error);
    CHECK(failed(result, &error, expected, "body"));
    amochats_verifier_free(verifier);
}

static void the_error_may_be_left_out(void) {
    char signature[AMOCHATS_SIGNATURE_SIZE];
    CHECK(amochats_sign_body(none, none, &signature, NULL) == AMOCHATS_RESULT_INVALID_ARGUMENT);
    CHECK(amochats_verifier_verify(NULL, none, none, NULL) == AMOCHATS_RESULT_NULL_POINTER);
}

static void null_objects_have_nothing(void) {
    int64_t number = 7;
    CHECK(amochats_error_code(NULL) == AMOCHATS_RESULT_OK);
    CHECK(is_nothing(amochats_error_message(NULL)));
    CHECK(is_nothing(amochats_error_field(NULL)));
    CHECK(amochats_error_http_status(NULL) == 0);
    CHECK(amochats_error_retry_after_ms(NULL) == 0);
    CHECK(is_nothing(amochats_buffer_slice(NULL)));
    CHECK(is_nothing(amochats_signed_headers_x_signature(NULL)));
    CHECK(is_nothing(amochats_webhook_json(NULL)));
    CHECK(is_nothing(amochats_webhook_text(NULL)));
    CHECK(amochats_webhook_kind(NULL) == AMOCHATS_KIND_UNKNOWN);
    CHECK(amochats_webhook_sender(NULL) == NULL);
    CHECK(is_nothing(amochats_participant_name(NULL)));
    CHECK(!amochats_webhook_file_size(NULL, &number) && number == 7);
}

static void a_length_without_data_is_refused(void) {
    const amochats_result expected = AMOCHATS_RESULT_NULL_POINTER;
    amochats_verifier *verifier = verifier_with_secret();
    char signature[AMOCHATS_SIGNATURE_SIZE];
    amochats_signed_headers *headers = NULL;
    amochats_webhook *webhook = NULL;
    amochats_buffer *buffer = NULL;
    amochats_error *error = NULL;
    amochats_result result;

    result = amochats_sign_body(without_data, none, &signature, &error);
    CHECK(failed(result, &error, expected, "secret"));
    result = amochats_sign_body(of(SECRET), without_data, &signature, &error);
    CHECK(failed(result, &error, expected, "body"));
    result = amochats_sign_request(of(SECRET), of("GET"), of("/"), none, without_data, none, &headers, &error);
    CHECK(failed(result, &error, expected, "date"));
    result = amochats_verifier_add_secret(verifier, without_data, &error);
    CHECK(failed(result, &error, expected, "secret"));
    result = amochats_verifier_verify(verifier, none, without_data, &error);
    CHECK(failed(result, &error, expected, "signature"));
    result = amochats_webhook_parse(without_data, &webhook, &error);
    CHECK(failed(result, &error, expected, "body"));
    result = amochats_message_encode(without_data, &buffer, &error);
    CHECK(failed(result, &error, expected, "json"));
    amochats_verifier_free(verifier);
}

static void an_impossible_length_is_refused(void) {
    amochats_slice endless = {"", (size_t)-1};
    amochats_webhook *webhook = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_webhook_parse(endless, &webhook, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_INVALID_ARGUMENT, "body"));
}

static void text_must_be_utf8(void) {
    const amochats_result expected = AMOCHATS_RESULT_INVALID_UTF8;
    amochats_verifier *verifier = amochats_verifier_new();
    amochats_signed_headers *headers = NULL;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    amochats_error *error = NULL;
    amochats_result result;

    result = amochats_sign_body(of("\xff"), none, &signature, &error);
    CHECK(failed(result, &error, expected, "secret"));
    result = amochats_verifier_add_secret(verifier, of("ab\xc3"), &error);
    CHECK(failed(result, &error, expected, "secret"));
    result = amochats_sign_request(of(SECRET), of("GET"), of("/\xed\xa0\x80"), none, none, none, &headers, &error);
    CHECK(failed(result, &error, expected, "path"));
    amochats_verifier_free(verifier);
}

/* Whoever sends a webhook chooses its header: that is a refusal, not a mistake of the caller. */
static void a_signature_may_be_any_bytes(void) {
    amochats_verifier *verifier = verifier_with_secret();
    amochats_error *error = NULL;
    amochats_result result = amochats_verifier_verify(verifier, of("{}"), of("\xff\xfe"), &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_SIGNATURE_MISSING, NULL));
    result = amochats_verifier_verify(verifier, of("{}"), of(""), &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_SIGNATURE_MISSING, NULL));
    amochats_verifier_free(verifier);
}

static void a_body_may_be_any_bytes(void) {
    static const char bytes[] = "\xff\0\xfe";
    amochats_slice body = {bytes, 3};
    amochats_verifier *verifier = verifier_with_secret();
    char signature[AMOCHATS_SIGNATURE_SIZE];
    CHECK(amochats_sign_body(of(SECRET), body, &signature, NULL) == AMOCHATS_RESULT_OK);
    CHECK(strlen(signature) == AMOCHATS_SIGNATURE_SIZE - 1);
    CHECK(amochats_verifier_verify(verifier, body, of(signature), NULL) == AMOCHATS_RESULT_OK);
    body.len = 2;
    CHECK(amochats_verifier_verify(verifier, body, of(signature), NULL) == AMOCHATS_RESULT_SIGNATURE_MISMATCH);
    amochats_verifier_free(verifier);
}

static void outputs_are_written_only_on_success(void) {
    int somewhere = 0;
    char signature[AMOCHATS_SIGNATURE_SIZE] = "untouched";
    amochats_webhook *webhook = (amochats_webhook *)(void *)&somewhere;
    amochats_buffer *buffer = (amochats_buffer *)(void *)&somewhere;
    amochats_signed_headers *headers = (amochats_signed_headers *)(void *)&somewhere;
    amochats_error *error = (amochats_error *)(void *)&somewhere;

    CHECK(amochats_webhook_parse(of("{"), &webhook, NULL) == AMOCHATS_RESULT_MALFORMED_WEBHOOK);
    CHECK((void *)webhook == (void *)&somewhere);
    CHECK(amochats_message_encode(of("{"), &buffer, NULL) == AMOCHATS_RESULT_INVALID_ARGUMENT);
    CHECK((void *)buffer == (void *)&somewhere);
    CHECK(amochats_sign_request(of(SECRET), none, none, none, none, none, &headers, NULL) ==
          AMOCHATS_RESULT_INVALID_ARGUMENT);
    CHECK((void *)headers == (void *)&somewhere);
    CHECK(amochats_sign_body(none, none, &signature, NULL) == AMOCHATS_RESULT_INVALID_ARGUMENT);
    CHECK(strcmp(signature, "untouched") == 0);
    CHECK(amochats_sign_body(of(SECRET), none, &signature, &error) == AMOCHATS_RESULT_OK);
    CHECK((void *)error == (void *)&somewhere);
}

static void errors_say_where(void) {
    amochats_buffer *buffer = NULL;
    amochats_webhook *webhook = NULL;
    amochats_error *error = NULL;
    amochats_result result = amochats_message_encode(
        of("{\"event_type\":\"new_message\",\"payload\":{\"timestamp\":1,\"msec_timestamp\":1000,"
           "\"msgid\":\"m\",\"conversation_id\":\"c\",\"sender\":{\"id\":\"u\",\"name\":\"\"},"
           "\"message\":{\"type\":\"text\",\"text\":\"t\"},\"silent\":false}}"),
        &buffer, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_INVALID_ARGUMENT, "payload.sender.name"));

    result = amochats_webhook_parse(of("{\"a\":1,}"), &webhook, &error);
    CHECK(is(amochats_error_message(error),
             "the body is not JSON: trailing comma at line 1 column 8"));
    CHECK(amochats_error_http_status(error) == 0 && amochats_error_retry_after_ms(error) == 0);
    CHECK(failed(result, &error, AMOCHATS_RESULT_MALFORMED_WEBHOOK, NULL));
}

static void what_was_given_is_not_kept(void) {
    char secret[] = SECRET, body[] = "{\"receiver\":\"u\",\"type\":\"text\",\"text\":\"hello\"}";
    amochats_slice given = {body, sizeof body - 1};
    amochats_verifier *verifier = amochats_verifier_new();
    amochats_webhook *webhook = NULL;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    CHECK(amochats_sign_body(of(SECRET), given, &signature, NULL) == AMOCHATS_RESULT_OK);
    CHECK(amochats_verifier_add_secret(verifier, of(secret), NULL) == AMOCHATS_RESULT_OK);
    memset(secret, 'x', sizeof secret - 1);
    CHECK(amochats_verifier_verify(verifier, given, of(signature), NULL) == AMOCHATS_RESULT_OK);
    CHECK(amochats_webhook_parse(given, &webhook, NULL) == AMOCHATS_RESULT_OK);
    memset(body, 'x', sizeof body - 1);
    CHECK(is(amochats_webhook_text(webhook), "hello"));
    CHECK(is(amochats_participant_user_id(amochats_webhook_receiver(webhook)), "u"));
    amochats_webhook_free(webhook);
    amochats_verifier_free(verifier);
}

static void empty_differs_from_nothing(void) {
    amochats_webhook *message = parsed("{\"receiver\":\"u\",\"type\":\"picture\",\"text\":\"\",\"media\":\"\"}");
    amochats_webhook *typing = parsed("{\"action\":{\"typing\":{\"conversation\":{\"id\":\"C\"}}}}");
    CHECK(is(amochats_webhook_text(message), ""));
    CHECK(is_nothing(amochats_webhook_media(message)));
    CHECK(amochats_webhook_sender(message) == NULL);
    CHECK(is_nothing(amochats_webhook_text(typing)));
    amochats_webhook_free(message);
    amochats_webhook_free(typing);
}

static void integers_say_whether_they_are_there(void) {
    amochats_webhook *webhook = parsed("{\"receiver\":\"u\",\"type\":\"file\",\"file_size\":12}");
    int64_t number = 7;
    CHECK(!amochats_webhook_timestamp(webhook, &number) && number == 7);
    CHECK(amochats_webhook_file_size(webhook, &number) && number == 12);
    CHECK(amochats_webhook_file_size(webhook, NULL));
    amochats_webhook_free(webhook);
}

static void a_shape_of_the_future_is_kept(void) {
    amochats_webhook *webhook = parsed("[1,2]");
    CHECK(amochats_webhook_kind(webhook) == AMOCHATS_KIND_UNKNOWN);
    CHECK(is(amochats_webhook_json(webhook), "{\"kind\":\"unknown\",\"extra\":[1,2]}"));
    amochats_webhook_free(webhook);
}

static void a_refusal_can_be_diagnosed(void) {
    amochats_verifier *verifier = verifier_with_secret();
    amochats_slice verdict = none;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    CHECK(amochats_verifier_diagnose(verifier, of("{}"), none, &verdict, NULL) == AMOCHATS_RESULT_OK);
    CHECK(is(verdict, "missing"));
    CHECK(amochats_sign_body(of(SECRET), of("{\"a\": 1}"), &signature, NULL) == AMOCHATS_RESULT_OK);
    CHECK(amochats_verifier_diagnose(verifier, of("{\"a\":1}"), of(signature), &verdict, NULL) ==
          AMOCHATS_RESULT_OK);
    CHECK(is(verdict, "reserialised"));
    amochats_verifier_free(verifier);
}

static void a_body_of_ten_megabytes(void) {
    static const char head[] = "{\"receiver\":\"u\",\"type\":\"text\",\"text\":\"", tail[] = "\"}";
    const size_t text = 10 << 20;
    char *bytes = (char *)malloc(sizeof head + text + sizeof tail), *at = bytes;
    amochats_slice body;
    amochats_verifier *verifier = verifier_with_secret();
    amochats_webhook *webhook = NULL;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    REQUIRE(bytes != NULL);
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    memset(at, 'a', text);
    at += text;
    memcpy(at, tail, sizeof tail - 1);
    at += sizeof tail - 1;
    body.data = bytes;
    body.len = (size_t)(at - bytes);

    CHECK(amochats_sign_body(of(SECRET), body, &signature, NULL) == AMOCHATS_RESULT_OK);
    CHECK(amochats_verifier_verify(verifier, body, of(signature), NULL) == AMOCHATS_RESULT_OK);
    CHECK(amochats_webhook_parse(body, &webhook, NULL) == AMOCHATS_RESULT_OK);
    CHECK(amochats_webhook_text(webhook).len == text);
    CHECK(amochats_webhook_json(webhook).len > text);
    amochats_webhook_free(webhook);
    amochats_verifier_free(verifier);
    free(bytes);
}

#define THREADS 8

struct shared {
    const amochats_verifier *verifier;
    const amochats_webhook *webhook;
    const char *signature;
    pthread_mutex_t start;
};

static const char hook[] = "{\"receiver\":\"u\",\"type\":\"text\",\"text\":\"shared\"}";

/* Returns where the JSON is, or NULL on a failure; the test frame is not for threads. */
static void *use_shared(void *argument) {
    struct shared *shared = (struct shared *)argument;
    int right = 1;
    pthread_mutex_lock(&shared->start);
    pthread_mutex_unlock(&shared->start);
    for (int i = 0; i < 100; i++) {
        right &= amochats_verifier_verify(shared->verifier, of(hook), of(shared->signature), NULL) ==
                 AMOCHATS_RESULT_OK;
        right &= amochats_verifier_verify(shared->verifier, of("{}"), of(shared->signature), NULL) ==
                 AMOCHATS_RESULT_SIGNATURE_MISMATCH;
        right &= is(amochats_webhook_text(shared->webhook), "shared");
    }
    return right ? (void *)amochats_webhook_json(shared->webhook).data : NULL;
}

static void threads_share_const_objects(void) {
    amochats_verifier *verifier = verifier_with_secret();
    amochats_webhook *webhook = parsed(hook);
    char signature[AMOCHATS_SIGNATURE_SIZE];
    struct shared shared = {verifier, webhook, signature, PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS];
    CHECK(amochats_sign_body(of(SECRET), of(hook), &signature, NULL) == AMOCHATS_RESULT_OK);
    pthread_mutex_lock(&shared.start);
    for (int i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, use_shared, &shared) == 0);
    }
    pthread_mutex_unlock(&shared.start);
    for (int i = 0; i < THREADS; i++) {
        void *json = NULL;
        REQUIRE(pthread_join(threads[i], &json) == 0);
        CHECK(json != NULL && json == (const void *)amochats_webhook_json(webhook).data);
    }
    amochats_webhook_free(webhook);
    amochats_verifier_free(verifier);
}

int main(void) {
    RUN(library_and_header_have_one_version);
    RUN(results_have_names);
    RUN(slices_of_text);
    RUN(freeing_null_is_nothing_to_do);
    RUN(null_objects_and_outputs_are_named);
    RUN(the_error_may_be_left_out);
    RUN(null_objects_have_nothing);
    RUN(a_length_without_data_is_refused);
    RUN(an_impossible_length_is_refused);
    RUN(text_must_be_utf8);
    RUN(a_signature_may_be_any_bytes);
    RUN(a_body_may_be_any_bytes);
    RUN(outputs_are_written_only_on_success);
    RUN(errors_say_where);
    RUN(what_was_given_is_not_kept);
    RUN(empty_differs_from_nothing);
    RUN(integers_say_whether_they_are_there);
    RUN(a_shape_of_the_future_is_kept);
    RUN(a_refusal_can_be_diagnosed);
    RUN(a_body_of_ten_megabytes);
    RUN(threads_share_const_objects);
    return check_result();
}
