/* The channel in this process: kept, handed out and settled; every promise on callbacks, descriptors,
 * threads, fork and misuse. Nothing outside of the process is needed: webhooks come by
 * amochats_channel_ingest(), signed here. */
#include "support.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define SECRET "da39a3ee5e6b4b0d3255bfef95601890afd80709"
#define CHANNEL "a4490ccc-5d7f-11e7-907b-a6006ad3dba0"
#define ACCOUNT "13fa84f7-6b61-4086-98ed-0a9de19ee15c"
#define SCOPE CHANNEL "_" ACCOUNT

static amochats_config *config_for(const char *store) {
    char path[600];
    amochats_config *config = amochats_config_new();
    amochats_config_set_log(config, AMOCHATS_LEVEL_DEBUG, heard, NULL);
    snprintf(path, sizeof path, "%s/%s", folder, store);
    REQUIRE(ok(amochats_config_set(config, of("store.path"), of(path), NULL), NULL));
    REQUIRE(ok(amochats_config_set(config, of("listener.address"), of("127.0.0.1:0"), NULL), NULL));
    REQUIRE(ok(amochats_config_set(config, of("admin.address"), of("127.0.0.1:0"), NULL), NULL));
    REQUIRE(ok(amochats_config_set(config, of("inbox.min_delay_ms"), of("1"), NULL), NULL));
    /* Nobody listens there: what goes out fails at once. */
    REQUIRE(ok(amochats_config_add_channel(config, of(CHANNEL), of(SECRET), of("http://127.0.0.1:9"), NULL), NULL));
    return config;
}

static amochats_channel *open_channel(void) {
    amochats_error *error = NULL;
    amochats_channel *channel = NULL;
    amochats_config *config = config_for("store.db");
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

/* A webhook with its signature. */
static amochats_slice hook(int number, const char *conversation, char signature[AMOCHATS_SIGNATURE_SIZE]) {
    static _Thread_local char body[800];
    amochats_slice slice = {body, 0};
    slice.len = (size_t)snprintf(
        body, sizeof body,
        "{\"account_id\":\"" ACCOUNT "\",\"time\":1704067200,\"message\":{\"conversation\":{\"id\":\"ref-%s\","
        "\"client_id\":\"%s\"},\"receiver\":{\"id\":\"R\",\"client_id\":\"u-1\",\"name\":\"Anna\","
        "\"phone\":\"+79160004242\",\"email\":\"planted@secret.example\"},\"sender\":{\"id\":\"S\"},"
        "\"timestamp\":1704067200,\"msec_timestamp\":1704067200123,\"message\":{\"id\":\"M%d\",\"type\":\"text\","
        "\"text\":\"PLANTED-TEXT number %d\",\"markup\":{\"mode\":\"inline\",\"buttons\":[[{\"text\":\"Yes\"},{\"text\":\"No\"}]]}}}}",
        conversation, conversation, number, number);
    REQUIRE(amochats_sign_body(of(SECRET), slice, (char(*)[AMOCHATS_SIGNATURE_SIZE])signature, NULL) ==
            AMOCHATS_RESULT_OK);
    return slice;
}

static amochats_ingested ingest(amochats_channel *channel, int number, const char *conversation) {
    char signature[AMOCHATS_SIGNATURE_SIZE];
    amochats_error *error = NULL;
    amochats_ingested ingested = AMOCHATS_INGESTED_LIVE;
    amochats_slice body = hook(number, conversation, signature);
    amochats_result result =
        amochats_channel_ingest(channel, of(SCOPE), of(signature), body, LONG, &ingested, &error);
    CHECK(ok(result, error));
    return ingested;
}

static amochats_consumer *open_consumer(amochats_channel *channel, bool dispatch) {
    amochats_error *error = NULL;
    amochats_consumer *consumer = NULL;
    amochats_consumer_options *options = amochats_consumer_options_new();
    amochats_consumer_options_set_create(options, true);
    amochats_consumer_options_set_dispatch(options, dispatch);
    amochats_result result = amochats_consumer_open(channel, of("crm"), options, LONG, &consumer, &error);
    amochats_consumer_options_free(options);
    REQUIRE(ok(result, error));
    return consumer;
}

static amochats_delivery *next(amochats_consumer *consumer, int64_t timeout_ms) {
    amochats_error *error = NULL;
    amochats_delivery *delivery = NULL;
    CHECK(ok(amochats_consumer_next(consumer, timeout_ms, &delivery, &error), error));
    return delivery;
}

static int readable(amochats_consumer *consumer, int timeout_ms) {
    struct pollfd waiting = {amochats_consumer_fd(consumer), POLLIN, 0};
    return poll(&waiting, 1, timeout_ms) == 1;
}

static int thread_count(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    REQUIRE(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void kept_handed_out_and_settled(void) {
    amochats_channel *channel = open_channel();
    CHECK(ingest(channel, 1, "c-1") == AMOCHATS_INGESTED_KEPT);
    CHECK(ingest(channel, 1, "c-1") == AMOCHATS_INGESTED_DUPLICATE);
    amochats_consumer *consumer = open_consumer(channel, false);
    amochats_delivery *delivery = next(consumer, LONG);
    REQUIRE(delivery != NULL);
    const amochats_event *event = amochats_delivery_event(delivery);
    const amochats_webhook *webhook = amochats_event_webhook(event);
    CHECK(amochats_delivery_attempt(delivery) == 1);
    CHECK(!amochats_delivery_is_again(delivery) && !amochats_delivery_is_live(delivery));
    CHECK(amochats_event_id(event).len > 0);
    CHECK(is(amochats_event_kind_name(event), "message"));
    CHECK(is(amochats_event_channel_id(event), CHANNEL));
    CHECK(is(amochats_event_account_id(event), ACCOUNT));
    CHECK(is(amochats_event_scope_id(event), SCOPE));
    CHECK(is(amochats_event_origin(event), "webhook"));
    CHECK(amochats_event_received_at_msec(event) > 1704067200000);
    CHECK(!amochats_event_is_conflicting_duplicate(event));
    CHECK(amochats_event_item(event) == NULL);
    char signature[AMOCHATS_SIGNATURE_SIZE];
    amochats_slice body = hook(1, "c-1", signature), raw = amochats_event_raw(event);
    CHECK(raw.len == body.len && memcmp(raw.data, body.data, raw.len) == 0);
    CHECK(has(amochats_event_json(event), "\"event_id\""));
    CHECK(is(amochats_webhook_text(webhook), "PLANTED-TEXT number 1"));
    CHECK(is(amochats_webhook_conversation_id(webhook), "c-1"));
    CHECK(is(amochats_webhook_message_ref_id(webhook), "M1"));
    const amochats_value *markup = amochats_value_get(amochats_webhook_value(webhook), of("markup"));
    const amochats_value *row = amochats_value_at(amochats_value_get(markup, of("buttons")), 0);
    CHECK(amochats_value_count(row) == 2);
    CHECK(is(amochats_value_text(amochats_value_get(amochats_value_at(row, 1), of("text"))), "No"));
    CHECK(amochats_value_at(row, 2) == NULL && amochats_value_get(row, of("text")) == NULL);

    amochats_error *error = NULL;
    CHECK(ok(amochats_delivery_ack(delivery, 0, 0, none, LONG, &error), error));
    CHECK(next(consumer, 0) == NULL);
    amochats_result again = amochats_delivery_ack(delivery, 0, 0, none, LONG, &error);
    CHECK(failed(again, &error, AMOCHATS_RESULT_MISUSE));
    amochats_delivery_free(delivery);

    amochats_consumer_free(consumer);
    close_channel(channel);
    channel = open_channel();
    consumer = open_consumer(channel, false);
    CHECK(ingest(channel, 2, "c-1") == AMOCHATS_INGESTED_KEPT);
    delivery = next(consumer, LONG);
    CHECK(is(amochats_webhook_text(amochats_event_webhook(amochats_delivery_event(delivery))), "PLANTED-TEXT number 2"));
    amochats_delivery_free(delivery); /* not settled: it is given back */
    amochats_consumer_free(consumer);
    consumer = open_consumer(channel, false);
    delivery = next(consumer, LONG);
    CHECK(amochats_delivery_attempt(delivery) == 1);
    CHECK(ok(amochats_delivery_ack(delivery, 0, 0, none, LONG, &error), error));
    amochats_delivery_free(delivery);
    amochats_consumer_free(consumer);
    close_channel(channel);
}

static void what_is_not_genuine_is_refused(void) {
    amochats_channel *channel = open_channel();
    amochats_error *error = NULL;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    amochats_slice body = hook(1, "c", signature);
    amochats_result result = amochats_channel_ingest(channel, of(SCOPE), none, body, LONG, NULL, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_SIGNATURE_MISSING));
    result = amochats_channel_ingest(channel, of(SCOPE), of(signature), of("{}"), LONG, NULL, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_SIGNATURE_MISMATCH));
    result = amochats_channel_ingest(channel, of("b_c"), of(signature), body, LONG, NULL, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_UNKNOWN_CHANNEL));
    result = amochats_channel_ingest(channel, of("\xff"), of("\xff"), body, LONG, NULL, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_UNKNOWN_CHANNEL));
    close_channel(channel);
}

static void refused_given_up_and_requeued(void) {
    amochats_channel *channel = open_channel();
    amochats_consumer *consumer = open_consumer(channel, false);
    amochats_error *error = NULL;
    amochats_value *letters = NULL;
    uint64_t count = 0;
    int64_t place = 0;
    ingest(channel, 1, "c-1");
    amochats_delivery *delivery = next(consumer, LONG);
    CHECK(ok(amochats_delivery_extend(delivery, 120000, &error), error));
    CHECK(ok(amochats_delivery_nack(delivery, 0, LONG, &error), error));
    amochats_delivery_free(delivery);
    delivery = next(consumer, LONG);
    CHECK(amochats_delivery_attempt(delivery) == 2);
    CHECK(ok(amochats_delivery_dead(delivery, LONG, &error), error));
    CHECK(failed(amochats_delivery_extend(delivery, 120000, &error), &error, AMOCHATS_RESULT_LEASE_LOST));
    amochats_delivery_free(delivery);

    CHECK(ok(amochats_dead_letters_list(channel, of("crm"), 0, 10, LONG, &letters, &error), error));
    CHECK(amochats_value_count(letters) == 1);
    CHECK(amochats_value_integer(amochats_value_get(amochats_value_at(letters, 0), of("place")), &place));
    amochats_value_free(letters);
    CHECK(ok(amochats_dead_letters_requeue(channel, of("crm"), &place, 1, LONG, &count, &error), error));
    CHECK(count == 1);
    delivery = next(consumer, LONG);
    CHECK(amochats_delivery_is_again(delivery));
    CHECK(ok(amochats_delivery_dead(delivery, LONG, &error), error));
    amochats_delivery_free(delivery);
    CHECK(ok(amochats_dead_letters_drop(channel, of("crm"), NULL, 0, LONG, &count, &error), error));
    CHECK(count == 1);
    amochats_result result = amochats_dead_letters_drop(channel, of("none"), NULL, 0, LONG, &count, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND));

    CHECK(ok(amochats_inbox_replay(channel, of("crm"), NULL, LONG, &count, &error), error));
    CHECK(count == 1);
    delivery = next(consumer, LONG);
    CHECK(amochats_delivery_is_again(delivery));
    amochats_delivery_free(delivery);
    amochats_consumer_free(consumer);
    close_channel(channel);
}

static void the_descriptor_says_what_next_would_do(void) {
    amochats_channel *channel = open_channel();
    amochats_consumer *consumer = open_consumer(channel, false);
    amochats_error *error = NULL;
    amochats_delivery *delivery = NULL;
    CHECK(!readable(consumer, 0));
    CHECK(next(consumer, 0) == NULL);
    for (int round = 0; round < 20; round++) {
        ingest(channel, 2 * round, "c-1");
        ingest(channel, 2 * round + 1, "c-2");
        CHECK(readable(consumer, LONG));
        CHECK(readable(consumer, 0)); /* level-triggered: looking changes nothing */
        for (int taken = 0; taken < 2; taken++) {
            CHECK(readable(consumer, LONG));
            delivery = next(consumer, 0);
            REQUIRE(delivery != NULL);
            CHECK(ok(amochats_delivery_ack(delivery, 0, 0, none, LONG, &error), error));
            amochats_delivery_free(delivery);
        }
        CHECK(!readable(consumer, 0));
        CHECK(next(consumer, 0) == NULL);
    }
    CHECK(ok(amochats_consumer_close(consumer, LONG, &error), error));
    for (int asked = 0; asked < 3; asked++) {
        CHECK(readable(consumer, 0));
        CHECK(failed(amochats_consumer_next(consumer, 0, &delivery, &error), &error, AMOCHATS_RESULT_CLOSED));
    }
    amochats_consumer_free(consumer);

    consumer = open_consumer(channel, false);
    CHECK(ok(amochats_subscription_delete(channel, of("crm"), LONG, &error), error));
    ingest(channel, 1000, "c-1"); /* consumers look when something changes */
    CHECK(readable(consumer, LONG));
    amochats_result result = amochats_consumer_next(consumer, 0, &delivery, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND));
    amochats_consumer_free(consumer);

    consumer = open_consumer(channel, false);
    while ((delivery = next(consumer, 1000)) != NULL) amochats_delivery_free(delivery);
    CHECK(!readable(consumer, 0));
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    CHECK(readable(consumer, 0));
    CHECK(failed(amochats_consumer_next(consumer, -1, &delivery, &error), &error, AMOCHATS_RESULT_CLOSED));
    amochats_channel_free(channel);
    amochats_consumer_free(consumer); /* after its channel */
}

/* What callbacks saw. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t main;
    int calls, cancelled, on_main, deliveries, in_order;
    char last[64];
    amochats_result result;
    int64_t value_count;
} seen_t;

static void seen_begin(seen_t *seen) {
    memset(seen, 0, sizeof *seen);
    pthread_mutex_init(&seen->lock, NULL);
    pthread_cond_init(&seen->changed, NULL);
    seen->main = pthread_self();
    seen->in_order = 1;
}

static void seen_call(void *data, amochats_result result, const amochats_value *value, const amochats_error *error) {
    seen_t *seen = data;
    (void)value;
    pthread_mutex_lock(&seen->lock);
    seen->calls++;
    seen->result = result;
    seen->cancelled += result == AMOCHATS_RESULT_CANCELLED;
    seen->on_main += pthread_equal(pthread_self(), seen->main) != 0;
    if ((result == AMOCHATS_RESULT_OK) != (error == NULL)) seen->in_order = 0;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static uint32_t seen_delivery(void *data, amochats_delivery *delivery) {
    seen_t *seen = data;
    char expected[64];
    amochats_slice text = amochats_webhook_text(amochats_event_webhook(amochats_delivery_event(delivery)));
    pthread_mutex_lock(&seen->lock);
    snprintf(expected, sizeof expected, "PLANTED-TEXT number %d", seen->deliveries);
    if (!is(text, expected)) seen->in_order = 0;
    seen->deliveries++;
    seen->on_main += pthread_equal(pthread_self(), seen->main) != 0;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
    return AMOCHATS_VERDICT_ACK;
}

static void wait_for(seen_t *seen, int *count, int at_least) {
    pthread_mutex_lock(&seen->lock);
    while (*count < at_least) pthread_cond_wait(&seen->changed, &seen->lock);
    pthread_mutex_unlock(&seen->lock);
}

static void a_handler_gets_each_in_order_and_its_end_once(void) {
    enum { COUNT = 50 };
    seen_t seen;
    amochats_error *error = NULL;
    amochats_delivery *delivery = NULL;
    amochats_value *states = NULL;
    int64_t unsettled = -1;
    seen_begin(&seen);
    amochats_channel *channel = open_channel();
    amochats_consumer *consumer = open_consumer(channel, false);
    for (int number = 0; number < COUNT; number++) ingest(channel, number, "c-1");
    CHECK(ok(amochats_consumer_set_handler(consumer, seen_delivery, seen_call, &seen, &error), error));
    amochats_result result = amochats_consumer_set_handler(consumer, seen_delivery, seen_call, &seen, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_MISUSE));
    CHECK(failed(amochats_consumer_next(consumer, 0, &delivery, &error), &error, AMOCHATS_RESULT_MISUSE));
    wait_for(&seen, &seen.deliveries, COUNT);
    CHECK(seen.deliveries == COUNT && seen.in_order && seen.on_main == 0 && seen.calls == 0);
    CHECK(ok(amochats_consumer_close(consumer, LONG, &error), error));
    CHECK(seen.calls == 1 && seen.result == AMOCHATS_RESULT_CLOSED);
    amochats_consumer_free(consumer);
    CHECK(seen.calls == 1);
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error)); /* and its settlements */
    amochats_channel_free(channel);
    channel = open_channel();
    CHECK(ok(amochats_subscription_list(channel, LONG, &states, &error), error));
    CHECK(is(amochats_value_text(amochats_value_get(amochats_value_at(states, 0), of("name"))), "crm"));
    CHECK(amochats_value_integer(amochats_value_get(amochats_value_at(states, 0), of("unsettled")), &unsettled));
    CHECK(unsettled <= 1); /* the last verdict may come too late; then it is handed out again */
    amochats_value_free(states);
    close_channel(channel);
}

static void dispatch_runs_all_on_the_callers_thread(void) {
    seen_t seen, settled;
    amochats_error *error = NULL;
    uint32_t ran = 7;
    seen_begin(&seen);
    seen_begin(&settled);
    amochats_channel *channel = open_channel();
    amochats_consumer *consumer = open_consumer(channel, true);
    CHECK(ok(amochats_channel_set_dispatcher(channel, consumer, &error), error));
    CHECK(ok(amochats_consumer_dispatch(consumer, 100, &ran, &error), error));
    CHECK(ran == 0);

    /* Without a handler, deliveries are for next(); completions are run here. */
    ingest(channel, 100, "c-9");
    amochats_delivery *delivery = next(consumer, LONG);
    CHECK(!readable(consumer, 0));
    CHECK(ok(amochats_delivery_ack_async(delivery, 0, 0, none, seen_call, &settled, NULL, &error), error));
    amochats_delivery_free(delivery);
    CHECK(readable(consumer, LONG));
    CHECK(settled.calls == 0);
    CHECK(next(consumer, 0) == NULL);
    CHECK(ok(amochats_consumer_dispatch(consumer, 100, &ran, &error), error));
    CHECK(ran == 1 && settled.calls == 1 && settled.on_main == 1 && settled.result == AMOCHATS_RESULT_OK);
    CHECK(!readable(consumer, 0));

    for (int number = 0; number < 10; number++) {
        char signature[AMOCHATS_SIGNATURE_SIZE];
        amochats_slice body = hook(number, "c-1", signature);
        CHECK(ok(amochats_channel_ingest_async(channel, of(SCOPE), of(signature), body, seen_call, &settled, NULL,
                                               &error), error));
        while (settled.calls < number + 2) {
            CHECK(readable(consumer, LONG));
            CHECK(ok(amochats_consumer_dispatch(consumer, 1, NULL, &error), error));
            if (number == 0 && settled.calls < 2) break; /* that is a delivery, for which there is no handler yet */
        }
        if (number == 0) {
            while (settled.calls < 2) CHECK(ok(amochats_consumer_dispatch(consumer, 9, NULL, &error), error));
            CHECK(ok(amochats_consumer_set_handler(consumer, seen_delivery, seen_call, &seen, &error), error));
        }
    }
    while (seen.deliveries < 10) {
        CHECK(readable(consumer, LONG));
        CHECK(ok(amochats_consumer_dispatch(consumer, 100, NULL, &error), error));
    }
    CHECK(seen.in_order && seen.on_main == 10 && seen.calls == 0);
    CHECK(settled.calls == 11 && settled.on_main == 11);
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    CHECK(readable(consumer, 0));
    CHECK(ok(amochats_consumer_dispatch(consumer, 100, &ran, &error), error));
    CHECK(ran == 1 && seen.calls == 1 && seen.result == AMOCHATS_RESULT_CLOSED);
    amochats_consumer_free(consumer);
    CHECK(seen.calls == 1);
    amochats_channel_free(channel);
}

static void calls_back_exactly_once_also_when_cancelled_and_closed(void) {
    enum { COUNT = 300 };
    static seen_t seen[COUNT];
    amochats_error *error = NULL;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    amochats_token *tokens[COUNT];
    amochats_channel *channel = open_channel();
    int cancelled = 0;
    for (int number = 0; number < COUNT; number++) {
        amochats_slice body = hook(number, "c-1", signature);
        seen_begin(&seen[number]);
        CHECK(ok(amochats_channel_ingest_async(channel, of(SCOPE), of(signature), body, seen_call, &seen[number],
                                               &tokens[number], &error), error));
        if (number % 3 == 0) amochats_token_cancel(tokens[number]);
        if (number % 2 == 0) amochats_token_free(tokens[number]), tokens[number] = NULL;
    }
    /* What is wrong with the arguments is returned, and nobody is called back. */
    seen_t never;
    amochats_token *token = NULL;
    amochats_slice bad = {NULL, 3};
    seen_begin(&never);
    amochats_result result =
        amochats_channel_ingest_async(channel, of(SCOPE), none, bad, seen_call, &never, &token, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_NULL_POINTER));
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    for (int number = 0; number < COUNT; number++) {
        if (seen[number].calls != 1 || seen[number].on_main != 0 || !seen[number].in_order) {
            check_fail("number %d: %d calls", number, seen[number].calls);
        }
        cancelled += seen[number].cancelled;
    }
    CHECK(cancelled > 0);
    result = amochats_channel_ingest_async(channel, of(SCOPE), of("x"), of("{}"), seen_call, &never, &token, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_CLOSED));
    CHECK(never.calls == 0 && token == NULL);
    amochats_channel_free(channel);
    for (int number = 0; number < COUNT; number++) {
        CHECK(seen[number].calls == 1);
        amochats_token_cancel(tokens[number]); /* too late, and no harm */
        amochats_token_free(tokens[number]);
    }
}

typedef struct {
    seen_t seen;
    amochats_channel *channel;
    amochats_consumer *consumer;
    amochats_result ingested, closed, next, dispatched;
} inside_t;

static void call_from_inside(void *data, amochats_result result, const amochats_value *value,
                             const amochats_error *error) {
    inside_t *inside = data;
    amochats_delivery *delivery = NULL;
    inside->ingested =
        amochats_channel_ingest(inside->channel, of(SCOPE), of("x"), of("{}"), LONG, NULL, NULL);
    inside->closed = amochats_channel_close(inside->channel, LONG, NULL);
    inside->next = amochats_consumer_next(inside->consumer, -1, &delivery, NULL);
    inside->dispatched = amochats_consumer_dispatch(inside->consumer, 1, NULL, NULL);
    amochats_channel_free(inside->channel); /* does nothing, since it would wait for itself */
    amochats_consumer_free(inside->consumer);
    seen_call(&inside->seen, result, value, error);
}

static void a_callback_may_not_wait(void) {
    inside_t inside;
    amochats_error *error = NULL;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    seen_begin(&inside.seen);
    inside.channel = open_channel();
    inside.consumer = open_consumer(inside.channel, false);
    amochats_slice body = hook(1, "c", signature);
    CHECK(ok(amochats_channel_ingest_async(inside.channel, of(SCOPE), of(signature), body, call_from_inside,
                                           &inside, NULL, &error), error));
    wait_for(&inside.seen, &inside.seen.calls, 1);
    CHECK(inside.ingested == AMOCHATS_RESULT_MISUSE && inside.closed == AMOCHATS_RESULT_MISUSE);
    CHECK(inside.next == AMOCHATS_RESULT_MISUSE && inside.dispatched == AMOCHATS_RESULT_MISUSE);
    amochats_delivery *delivery = next(inside.consumer, LONG);
    CHECK(delivery != NULL);
    amochats_delivery_free(delivery);
    amochats_consumer_free(inside.consumer);
    close_channel(inside.channel);
}

static void misuse_is_an_error_with_a_sentence(void) {
    amochats_error *error = NULL;
    amochats_delivery *delivery = NULL;
    amochats_channel *second = NULL;
    amochats_channel *channel = open_channel();
    amochats_consumer *consumer = open_consumer(channel, false);
    amochats_result result;
    /* Another kind of object. */
    result = amochats_consumer_next((const amochats_consumer *)(const void *)channel, 0, &delivery, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_MISUSE));
    result = amochats_channel_close((const amochats_channel *)(const void *)consumer, 0, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_MISUSE));
    CHECK(amochats_consumer_fd((const amochats_consumer *)(const void *)channel) == -1);
    amochats_consumer_free((amochats_consumer *)(void *)channel);
    amochats_delivery_free((amochats_delivery *)(void *)channel);
    /* NULL. */
    CHECK(failed(amochats_consumer_next(NULL, 0, &delivery, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    CHECK(failed(amochats_consumer_next(consumer, 0, NULL, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    CHECK(failed(amochats_channel_open(NULL, LONG, &second, &error), &error, AMOCHATS_RESULT_NULL_POINTER));
    result = amochats_consumer_set_handler(consumer, NULL, NULL, NULL, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_NULL_POINTER));
    amochats_channel_free(NULL);
    amochats_consumer_free(NULL);
    amochats_delivery_free(NULL);
    amochats_client_free(NULL);
    amochats_token_free(NULL);
    amochats_token_cancel(NULL);
    amochats_event_free(NULL);
    amochats_value_free(NULL);
    amochats_config_free(NULL);
    /* The same store twice, a key that is not known, no channel. */
    amochats_config *config = config_for("store.db");
    CHECK(failed(amochats_channel_open(config, LONG, &second, &error), &error, AMOCHATS_RESULT_STORE_LOCKED));
    CHECK(failed(amochats_config_set(config, of("address"), of("x"), &error), &error,
                 AMOCHATS_RESULT_INVALID_ARGUMENT));
    CHECK(ok(amochats_config_set(config, of("listener.adress"), of("x"), &error), error));
    CHECK(failed(amochats_channel_open(config, LONG, &second, &error), &error, AMOCHATS_RESULT_CONFIG_INVALID));
    CHECK(failed(amochats_config_set_toml(config, of("[["), &error), &error, AMOCHATS_RESULT_CONFIG_INVALID));
    CHECK(failed(amochats_config_load(config, of("/nowhere"), &error), &error, AMOCHATS_RESULT_CONFIG_INVALID));
    CHECK(failed(amochats_config_set_threads(config, 0, &error), &error, AMOCHATS_RESULT_INVALID_ARGUMENT));
    amochats_config_free(config);
    result = amochats_consumer_open(channel, of("none"), NULL, LONG, &consumer, &error);
    CHECK(failed(result, &error, AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND));
    /* After the close. */
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    CHECK(failed(amochats_channel_health(channel, LONG, &error), &error, AMOCHATS_RESULT_CLOSED));
    CHECK(failed(amochats_consumer_next(consumer, 0, &delivery, &error), &error, AMOCHATS_RESULT_CLOSED));
    amochats_consumer_free(consumer);
    amochats_channel_free(channel);
}

static void a_child_of_fork_is_refused(void) {
    amochats_channel *channel = open_channel();
    amochats_consumer *consumer = open_consumer(channel, false);
    amochats_delivery *delivery = NULL;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int forked = 0;
        forked += amochats_consumer_next(consumer, -1, &delivery, NULL) == AMOCHATS_RESULT_FORKED;
        forked += amochats_consumer_dispatch(consumer, 1, NULL, NULL) == AMOCHATS_RESULT_FORKED;
        forked += amochats_consumer_close(consumer, LONG, NULL) == AMOCHATS_RESULT_FORKED;
        forked += amochats_channel_close(channel, LONG, NULL) == AMOCHATS_RESULT_FORKED;
        forked += amochats_channel_ingest(channel, of(SCOPE), of("x"), of("{}"), LONG, NULL, NULL) ==
                  AMOCHATS_RESULT_FORKED;
        forked += amochats_channel_ingest_async(channel, of(SCOPE), of("x"), of("{}"), NULL, NULL, NULL, NULL) ==
                  AMOCHATS_RESULT_FORKED;
        amochats_consumer_free(consumer);
        amochats_channel_free(channel);
        _exit(forked);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 6);
    ingest(channel, 1, "c");
    delivery = next(consumer, LONG);
    CHECK(delivery != NULL);
    amochats_delivery_free(delivery);
    amochats_consumer_free(consumer);
    close_channel(channel);
}

static void no_thread_remains_and_signals_are_as_they_were(void) {
    int before = thread_count();
    sigset_t mask_before, mask_after;
    sigemptyset(&mask_before);
    sigemptyset(&mask_after);
    struct sigaction action_before[32], action_after[32];
    memset(action_before, 0, sizeof action_before);
    memset(action_after, 0, sizeof action_after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    for (int number = 1; number < 32; number++) sigaction(number, NULL, &action_before[number]);
    amochats_channel *channel = open_channel();
    CHECK(thread_count() > before);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int number = 1; number < 32; number++) sigaction(number, NULL, &action_after[number]);
    for (int number = 1; number < 32; number++) {
        CHECK(sigismember(&mask_before, number) == sigismember(&mask_after, number));
        CHECK(action_before[number].sa_handler == action_after[number].sa_handler);
    }
    amochats_error *error = NULL;
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    CHECK(thread_count() == before);
    amochats_channel_free(channel);
}

typedef struct {
    pthread_mutex_t lock;
    int lines, of_ours, secrets;
} log_t;

static void keep_line(void *data, amochats_level level, amochats_slice target, amochats_slice message) {
    log_t *log = data;
    pthread_mutex_lock(&log->lock);
    log->lines++;
    log->of_ours += level <= AMOCHATS_LEVEL_INFO && has(target, "amochats") && message.len > 0;
    log->secrets += has(message, SECRET) || has(message, "number 1");
    pthread_mutex_unlock(&log->lock);
}

static void logs_metrics_health_and_accounts(void) {
    log_t log = {PTHREAD_MUTEX_INITIALIZER, 0, 0, 0};
    amochats_error *error = NULL;
    amochats_channel *channel = NULL;
    amochats_buffer *metrics = NULL;
    amochats_value *list = NULL;
    amochats_config *config = config_for("logged.db");
    amochats_config_set_log(config, AMOCHATS_LEVEL_INFO, keep_line, &log);
    CHECK(ok(amochats_config_set_threads(config, 1, &error), error));
    REQUIRE(ok(amochats_channel_open(config, LONG, &channel, &error), error));
    amochats_config_free(config);
    ingest(channel, 1, "c");
    CHECK(log.lines > 0 && log.of_ours == log.lines && log.secrets == 0); /* the account's first webhook */
    CHECK(ok(amochats_channel_health(channel, LONG, &error), error));
    CHECK(ok(amochats_channel_metrics(channel, LONG, &metrics, &error), error));
    CHECK(has(amochats_buffer_slice(metrics), "amochats_events"));
    amochats_buffer_free(metrics);
    CHECK(has(amochats_channel_listener_address(channel), "127.0.0.1:"));
    CHECK(!is(amochats_channel_listener_address(channel), "127.0.0.1:0"));
    CHECK(has(amochats_channel_admin_address(channel), "127.0.0.1:"));
    CHECK(ok(amochats_channel_accounts(channel, &list, &error), error));
    CHECK(is(amochats_value_text(amochats_value_get(amochats_value_at(list, 0), of("state"))), "discovered"));
    amochats_value_free(list);
    CHECK(ok(amochats_channel_forget_account(channel, of(SCOPE), LONG, &error), error));
    CHECK(failed(amochats_channel_forget_account(channel, of(SCOPE), LONG, &error), &error,
                 AMOCHATS_RESULT_NOT_FOUND));
    CHECK(ok(amochats_backfill_progress(channel, LONG, &list, &error), error));
    CHECK(has(amochats_value_json(list), "\"appended\":0"));
    amochats_value_free(list);
    CHECK(ok(amochats_inbox_list_events(channel, none, none, 10, LONG, &list, &error), error));
    CHECK(amochats_value_count(list) == 1);
    amochats_event *event = NULL;
    amochats_slice id = amochats_value_text(amochats_value_get(amochats_value_at(list, 0), of("event_id")));
    CHECK(ok(amochats_inbox_get_event(channel, id, LONG, &event, &error), error));
    CHECK(is(amochats_event_kind_name(event), "message"));
    amochats_event_free(event);
    amochats_value_free(list);
    uint64_t purged = 0;
    CHECK(ok(amochats_inbox_purge(channel, of(SCOPE), of("c"), LONG, &purged, &error), error));
    CHECK(purged == 1);
    CHECK(ok(amochats_channel_close(channel, LONG, &error), error));
    int lines = log.lines;
    amochats_channel_free(channel);
    CHECK(log.lines == lines);
}

static void subscriptions_have_filters(void) {
    amochats_error *error = NULL;
    amochats_consumer *consumer = NULL;
    bool created = false;
    amochats_channel *channel = open_channel();
    amochats_filter *filter = amochats_filter_new();
    CHECK(ok(amochats_filter_add_conversation(filter, of("c-2"), &error), error));
    CHECK(ok(amochats_filter_add_kind(filter, of("message"), &error), error));
    CHECK(ok(amochats_filter_add_account(filter, of(ACCOUNT), &error), error));
    CHECK(ok(amochats_filter_add_scope(filter, of(SCOPE), &error), error));
    CHECK(failed(amochats_filter_add_kind(filter, of("letter"), &error), &error, AMOCHATS_RESULT_INVALID_ARGUMENT));
    CHECK(ok(amochats_subscription_create(channel, of("two"), filter, LONG, &created, &error), error));
    CHECK(created);
    CHECK(ok(amochats_subscription_create(channel, of("two"), filter, LONG, &created, &error), error));
    CHECK(!created);
    CHECK(failed(amochats_subscription_create(channel, of("a b"), NULL, LONG, NULL, &error), &error,
                 AMOCHATS_RESULT_INVALID_ARGUMENT));
    amochats_filter_free(filter);
    ingest(channel, 1, "c-1");
    ingest(channel, 2, "c-2");
    CHECK(ok(amochats_consumer_open(channel, of("two"), NULL, LONG, &consumer, &error), error));
    amochats_delivery *delivery = next(consumer, LONG);
    CHECK(is(amochats_webhook_text(amochats_event_webhook(amochats_delivery_event(delivery))), "PLANTED-TEXT number 2"));
    amochats_delivery_free(delivery);
    amochats_consumer_free(consumer);
    close_channel(channel);
}

/* How many of a subscription are handed out, by the metrics. */
static int outstanding(const amochats_channel *channel) {
    amochats_error *error = NULL;
    amochats_buffer *metrics = NULL;
    int count = -1;
    CHECK(ok(amochats_channel_metrics(channel, LONG, &metrics, &error), error));
    amochats_slice text = amochats_buffer_slice(metrics);
    const char *name = "\namochats_subscription_outstanding{subscription=\"crm\"} ";
    const char *found = memmem(text.data, text.len, name, strlen(name));
    if (found != NULL) count = atoi(found + strlen(name));
    amochats_buffer_free(metrics);
    return count;
}

static void the_bytes_that_are_outstanding_are_bounded(void) {
    amochats_error *error = NULL;
    amochats_consumer *consumer = NULL;
    amochats_channel *channel = open_channel();
    ingest(channel, 1, "c-1");
    ingest(channel, 2, "c-2");
    ingest(channel, 3, "c-3");
    amochats_consumer_options *options = amochats_consumer_options_new();
    amochats_consumer_options_set_create(options, true);
    amochats_consumer_options_set_max_outstanding_bytes(options, 1);
    REQUIRE(ok(amochats_consumer_open(channel, of("crm"), options, LONG, &consumer, &error), error));
    amochats_consumer_options_free(options);
    for (int number = 1; number <= 3; number++) {
        char expected[40];
        snprintf(expected, sizeof expected, "PLANTED-TEXT number %d", number);
        amochats_delivery *delivery = next(consumer, LONG);
        REQUIRE(delivery != NULL); /* one is never too large */
        CHECK(is(amochats_webhook_text(amochats_event_webhook(amochats_delivery_event(delivery))), expected));
        CHECK(outstanding(channel) == 1);
        CHECK(next(consumer, 0) == NULL);
        CHECK(ok(amochats_delivery_ack(delivery, 0, 0, none, LONG, &error), error));
        amochats_delivery_free(delivery);
    }
    amochats_consumer_free(consumer);
    close_channel(channel);
}

static amochats_call *a_call(const char *message_id) {
    amochats_error *error = NULL;
    amochats_call *call = NULL;
    amochats_user *anna = amochats_user_new(of("u-1"), of("Anna"));
    amochats_message *message = amochats_message_new(of("c-1"), of(message_id));
    CHECK(ok(amochats_message_set_sender(message, anna, &error), error));
    CHECK(ok(amochats_message_set_text(message, of("hello"), &error), error));
    CHECK(ok(amochats_call_send_message(of(SCOPE), message, &call, &error), error));
    amochats_message_free(message);
    amochats_user_free(anna);
    return call;
}

static void the_outbox_keeps_lists_and_cancels(void) {
    amochats_error *error = NULL;
    amochats_value *item = NULL, *list = NULL;
    amochats_call *typing = NULL;
    seen_t seen;
    seen_begin(&seen);
    amochats_channel *channel = open_channel();
    amochats_call *first = a_call("m-1"), *second = a_call("m-2");
    CHECK(ok(amochats_outbox_enqueue(channel, first, none, 0, LONG, NULL, &error), error));
    CHECK(ok(amochats_outbox_enqueue(channel, second, none, 60000, LONG, &item, &error), error));
    CHECK(is(amochats_value_text(amochats_value_get(item, of("state"))), "queued"));
    CHECK(is(amochats_value_text(amochats_value_get(item, of("message_id"))), "m-2"));
    amochats_slice id = amochats_value_text(amochats_value_get(item, of("item_id")));
    amochats_value *cancelled = NULL;
    CHECK(ok(amochats_outbox_cancel(channel, id, LONG, &cancelled, &error), error));
    CHECK(is(amochats_value_text(amochats_value_get(cancelled, of("state"))), "cancelled"));
    amochats_value_free(cancelled);
    CHECK(ok(amochats_outbox_get(channel, id, LONG, &cancelled, &error), error));
    CHECK(is(amochats_value_text(amochats_value_get(cancelled, of("state"))), "cancelled"));
    amochats_value_free(cancelled);
    amochats_value_free(item);
    CHECK(ok(amochats_outbox_list(channel, of("cancelled,sent"), of(SCOPE), none, 10, LONG, &list, &error), error));
    CHECK(amochats_value_count(list) == 1);
    amochats_value_free(list);
    CHECK(failed(amochats_outbox_list(channel, of("lost"), none, none, 10, LONG, &list, &error), &error,
                 AMOCHATS_RESULT_INVALID_ARGUMENT));
    CHECK(failed(amochats_outbox_get(channel, of("none"), LONG, &item, &error), &error, AMOCHATS_RESULT_NOT_FOUND));
    CHECK(failed(amochats_outbox_enqueue(channel, first, of("key"), 0, LONG, NULL, &error), &error,
                 AMOCHATS_RESULT_INVALID_ARGUMENT));
    CHECK(ok(amochats_call_send_typing(of(SCOPE), of("c-1"), of("u-1"), 0, &typing, &error), error));
    CHECK(failed(amochats_outbox_enqueue(channel, typing, none, 0, LONG, NULL, &error), &error,
                 AMOCHATS_RESULT_INVALID_ARGUMENT));
    CHECK(ok(amochats_outbox_enqueue_async(channel, first, none, 0, seen_call, &seen, NULL, &error), error));
    amochats_call_free(first); /* copied */
    wait_for(&seen, &seen.calls, 1);
    CHECK(seen.result == AMOCHATS_RESULT_OK);

    /* Nobody is there, so calls at once fail; the library tells it, waiting or not. */
    amochats_client *client = NULL;
    CHECK(ok(amochats_channel_client(channel, none, &client, &error), error));
    amochats_result result = amochats_client_call(client, second, LONG, NULL, &error);
    CHECK(result == AMOCHATS_RESULT_TRANSPORT);
    amochats_error_free(error);
    error = NULL;
    CHECK(ok(amochats_client_call_async(client, second, seen_call, &seen, NULL, &error), error));
    wait_for(&seen, &seen.calls, 2);
    CHECK(seen.result == AMOCHATS_RESULT_TRANSPORT && seen.on_main == 0);
    amochats_call_free(second);
    amochats_call_free(typing);
    amochats_client_free(client);
    close_channel(channel);
}

static void two_channels_live_in_one_process(void) {
    log_t logs[2] = {{PTHREAD_MUTEX_INITIALIZER, 0, 0, 0}, {PTHREAD_MUTEX_INITIALIZER, 0, 0, 0}};
    amochats_channel *channels[2] = {NULL, NULL};
    amochats_error *error = NULL;
    for (int number = 0; number < 2; number++) {
        amochats_config *config = config_for(number == 0 ? "first.db" : "second.db");
        amochats_config_set_log(config, AMOCHATS_LEVEL_INFO, keep_line, &logs[number]);
        REQUIRE(ok(amochats_channel_open(config, LONG, &channels[number], &error), error));
        amochats_config_free(config);
    }
    int before = logs[1].lines;
    ingest(channels[0], 1, "c");
    CHECK(logs[0].lines > 0 && logs[1].lines == before); /* each has its own */
    CHECK(ok(amochats_channel_close(channels[0], LONG, &error), error));
    CHECK(ingest(channels[1], 1, "c") == AMOCHATS_INGESTED_KEPT);
    CHECK(logs[1].lines > before);
    amochats_channel_free(channels[0]);
    close_channel(channels[1]);
}

int main(void) {
    RUN_IN_FOLDER(kept_handed_out_and_settled);
    RUN_IN_FOLDER(what_is_not_genuine_is_refused);
    RUN_IN_FOLDER(refused_given_up_and_requeued);
    RUN_IN_FOLDER(the_descriptor_says_what_next_would_do);
    RUN_IN_FOLDER(a_handler_gets_each_in_order_and_its_end_once);
    RUN_IN_FOLDER(dispatch_runs_all_on_the_callers_thread);
    RUN_IN_FOLDER(calls_back_exactly_once_also_when_cancelled_and_closed);
    RUN_IN_FOLDER(a_callback_may_not_wait);
    RUN_IN_FOLDER(misuse_is_an_error_with_a_sentence);
    if (getenv("CHECK_WITHOUT_FORK") == NULL) RUN_IN_FOLDER(a_child_of_fork_is_refused);
    RUN_IN_FOLDER(no_thread_remains_and_signals_are_as_they_were);
    RUN_IN_FOLDER(logs_metrics_health_and_accounts);
    RUN_IN_FOLDER(subscriptions_have_filters);
    RUN_IN_FOLDER(the_bytes_that_are_outstanding_are_bounded);
    RUN_IN_FOLDER(the_outbox_keeps_lists_and_cancels);
    RUN_IN_FOLDER(two_channels_live_in_one_process);
    return check_result();
}
