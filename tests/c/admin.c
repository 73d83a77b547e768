/* Channels and accounts that change while everything runs, and looking for what became of events and calls;
 * against a sandbox (sandbox.py). */
#include "support.h"

#include <pthread.h>

#define OLD "da39a3ee5e6b4b0d3255bfef95601890afd80709"
#define NEW "0a4d55a8d778e5022fab701977c5d840bbc486d0"
#define OTHER "a4490ccc-5d7f-11e7-907b-a6006ad3dba0"

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t said;
    int changes; /* of the state of an account */
} log_t;

static void note(void *data, amochats_level level, amochats_slice target, amochats_slice message) {
    log_t *log = data;
    (void)level, (void)target;
    if (!has(message, "an account's state changed")) return;
    pthread_mutex_lock(&log->lock);
    log->changes++;
    pthread_cond_broadcast(&log->said);
    pthread_mutex_unlock(&log->lock);
}

static amochats_config *configured(const char *more) {
    char toml[2500];
    snprintf(toml, sizeof toml,
             "store.path = '%s/store.db'\nlistener.address = '127.0.0.1:0'\nadmin.address = '127.0.0.1:0'\n%s\n"
             "[[channel]]\nid = '%s'\nsecret = '%s'\nbase_url = '%s'\n"
             "client_id = 'the-integration'\nclient_secret = 'integration-secret'\n",
             folder, more, sandbox("SANDBOX_CHANNEL"), sandbox("SANDBOX_SECRET"), sandbox("SANDBOX_API"));
    amochats_error *error = NULL;
    amochats_config *config = amochats_config_new();
    amochats_config_set_log(config, AMOCHATS_LEVEL_DEBUG, heard, NULL);
    REQUIRE(ok(amochats_config_set_toml(config, of(toml), &error), error));
    return config;
}

static amochats_channel *opened(amochats_config *config) {
    amochats_error *error = NULL;
    amochats_channel *channel = NULL;
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

/* What becomes of a webhook under this secret. */
static amochats_result ingest(amochats_channel *channel, const char *channel_id, const char *secret, int number,
                              const char *conversation) {
    char body[800], scope[200], signature[AMOCHATS_SIGNATURE_SIZE];
    snprintf(scope, sizeof scope, "%s_%s", channel_id, sandbox("SANDBOX_ACCOUNT"));
    snprintf(body, sizeof body,
             "{\"account_id\":\"%s\",\"time\":1704067200,\"message\":{\"conversation\":{\"id\":\"ref-%s\",\"client_id\":\"%s\"},"
             "\"receiver\":{\"id\":\"R\",\"client_id\":\"u-1\",\"name\":\"Anna\",\"phone\":\"+79160004242\",\"email\":\"planted@secret.example\"},"
             "\"sender\":{\"id\":\"S\"},\"timestamp\":1704067200,"
             "\"msec_timestamp\":1704067200123,\"message\":{\"id\":\"M%d\",\"type\":\"text\",\"text\":\"PLANTED-TEXT %d\"}}}",
             sandbox("SANDBOX_ACCOUNT"), conversation, conversation, number, number);
    REQUIRE(amochats_sign_body(of(secret), of(body), &signature, NULL) == AMOCHATS_RESULT_OK);
    return amochats_channel_ingest(channel, of(scope), of(signature), of(body), LONG, NULL, NULL);
}

static void channels_come_and_go(void) {
    const char *first = sandbox("SANDBOX_CHANNEL");
    amochats_channel *channel = opened(configured(""));
    amochats_error *error = NULL;
    CHECK(ingest(channel, OTHER, OLD, 1, "c") == AMOCHATS_RESULT_UNKNOWN_CHANNEL);
    CHECK(failed(amochats_channel_remove_channel(channel, of(first), LONG, &error), &error,
                 AMOCHATS_RESULT_CONFIG_INVALID));
    const char *other = "{\"id\":\"" OTHER "\",\"secret\":\"" OLD "\",\"base_url\":\"http://127.0.0.1:9\"}";
    CHECK(ok(amochats_channel_set_channel(channel, of(other), LONG, &error), error));
    CHECK(ingest(channel, OTHER, OLD, 1, "c") == AMOCHATS_RESULT_OK);

    /* In its place, with another secret. */
    other = "{\"id\":\"" OTHER "\",\"secret\":\"" NEW "\",\"base_url\":\"http://127.0.0.1:9\"}";
    CHECK(ok(amochats_channel_set_channel(channel, of(other), LONG, &error), error));
    CHECK(ingest(channel, OTHER, OLD, 2, "c") == AMOCHATS_RESULT_SIGNATURE_MISMATCH);
    CHECK(ingest(channel, OTHER, NEW, 2, "c") == AMOCHATS_RESULT_OK);

    /* What cannot be used changes nothing. */
    const amochats_result invalid = AMOCHATS_RESULT_CONFIG_INVALID;
    CHECK(failed(amochats_channel_set_channel(channel, of("{\"id\":"), LONG, &error), &error, invalid));
    CHECK(failed(amochats_channel_set_channel(channel, of("{\"id\":\"x\",\"colour\":1}"), LONG, &error), &error, invalid));
    CHECK(failed(amochats_channel_set_channel(channel, of("{\"id\":\"" OTHER "\"}"), LONG, &error), &error, invalid));
    CHECK(ingest(channel, OTHER, NEW, 3, "c") == AMOCHATS_RESULT_OK);
    CHECK(ok(amochats_channel_remove_channel(channel, of(OTHER), LONG, &error), error));
    CHECK(ingest(channel, OTHER, NEW, 4, "c") == AMOCHATS_RESULT_UNKNOWN_CHANNEL);
    CHECK(failed(amochats_channel_remove_channel(channel, of(OTHER), LONG, &error), &error,
                 AMOCHATS_RESULT_UNKNOWN_CHANNEL));
    CHECK(ingest(channel, first, sandbox("SANDBOX_SECRET"), 5, "c") == AMOCHATS_RESULT_OK);

    /* All of them anew. */
    amochats_config *config = configured("");
    CHECK(ok(amochats_config_add_channel(config, of(OTHER), of(OLD), of("http://127.0.0.1:9"), NULL), NULL));
    CHECK(ok(amochats_config_set(config, of("inbox.max_attempts"), of("3"), NULL), NULL));
    amochats_value *restart = NULL;
    CHECK(ok(amochats_channel_reload(channel, config, LONG, &restart, &error), error));
    CHECK(amochats_value_count(restart) == 1 && is(amochats_value_text(amochats_value_at(restart, 0)), "inbox"));
    amochats_value_free(restart);
    CHECK(ingest(channel, OTHER, OLD, 6, "c") == AMOCHATS_RESULT_OK);
    CHECK(ok(amochats_config_set(config, of("inbox.colour"), of("3"), NULL), NULL));
    CHECK(failed(amochats_channel_reload(channel, config, LONG, NULL, &error), &error, invalid));
    amochats_config_free(config);
    close_channel(channel);
}

static void secrets_change_under_way(void) {
    const char *id = sandbox("SANDBOX_CHANNEL"), *first = sandbox("SANDBOX_SECRET");
    amochats_channel *channel = opened(configured(""));
    amochats_error *error = NULL;
    const amochats_result mismatch = AMOCHATS_RESULT_SIGNATURE_MISMATCH;
    CHECK(ingest(channel, id, NEW, 1, "c") == mismatch);
    CHECK(ok(amochats_channel_rotate_secret(channel, none, of(OLD), none, LONG, &error), error));
    CHECK(ingest(channel, id, OLD, 1, "c") == AMOCHATS_RESULT_OK);
    CHECK(ingest(channel, id, first, 2, "c") == AMOCHATS_RESULT_OK);
    /* Until a time that is over. */
    CHECK(ok(amochats_channel_rotate_secret(channel, of(id), of(NEW), of("2020-01-01T00:00:00Z"), LONG, &error), error));
    CHECK(ingest(channel, id, NEW, 3, "c") == AMOCHATS_RESULT_OK);
    amochats_result after = ingest(channel, id, OLD, 4, "c");
    if (after != mismatch) check_fail("after its time: %s", amochats_result_name(after));

    const amochats_result invalid = AMOCHATS_RESULT_CONFIG_INVALID;
    CHECK(failed(amochats_channel_rotate_secret(channel, none, of("with blank"), none, LONG, &error), &error, invalid));
    CHECK(failed(amochats_channel_rotate_secret(channel, none, of(OLD), of("soon"), LONG, &error), &error, invalid));
    CHECK(failed(amochats_channel_rotate_secret(channel, of(OTHER), of(OLD), none, LONG, &error), &error,
                 AMOCHATS_RESULT_UNKNOWN_CHANNEL));
    CHECK(ingest(channel, id, NEW, 5, "c") == AMOCHATS_RESULT_OK);
    close_channel(channel);
}

static void accounts_are_connected_when_they_are_set(void) {
    log_t log = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    amochats_config *config = configured("");
    amochats_config_set_log(config, AMOCHATS_LEVEL_INFO, note, &log);
    amochats_channel *channel = opened(config);
    amochats_error *error = NULL;
    char json[200];
    snprintf(json, sizeof json, "{\"id\":\"%s\",\"connect\":true,\"title\":\"Shop\"}", sandbox("SANDBOX_ACCOUNT"));
    CHECK(ok(amochats_channel_set_account(channel, none, of(json), LONG, &error), error));
    pthread_mutex_lock(&log.lock);
    while (log.changes == 0) pthread_cond_wait(&log.said, &log.lock);
    pthread_mutex_unlock(&log.lock);
    amochats_value *accounts = NULL;
    CHECK(ok(amochats_channel_accounts(channel, &accounts, &error), error));
    CHECK(amochats_value_count(accounts) == 1);
    CHECK(is(text_of(amochats_value_at(accounts, 0), "state"), "connected"));
    amochats_value_free(accounts);

    amochats_slice account = of(sandbox("SANDBOX_ACCOUNT")), id = of(sandbox("SANDBOX_CHANNEL"));
    CHECK(ok(amochats_channel_remove_account(channel, id, account, LONG, &error), error));
    CHECK(failed(amochats_channel_remove_account(channel, none, account, LONG, &error), &error,
                 AMOCHATS_RESULT_NOT_FOUND));
    CHECK(failed(amochats_channel_remove_account(channel, of(OTHER), account, LONG, &error), &error,
                 AMOCHATS_RESULT_UNKNOWN_CHANNEL));
    CHECK(failed(amochats_channel_set_account(channel, of(OTHER), of(json), LONG, &error), &error,
                 AMOCHATS_RESULT_UNKNOWN_CHANNEL));
    CHECK(failed(amochats_channel_set_account(channel, none, of("{\"id\":\"a\",\"hook_version\":\"v3\"}"), LONG, &error),
                 &error, AMOCHATS_RESULT_CONFIG_INVALID));
    close_channel(channel);
}

/* A list, of which there must be as many; frees the query. */
static amochats_value *summaries(amochats_channel *channel, amochats_summary_query *query, size_t count) {
    amochats_error *error = NULL;
    amochats_value *found = NULL;
    REQUIRE(ok(amochats_inbox_list_summaries(channel, query, LONG, &found, &error), error));
    amochats_summary_query_free(query);
    if (amochats_value_count(found) != count) check_fail("there are %zu", amochats_value_count(found));
    REQUIRE(amochats_value_count(found) == count);
    return found;
}

/* For messages of one conversation. */
static amochats_summary_query *in_conversation(const char *conversation) {
    amochats_error *error = NULL;
    amochats_filter *filter = amochats_filter_new();
    amochats_summary_query *query = amochats_summary_query_new();
    CHECK(ok(amochats_filter_add_conversation(filter, of(conversation), &error), error));
    CHECK(ok(amochats_filter_add_kind(filter, of("message"), &error), error));
    CHECK(ok(amochats_summary_query_set_filter(query, filter, &error), error));
    amochats_filter_free(filter);
    return query;
}

static void events_are_found_and_tell_their_life(void) {
    const char *id = sandbox("SANDBOX_CHANNEL"), *secret = sandbox("SANDBOX_SECRET");
    amochats_channel *channel = opened(configured(""));
    amochats_error *error = NULL;
    CHECK(ok(amochats_subscription_create(channel, of("crm"), NULL, LONG, NULL, &error), error));
    for (int number = 0; number < 4; number++) {
        CHECK(ingest(channel, id, secret, number, number < 3 ? "c" : "d") == AMOCHATS_RESULT_OK);
    }
    char event_id[100];
    amochats_value *all = summaries(channel, NULL, 4);
    CHECK(is(text_of(amochats_value_at(all, 0), "message_ref_id"), "M0"));
    CHECK(is(text_of(amochats_value_at(all, 3), "conversation_id"), "d"));
    CHECK(number_of(amochats_value_at(all, 0), "size") > 100);
    amochats_slice first = text_of(amochats_value_at(all, 0), "event_id");
    snprintf(event_id, sizeof event_id, "%.*s", (int)first.len, first.data);
    amochats_summary_query *query = amochats_summary_query_new();
    amochats_summary_query_set_newest_first(query, true);
    amochats_summary_query_set_limit(query, 1);
    amochats_value *newest = summaries(channel, query, 1);
    CHECK(is(text_of(amochats_value_at(newest, 0), "message_ref_id"), "M3"));
    amochats_value *in_d = summaries(channel, in_conversation("d"), 1);
    CHECK(is(text_of(amochats_value_at(in_d, 0), "message_ref_id"), "M3"));
    query = in_conversation("c");
    CHECK(ok(amochats_summary_query_set_after(query, of(event_id), &error), error));
    amochats_value *after = summaries(channel, query, 2);
    CHECK(is(text_of(amochats_value_at(after, 0), "message_ref_id"), "M1"));
    query = amochats_summary_query_new();
    CHECK(ok(amochats_summary_query_set_message_ref_id(query, of("M3"), &error), error));
    amochats_value *of_one = summaries(channel, query, 1);
    CHECK(is(text_of(amochats_value_at(of_one, 0), "message_ref_id"), "M3"));
    amochats_value_free(of_one);
    query = amochats_summary_query_new();
    CHECK(ok(amochats_summary_query_set_message_ref_id(query, of("none"), &error), error));
    amochats_value_free(summaries(channel, query, 0));
    query = amochats_summary_query_new();
    amochats_summary_query_set_until_msec(query, 4102444800000);
    amochats_value_free(summaries(channel, query, 4));
    query = amochats_summary_query_new();
    amochats_summary_query_set_since_msec(query, 4102444800000);
    amochats_value_free(summaries(channel, query, 0));

    /* From the first again; where to begin is said by the query alone; the store has no such event. */
    amochats_filter *filter = amochats_filter_new();
    amochats_value *found = NULL;
    query = amochats_summary_query_new();
    CHECK(ok(amochats_summary_query_set_after(query, of(event_id), &error), error));
    CHECK(ok(amochats_summary_query_set_after(query, none, &error), error));
    amochats_filter_start_now(filter);
    amochats_result result = amochats_summary_query_set_filter(query, filter, &error);
    CHECK(is(amochats_error_field(error), "filter"));
    CHECK(failed(result, &error, AMOCHATS_RESULT_INVALID_ARGUMENT));
    CHECK(failed(amochats_summary_query_set_filter(query, NULL, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    CHECK(failed(amochats_summary_query_set_filter(NULL, filter, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    CHECK(failed(amochats_summary_query_set_after(NULL, none, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    CHECK(failed(amochats_summary_query_set_message_ref_id(NULL, none, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    CHECK(failed(amochats_summary_query_set_after(query, of("\xff"), &error), &error, AMOCHATS_RESULT_INVALID_UTF8));
    amochats_summary_query_set_newest_first(NULL, true);
    amochats_summary_query_set_since_msec(NULL, 0);
    amochats_summary_query_set_until_msec(NULL, 0);
    amochats_summary_query_set_limit(NULL, 0);
    amochats_summary_query_free(NULL);
    amochats_value_free(summaries(channel, query, 4));
    query = amochats_summary_query_new();
    CHECK(ok(amochats_summary_query_set_after(query, of("of-another-store"), &error), error));
    result = amochats_inbox_list_summaries(channel, query, LONG, &found, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_INVALID_ARGUMENT) && found == NULL);
    amochats_summary_query_free(query);
    amochats_filter_free(filter);

    /* Settled without a report. */
    amochats_consumer *consumer = NULL;
    amochats_delivery *delivery = NULL;
    amochats_value *unreported = NULL, *life = NULL;
    CHECK(ok(amochats_backfill_unreported(channel, none, 10, LONG, &unreported, &error), error));
    CHECK(amochats_value_count(unreported) == 0);
    amochats_value_free(unreported);
    REQUIRE(ok(amochats_consumer_open(channel, of("crm"), NULL, LONG, &consumer, &error), error));
    REQUIRE(ok(amochats_consumer_next(consumer, LONG, &delivery, &error), error) && delivery != NULL);
    CHECK(ok(amochats_inbox_event_life(channel, of(event_id), LONG, &life, &error), error));
    const amochats_value *where = amochats_value_at(amochats_value_get(life, of("deliveries")), 0);
    CHECK(is(text_of(where, "subscription"), "crm") && is(text_of(where, "state"), "leased"));
    CHECK(amochats_value_get(where, of("handed_out_at_msec")) != NULL);
    CHECK(amochats_value_get(where, of("settled_at_msec")) == NULL);
    CHECK(is(text_of(amochats_value_get(life, of("summary")), "event_id"), event_id));
    CHECK(is(text_of(amochats_value_get(life, of("event")), "event_id"), event_id));
    amochats_value_free(life);
    CHECK(ok(amochats_delivery_ack(delivery, 0, 0, none, LONG, &error), error));
    amochats_delivery_free(delivery);
    CHECK(ok(amochats_inbox_event_life(channel, of(event_id), LONG, &life, &error), error));
    where = amochats_value_at(amochats_value_get(life, of("deliveries")), 0);
    CHECK(is(text_of(where, "state"), "settled"));
    CHECK(amochats_value_get(where, of("settled_at_msec")) != NULL);
    amochats_value_free(life);
    CHECK(ok(amochats_backfill_unreported(channel, none, 10, LONG, &unreported, &error), error));
    CHECK(amochats_value_count(unreported) == 1);
    CHECK(is(text_of(amochats_value_at(unreported, 0), "event_id"), event_id));
    amochats_value_free(unreported);
    CHECK(ok(amochats_backfill_unreported(channel, of(event_id), 10, LONG, &unreported, &error), error));
    CHECK(amochats_value_count(unreported) == 0);
    amochats_value_free(unreported);
    CHECK(failed(amochats_inbox_event_life(channel, of("none"), LONG, &life, &error), &error,
                 AMOCHATS_RESULT_NOT_FOUND));

    amochats_consumer_free(consumer);
    amochats_value *const values[] = {all, newest, in_d, after};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) amochats_value_free(values[i]);
    close_channel(channel);
}

/* Keeps a message for the outbox; its item. */
static amochats_value *enqueued(amochats_channel *channel, const char *channel_id, const char *message_id) {
    char scope[200];
    amochats_error *error = NULL;
    amochats_call *call = NULL;
    amochats_value *item = NULL;
    snprintf(scope, sizeof scope, "%s_%s", channel_id, sandbox("SANDBOX_ACCOUNT"));
    amochats_user *anna = amochats_user_new(of("u-1"), of("Anna"));
    amochats_message *message = amochats_message_new(of("c-1"), of(message_id));
    REQUIRE(ok(amochats_message_set_sender(message, anna, &error), error));
    REQUIRE(ok(amochats_message_set_text(message, of("hello"), &error), error));
    REQUIRE(ok(amochats_call_send_message(of(scope), message, &call, &error), error));
    REQUIRE(ok(amochats_outbox_enqueue(channel, call, none, 0, LONG, &item, &error), error));
    amochats_call_free(call);
    amochats_message_free(message);
    amochats_user_free(anna);
    return item;
}

static void the_end_of_a_call_is_waited_for(void) {
    amochats_channel *channel = opened(configured(""));
    amochats_error *error = NULL;
    amochats_client *client = NULL;
    amochats_call *connect = NULL;
    CHECK(ok(amochats_channel_client(channel, none, &client, &error), error));
    CHECK(ok(amochats_call_connect(of(sandbox("SANDBOX_ACCOUNT")), none, none, &connect, &error), error));
    CHECK(ok(amochats_client_call(client, connect, LONG, NULL, &error), error));
    amochats_call_free(connect);
    amochats_client_free(client);

    amochats_value *item = enqueued(channel, sandbox("SANDBOX_CHANNEL"), "m-1"), *ended = NULL;
    CHECK(ok(amochats_outbox_wait(channel, text_of(item, "item_id"), LONG, &ended, &error), error));
    CHECK(is(text_of(ended, "state"), "sent"));
    amochats_value_free(ended);
    amochats_value_free(item);

    /* Nobody listens there: it is tried again and again. */
    const char *other = "{\"id\":\"" OTHER "\",\"secret\":\"" OLD "\",\"base_url\":\"http://127.0.0.1:9\"}";
    CHECK(ok(amochats_channel_set_channel(channel, of(other), LONG, &error), error));
    item = enqueued(channel, OTHER, "m-2");
    CHECK(failed(amochats_outbox_wait(channel, text_of(item, "item_id"), 1, NULL, &error), &error,
                 AMOCHATS_RESULT_TIMEOUT));
    CHECK(failed(amochats_outbox_wait(channel, of("none"), LONG, NULL, &error), &error, AMOCHATS_RESULT_NOT_FOUND));
    amochats_value_free(item);
    close_channel(channel);
}

static void the_widget_has_paths_of_its_own(void) {
    amochats_channel *channel = opened(configured(""));
    CHECK(!amochats_channel_widget_serves(channel, of("/widget/connect")));
    close_channel(channel);
    /* The key is 32 bytes in base64. */
    channel = opened(configured("widget.redirect_uri = 'https://chat.example.org/oauth'\n"
                                "widget.key = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE='"));
    CHECK(amochats_channel_widget_serves(channel, of("/widget/connect")));
    CHECK(!amochats_channel_widget_serves(channel, of("/elsewhere")));
    CHECK(!amochats_channel_widget_serves(channel, of("\xff")) && !amochats_channel_widget_serves(NULL, of("/")));
    close_channel(channel);
}

/* Each function of these, with this channel. */
static void each(const amochats_channel *channel, amochats_result expected) {
    amochats_error *error = NULL;
    amochats_value *value = NULL;
    amochats_slice json = of("{\"id\":\"a\",\"secret\":\"s\",\"region\":\"ru\"}"), account = of("{\"id\":\"a\"}");
    amochats_config *config = configured("");
    CHECK(failed(amochats_channel_set_channel(channel, json, LONG, &error), &error, expected));
    CHECK(failed(amochats_channel_remove_channel(channel, of("c"), LONG, &error), &error, expected));
    CHECK(failed(amochats_channel_rotate_secret(channel, none, of("s"), none, LONG, &error), &error, expected));
    CHECK(failed(amochats_channel_set_account(channel, none, account, LONG, &error), &error, expected));
    CHECK(failed(amochats_channel_remove_account(channel, none, of("a"), LONG, &error), &error, expected));
    CHECK(failed(amochats_channel_reload(channel, config, LONG, NULL, &error), &error, expected));
    CHECK(failed(amochats_inbox_list_summaries(channel, NULL, LONG, &value, &error), &error, expected));
    CHECK(failed(amochats_inbox_event_life(channel, of("e"), LONG, &value, &error), &error, expected));
    CHECK(failed(amochats_outbox_wait(channel, of("i"), LONG, &value, &error), &error, expected));
    CHECK(failed(amochats_backfill_unreported(channel, none, 1, LONG, &value, &error), &error, expected));
    CHECK(!amochats_channel_widget_serves(channel, of("/widget/connect")) && value == NULL);
    amochats_config_free(config);
}

static void misuse_is_an_error_with_a_sentence(void) {
    each(NULL, AMOCHATS_RESULT_NULL_POINTER);
    amochats_channel *channel = opened(configured(""));
    amochats_client *client = NULL;
    amochats_error *error = NULL;
    CHECK(ok(amochats_channel_client(channel, none, &client, &error), error));
    each((const amochats_channel *)(const void *)client, AMOCHATS_RESULT_MISUSE);
    amochats_client_free(client);
    const amochats_result missing = AMOCHATS_RESULT_NULL_POINTER;
    CHECK(failed(amochats_channel_reload(channel, NULL, LONG, NULL, &error), &error, missing));
    CHECK(failed(amochats_inbox_list_summaries(channel, NULL, LONG, NULL, &error), &error, missing));
    CHECK(failed(amochats_inbox_event_life(channel, none, LONG, NULL, &error), &error, missing));
    CHECK(failed(amochats_backfill_unreported(channel, none, 1, LONG, NULL, &error), &error, missing));
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    each(channel, AMOCHATS_RESULT_CLOSED);
    amochats_channel_free(channel);
}

int main(void) {
    RUN_IN_FOLDER(channels_come_and_go);
    RUN_IN_FOLDER(secrets_change_under_way);
    RUN_IN_FOLDER(accounts_are_connected_when_they_are_set);
    RUN_IN_FOLDER(events_are_found_and_tell_their_life);
    RUN_IN_FOLDER(the_end_of_a_call_is_waited_for);
    RUN_IN_FOLDER(the_widget_has_paths_of_its_own);
    RUN_IN_FOLDER(misuse_is_an_error_with_a_sentence);
    return check_result();
}
