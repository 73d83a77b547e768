/* What a C program adds to the linking of accounts and to files: its own HTTP server passes the widget's
 * calls on, its own callback decides who may connect, and it attaches files. The one-time token, which
 * the CRM would have signed, comes from the environment (token.py). */
#include "support.h"

#include <stdatomic.h>

#define SECRET "da39a3ee5e6b4b0d3255bfef95601890afd80709"
#define CHANNEL "a4490ccc-5d7f-11e7-907b-a6006ad3dba0"

/* A channel whose integration has the secret with which the token was signed, or without linking. */
static amochats_channel *open_channel(const char *linking) {
    char toml[2000];
    snprintf(toml, sizeof toml,
             "store.path = '%s/store.db'\nlistener.address = '127.0.0.1:0'\nadmin.address = '127.0.0.1:0'\n%s\n"
             "[[channel]]\nid = '" CHANNEL "'\nsecret = '" SECRET "'\nbase_url = 'http://127.0.0.1:9'\n"
             "client_id = 'the-integration'\nclient_secret = 'integration-secret'\n",
             folder, linking);
    amochats_error *error = NULL;
    amochats_channel *channel = NULL;
    amochats_config *config = amochats_config_new();
    REQUIRE(ok(amochats_config_set_toml(config, of(toml), &error), error));
    error = NULL;
    amochats_result result = amochats_channel_open(config, LONG, &channel, &error);
    amochats_config_free(config);
    REQUIRE(ok(result, error));
    return channel;
}

static void close_channel(amochats_channel *channel) {
    amochats_error *error = NULL;
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    amochats_channel_free(channel);
}

/* A call of the widget: its status, and whether the answer says this. */
static int64_t asked(amochats_channel *channel, const char *method, const char *path, const char *headers,
                     const char *body, const char *said) {
    amochats_error *error = NULL;
    amochats_value *answer = NULL;
    int64_t status = 0;
    amochats_result result = amochats_channel_widget_handle(channel, of(method), of(path), of(headers), of(body),
                                                            of("127.0.0.1"), LONG, &answer, &error);
    if (!ok(result, error)) return 0;
    CHECK(amochats_value_integer(amochats_value_get(answer, of("status")), &status));
    if (!has(amochats_value_json(answer), said)) {
        amochats_slice json = amochats_value_json(answer);
        check_fail("no %s in %.*s", said, (int)json.len, json.data);
    }
    amochats_value_free(answer);
    return status;
}

typedef struct {
    atomic_int calls;
    atomic_int complete; /* how many attempts had all that they should */
    uint32_t decision;
} decider_t;

static uint32_t decide(void *user_data, const amochats_value *attempt) {
    decider_t *decider = user_data;
    int64_t account = 0;
    int complete = is(amochats_value_text(amochats_value_get(attempt, of("login"))), "anna") &&
                   is(amochats_value_text(amochats_value_get(attempt, of("password"))), "her password") &&
                   is(amochats_value_text(amochats_value_get(attempt, of("account_id"))), "13fa84f7") &&
                   amochats_value_integer(amochats_value_get(attempt, of("crm_account_id")), &account) && account == 7;
    atomic_fetch_add(&decider->complete, complete);
    atomic_fetch_add(&decider->calls, 1);
    return decider->decision;
}

static void a_callback_decides_who_may_connect(void) {
    const char *first = getenv("LINKING_TOKEN_1"), *second = getenv("LINKING_TOKEN_2");
    REQUIRE(first != NULL && second != NULL);
    amochats_channel *channel =
        open_channel("widget.redirect_uri = 'https://chat.example.org/oauth'\n"
                     "widget.key = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE='");
    decider_t decider = {0, 0, AMOCHATS_DECISION_REFUSE};
    amochats_error *error = NULL;
    REQUIRE(ok(amochats_channel_set_authorizer(channel, decide, &decider, &error), error));
    const char *body = "{\"login\":\"anna\",\"password\":\"her password\",\"amojo_id\":\"13fa84f7\"}";
    char headers[2][1500];
    for (int number = 0; number < 2; number++) {
        snprintf(headers[number], sizeof headers[number],
                 "{\"origin\":\"https://demo.amocrm.ru\",\"x-auth-token\":\"%s\"}", number == 0 ? first : second);
    }
    CHECK(asked(channel, "POST", "/widget/connect", headers[0], body, "WRONG_CREDENTIALS") == 403);
    CHECK(decider.calls == 1 && decider.complete == 1);
    CHECK(asked(channel, "POST", "/widget/connect", headers[0], body, "TOKEN_INVALID") == 401); /* used before */
    CHECK(decider.calls == 1);
    decider.decision = AMOCHATS_DECISION_ALLOW;
    /* Allowed: now it comes to whether the CRM has told of the installation. */
    CHECK(asked(channel, "POST", "/widget/connect", headers[1], body, "NOT_INSTALLED") == 409);
    CHECK(decider.calls == 2 && decider.complete == 2);
    CHECK(asked(channel, "OPTIONS", "/widget/connect", "{\"origin\":\"https://demo.amocrm.ru\"}", "",
                "access-control-allow-origin") / 100 == 2);
    CHECK(asked(channel, "POST", "/widget/connect", "{\"origin\":\"https://demo.example.org\"}", body,
                "ORIGIN_NOT_ALLOWED") == 403);
    amochats_value *answer = NULL;
    error = NULL;
    amochats_result result = amochats_channel_widget_handle(channel, of("GET"), of("/widget/state"), of("[]"), of(""),
                                                            of("127.0.0.1"), LONG, &answer, &error);
    CHECK(result == AMOCHATS_RESULT_INVALID_ARGUMENT && amochats_error_message(error).len > 10 && answer == NULL);
    amochats_error_free(error);
    close_channel(channel);
    CHECK(decider.calls == 2);
}

static void without_linking_nobody_is_asked(void) {
    amochats_channel *channel = open_channel("");
    decider_t decider = {0, 0, AMOCHATS_DECISION_ALLOW};
    amochats_error *error = NULL;
    CHECK(amochats_channel_set_authorizer(channel, decide, &decider, &error) == AMOCHATS_RESULT_CONFIG_INVALID);
    CHECK(amochats_error_message(error).len > 10);
    amochats_error_free(error);
    close_channel(channel);
}

static void a_file_gets_a_link(void) {
    amochats_channel *channel = open_channel("media.public_url = 'https://chat.example.org'");
    amochats_error *error = NULL;
    amochats_value *attached = NULL;
    amochats_slice bytes = of("\x89PNG, or nearly");
    REQUIRE(ok(amochats_media_attach(channel, of("picture.png"), of("image/png"), bytes, 0, LONG, &attached, &error),
               error));
    int64_t size = 0;
    amochats_slice url = amochats_value_text(amochats_value_get(attached, of("url")));
    CHECK(url.len > 60 && memcmp(url.data, "https://chat.example.org/", 25) == 0 && has(url, "/picture.png"));
    CHECK(amochats_value_integer(amochats_value_get(attached, of("size")), &size) && size == (int64_t)bytes.len);
    amochats_value_free(attached);
    attached = NULL;
    error = NULL;
    amochats_result result = amochats_media_attach_file(channel, of("/does/not/exist.png"), of(""), of("image/png"), 0,
                                                        LONG, &attached, &error);
    CHECK(result == AMOCHATS_RESULT_INVALID_ARGUMENT && is(amochats_error_field(error), "path"));
    amochats_error_free(error);
    error = NULL;
    amochats_value *attachment = NULL;
    CHECK(amochats_media_attachment(channel, of("no-such-event"), LONG, &attachment, &error) ==
          AMOCHATS_RESULT_NOT_FOUND);
    amochats_error_free(error);
    close_channel(channel);
}

/* The CRM's user sends a picture; the stand-in for the CRM's own address is a link of ours. */
static void what_came_is_fetched(void) {
    amochats_channel *channel = open_channel("media.fetch = true\nmedia.fetch_hosts = ['127.0.0.1']\n"
                                             "media.fetch_private = ['127.0.0.1']\nmedia.fetch_http = true");
    amochats_error *error = NULL;
    amochats_value *attached = NULL, *attachment = NULL;
    REQUIRE(ok(amochats_media_attach(channel, of("a.png"), of("image/png"), of("\x89PNG"), 0, LONG, &attached, &error),
               error));
    amochats_slice url = amochats_value_text(amochats_value_get(attached, of("url")));
    char body[1000];
    snprintf(body, sizeof body,
             "{\"account_id\":\"a\",\"message\":{\"conversation\":{\"id\":\"C\"},\"message\":{\"id\":\"M\","
             "\"type\":\"picture\",\"media\":\"%.*s\"}}}",
             (int)url.len, url.data);
    amochats_value_free(attached);
    char signature[AMOCHATS_SIGNATURE_SIZE];
    REQUIRE(ok(amochats_sign_body(of(SECRET), of(body), &signature, &error), error));
    error = NULL;
    REQUIRE(ok(amochats_channel_ingest(channel, of(CHANNEL "_a"), of(signature), of(body), LONG, NULL, &error), error));
    error = NULL;
    amochats_value *kept = NULL;
    REQUIRE(ok(amochats_inbox_list_summaries(channel, NULL, LONG, &kept, &error), error));
    amochats_slice event_id = amochats_value_text(amochats_value_get(amochats_value_at(kept, 0), of("event_id")));
    error = NULL;
    REQUIRE(ok(amochats_media_wait(channel, event_id, LONG, &attachment, &error), error));
    CHECK(is(amochats_value_text(amochats_value_get(attachment, of("state"))), "fetched"));
    CHECK(amochats_value_text(amochats_value_get(attachment, of("path"))).len > 0);
    amochats_value_free(attachment);
    error = NULL;
    CHECK(ok(amochats_media_wait(channel, event_id, LONG, NULL, &error), error));
    amochats_value_free(kept);
    error = NULL;
    CHECK(amochats_media_wait(channel, of("no-such-event"), LONG, NULL, &error) == AMOCHATS_RESULT_NOT_FOUND);
    amochats_error_free(error);
    close_channel(channel);
}

int main(void) {
    const char *temp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/amochats-XXXXXX", temp ? temp : "/tmp");
    if (mkdtemp(folder) == NULL) return 2;
    RUN(a_callback_decides_who_may_connect);
    RUN(without_linking_nobody_is_asked);
    RUN(a_file_gets_a_link);
    RUN(what_came_is_fetched);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) != 0 ? 2 : check_result();
}
