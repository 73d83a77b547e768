/* A fuzz target for libFuzzer: the input is a program of calls with hostile arguments. Objects may be NULL, of
 * another kind where the library says that it notices, and are used again in any state; text may be none, of an
 * impossible length, or any bytes. Whatever is asked, a call returns: AMOCHATS_RESULT_OK and an output, or a code with
 * an error that says the same. One channel is open all the time, its files in TMPDIR; nothing waits for it. */
#define _GNU_SOURCE
#include <amochats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t *input;
static size_t left;

static uint8_t byte(void) { return left == 0 ? 0 : (left--, *input++); }

static uint64_t number(void) {
    static const uint64_t edges[] = {0, 1, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, UINT32_MAX, 1u << 31, 255};
    return edges[byte() % 8];
}

/* A slice of the input, or one that cannot be read. */
static amochats_slice slice(void) {
    amochats_slice made = {NULL, 0};
    uint8_t kind = byte();
    if (kind == 0xff) made.len = byte();
    if (kind == 0xfe) made.len = SIZE_MAX, made.data = (const char *)input;
    if (kind < 0xfe) {
        made.len = kind == 0xfd ? left : kind;
        if (made.len > left) made.len = left;
        made.data = (const char *)input;
        input += made.len;
        left -= made.len;
    }
    return made;
}

/* All of it is read, for the sanitizer to see. */
static void read_slice(amochats_slice slice) {
    volatile char seen = 0;
    size_t at;
    for (at = 0; at < slice.len; at++) seen ^= slice.data[at];
    (void)seen;
    if (slice.data == NULL && slice.len != 0) abort();
}

static amochats_error *error;
static bool error_asked;
static amochats_error **error_or_null(void) {
    error_asked = byte() % 8 != 0;
    return error_asked ? &error : NULL;
}

/* Returns whether the call succeeded. */
static bool said(amochats_result result) {
    if (result == AMOCHATS_RESULT_PANIC) abort();
    if ((error != NULL) != (error_asked && result != AMOCHATS_RESULT_OK)) abort();
    if (error != NULL) {
        if (amochats_error_code(error) != result) abort();
        if (amochats_error_message(error).len == 0) abort();
        read_slice(amochats_error_message(error));
        read_slice(amochats_error_field(error));
        amochats_error_free(error);
        error = NULL;
    }
    return result == AMOCHATS_RESULT_OK;
}

static void read_buffer(amochats_buffer *buffer) {
    read_slice(amochats_buffer_slice(buffer));
    amochats_buffer_free(buffer);
}

/* Every value below, as far as the depth that the input asks for. */
static void read_value(const amochats_value *value, int depth) {
    size_t at, count = amochats_value_count(value);
    int64_t integer;
    double real;
    bool boolean;
    read_slice(amochats_value_text(value));
    amochats_value_integer(value, byte() % 2 ? &integer : NULL);
    amochats_value_real(value, byte() % 2 ? &real : NULL);
    amochats_value_boolean(value, byte() % 2 ? &boolean : NULL);
    read_slice(amochats_value_json(value));
    amochats_value_get(value, slice());
    amochats_value_at(value, (size_t)number());
    read_slice(amochats_value_name_at(value, (size_t)number()));
    for (at = 0; depth > 0 && at < count; at++) read_value(amochats_value_at(value, at), depth - 1);
}

static void read_webhook(const amochats_webhook *webhook) {
    const amochats_participant *sender = amochats_webhook_sender(webhook);
    int64_t bytes;
    read_slice(amochats_webhook_json(webhook));
    read_slice(amochats_webhook_kind_name(webhook));
    read_slice(amochats_webhook_conversation_id(webhook));
    read_slice(amochats_webhook_message_ref_id(webhook));
    read_slice(amochats_webhook_text(webhook));
    read_slice(amochats_webhook_media(webhook));
    read_slice(amochats_participant_name(sender));
    read_slice(amochats_participant_phone(sender));
    amochats_webhook_file_size(webhook, byte() % 2 ? &bytes : NULL);
    read_value(amochats_webhook_value(webhook), 3);
}

static amochats_channel *channel;
static amochats_consumer *consumer;
static char folder[4096];

static amochats_slice of(const char *text) { return amochats_slice_of(text); }

static void close_channel(void) {
    static const char *const files[] = {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"};
    char path[sizeof folder + 32];
    size_t at;
    amochats_consumer_free(consumer);
    if (amochats_channel_close(channel, 60000, NULL)) abort();
    amochats_channel_free(channel);
    for (at = 0; at < sizeof files / sizeof *files; at++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[at]);
        unlink(path);
    }
    rmdir(folder);
}

static void open_channel(void) {
    const char *temp = getenv("TMPDIR");
    char path[sizeof folder + 32];
    amochats_consumer_options *options = amochats_consumer_options_new();
    amochats_config *config = amochats_config_new();
    snprintf(folder, sizeof folder, "%.4000s/amochats-fuzz-XXXXXX", temp ? temp : "/tmp");
    if (mkdtemp(folder) == NULL) abort();
    snprintf(path, sizeof path, "%s/store.db", folder);
    error_asked = true;
    said(amochats_config_set(config, of("store.path"), of(path), &error));
    said(amochats_config_set(config, of("listener.address"), of("127.0.0.1:0"), &error));
    said(amochats_config_set(config, of("admin.address"), of("127.0.0.1:0"), &error));
    said(amochats_config_add_channel(config, of("a4490ccc-5d7f-11e7-907b-a6006ad3dba0"), of("secret"), of("ru"), &error));
    if (!said(amochats_channel_open(config, 60000, &channel, &error))) abort();
    amochats_config_free(config);
    amochats_consumer_options_set_temporary(options, true);
    if (!said(amochats_consumer_open(channel, of(""), options, 60000, &consumer, &error))) abort();
    amochats_consumer_options_free(options);
    atexit(close_channel);
}

/* The open channel, none, or another object. */
static amochats_channel *any_channel(uint8_t call) {
    switch (call >> 5) {
        case 0: return NULL;
        case 1: return (amochats_channel *)consumer;
        default: return channel;
    }
}

static amochats_consumer *any_consumer(uint8_t call) {
    switch (call >> 5) {
        case 0: return NULL;
        case 1: return (amochats_consumer *)channel;
        default: return consumer;
    }
}

static amochats_config *config;
static amochats_filter *filter;
static amochats_summary_query *query;
static amochats_call *kept;

static void free_all(void) {
    amochats_config_free(config), config = NULL;
    amochats_filter_free(filter), filter = NULL;
    amochats_summary_query_free(query), query = NULL;
    amochats_call_free(kept), kept = NULL;
}

static void read_tree(amochats_value *value) {
    read_value(value, 3);
    amochats_value_free(value);
}

static void ended(void *user_data, amochats_result result, const amochats_value *value, const amochats_error *why) {
    if (user_data != NULL || result == AMOCHATS_RESULT_PANIC || (why != NULL) != (result != AMOCHATS_RESULT_OK)) abort();
    read_slice(amochats_error_message(why));
    read_slice(amochats_value_json(value));
}

/* Configurations, filters, and calls of the channel that do not wait. */
static void call_channel(uint8_t call, amochats_slice a, amochats_slice b, amochats_error **e) {
    const amochats_channel *on = any_channel(call);
    amochats_value *value = NULL;
    amochats_event *event = NULL;
    amochats_buffer *buffer = NULL;
    amochats_delivery *delivery = NULL;
    amochats_token *token = NULL;
    amochats_ingested ingested;
    uint64_t count;
    uint32_t ran;
    int64_t places[2] = {1, INT64_MIN};
    bool created;
    bool ask = byte() % 4 != 0;
    switch (byte() % 32) {
        case 0: amochats_config_free(config), config = ask ? amochats_config_new() : NULL; break;
        case 1: said(amochats_config_set_toml(config, a, e)); break;
        case 2: said(amochats_config_set(config, a, b, e)); break;
        case 3: said(amochats_config_add_channel(config, a, b, slice(), e)); break;
        case 4: said(amochats_config_set_threads(config, (uint32_t)number(), e)); break;
        case 5: amochats_filter_free(filter), filter = ask ? amochats_filter_new() : NULL; break;
        case 6: said(amochats_filter_add_kind(filter, a, e)); break;
        case 7: said(amochats_filter_add_scope(filter, a, e)); break;
        case 8: amochats_filter_start_since_msec(filter, (int64_t)number()); break;
        case 9: said(amochats_filter_start_after(filter, a, e)); break;
        case 10: said(amochats_channel_ingest(on, a, b, slice(), 0, ask ? &ingested : NULL, e)); break;
        case 11:
            if (said(amochats_channel_ingest_async(on, a, b, slice(), ended, NULL, ask ? &token : NULL, e))) {
                amochats_token_cancel(token);
                amochats_token_free(token);
            }
            break;
        case 12:
            if (said(amochats_channel_metrics(on, 0, ask ? &buffer : NULL, e))) read_buffer(buffer);
            break;
        case 13: said(amochats_channel_health(on, 0, e)); break;
        case 14:
            if (said(amochats_channel_accounts(on, ask ? &value : NULL, e))) read_tree(value);
            break;
        case 15: said(amochats_subscription_create(on, a, filter, 0, ask ? &created : NULL, e)); break;
        case 16: said(amochats_subscription_delete(on, a, 0, e)); break;
        case 17:
            if (said(amochats_subscription_list(on, 0, ask ? &value : NULL, e))) read_tree(value);
            break;
        case 18: said(amochats_inbox_replay(on, a, filter, 0, ask ? &count : NULL, e)); break;
        case 19:
            if (said(amochats_dead_letters_list(on, a, (int64_t)number(), (uint32_t)number(), 0, ask ? &value : NULL, e)))
                read_tree(value);
            break;
        case 20: said(amochats_dead_letters_requeue(on, a, ask ? places : NULL, ask ? 2 : (size_t)number(), 0, &count, e)); break;
        case 21:
            if (said(amochats_inbox_get_event(on, a, 0, ask ? &event : NULL, e))) amochats_event_free(event);
            break;
        case 22:
            if (said(amochats_inbox_list_events(on, a, b, (uint32_t)number(), 0, ask ? &value : NULL, e))) read_tree(value);
            break;
        case 23:
            amochats_call_free(kept);
            kept = NULL;
            said(amochats_call_from_json(a, b, slice(), slice(), ask ? &kept : NULL, e));
            break;
        case 24:
            if (said(amochats_outbox_enqueue(on, kept, a, number(), 0, ask ? &value : NULL, e)) && ask) read_tree(value);
            break;
        case 25:
            if (said(amochats_outbox_list(on, a, b, slice(), (uint32_t)number(), 0, ask ? &value : NULL, e))) read_tree(value);
            break;
        case 26:
            if (said(amochats_consumer_next(any_consumer(call), 0, ask ? &delivery : NULL, e))) {
                said(amochats_delivery_nack(delivery, (int64_t)number(), 0, e));
                amochats_delivery_free(delivery);
            }
            break;
        case 27: amochats_summary_query_free(query), query = ask ? amochats_summary_query_new() : NULL; break;
        case 28: said(amochats_summary_query_set_filter(query, filter, e)); break;
        case 29:
            said(amochats_summary_query_set_after(query, a, e));
            said(amochats_summary_query_set_message_ref_id(query, a, e));
            amochats_summary_query_set_since_msec(query, (int64_t)number());
            amochats_summary_query_set_until_msec(query, (int64_t)number());
            break;
        case 30:
            amochats_summary_query_set_newest_first(query, ask);
            amochats_summary_query_set_limit(query, (uint32_t)number());
            if (said(amochats_inbox_list_summaries(on, query, 0, ask ? &value : NULL, e))) read_tree(value);
            break;
        default:
            said(amochats_consumer_dispatch(any_consumer(call), (uint32_t)number(), ask ? &ran : NULL, e));
            amochats_consumer_fd(any_consumer(call));
            break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    amochats_verifier *verifier = NULL;
    amochats_webhook *webhook = NULL;
    amochats_message *message = NULL;
    amochats_user *user = NULL;
    amochats_buffer *buffer;
    amochats_signed_headers *headers;
    amochats_slice a, b, verdict;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    if (channel == NULL) open_channel();
    input = data;
    left = size;
    while (left > 0) {
        uint8_t call = byte();
        amochats_error **e = error_or_null();
        a = slice();
        b = slice();
        switch (call % 32) {
            case 0: amochats_verifier_free(verifier), verifier = call < 128 ? amochats_verifier_new() : NULL; break;
            case 1: said(amochats_verifier_add_secret(verifier, a, e)); break;
            case 2: said(amochats_verifier_verify(verifier, a, b, e)); break;
            case 3:
                if (said(amochats_verifier_diagnose(verifier, a, b, call < 128 ? &verdict : NULL, e))) read_slice(verdict);
                break;
            case 4:
                amochats_webhook_free(webhook);
                webhook = NULL;
                said(amochats_webhook_parse(a, call < 200 ? &webhook : NULL, e));
                break;
            case 5: read_webhook(webhook); break;
            case 6:
                if (said(amochats_message_encode(a, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            case 7:
                if (said(amochats_request_encode(a, b, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            case 8:
                if (said(amochats_history_parse(a, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            case 9:
                if (said(amochats_sign_body(a, b, call < 200 ? &signature : NULL, e)) && strlen(signature) != 40) abort();
                break;
            case 10:
                if (said(amochats_sign_request(a, b, slice(), slice(), slice(), b, call < 200 ? &headers : NULL, e))) {
                    read_slice(amochats_signed_headers_x_signature(headers));
                    read_slice(amochats_signed_headers_content_md5(headers));
                    amochats_signed_headers_free(headers);
                }
                break;
            case 11: amochats_user_free(user), user = call < 128 ? amochats_user_new(a, b) : NULL; break;
            case 12: said(amochats_user_set_phone(user, a, e)); break;
            case 13: amochats_message_free(message), message = call < 200 ? amochats_message_new(a, b) : NULL; break;
            case 14: said(amochats_message_set_sender(message, user, e)); break;
            case 15: said(amochats_message_set_text(message, a, e)); break;
            case 16: said(amochats_message_set_media(message, (uint32_t)number(), a, e)); break;
            case 17: said(amochats_message_set_file_size(message, number(), e)); break;
            case 18: said(amochats_message_set_location(message, (double)number() / (double)number(), 0.0, e)); break;
            case 19: said(amochats_message_set_contact(message, a, b, e)); break;
            case 20: said(amochats_message_set_reply_to(message, a, b, e)); break;
            case 21: amochats_message_set_sent_at_msec(message, (int64_t)number()); break;
            case 22:
                if (said(amochats_message_json(message, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            case 23: read_slice(amochats_error_message(NULL)); read_webhook(NULL); break;
            default: call_channel(call, a, b, e); break;
        }
    }
    amochats_verifier_free(verifier);
    amochats_webhook_free(webhook);
    amochats_message_free(message);
    amochats_user_free(user);
    free_all();
    return 0;
}
