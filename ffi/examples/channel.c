/*
 * A messenger with the whole channel in it: the client Anna writes, and what the manager answers in the
 * CRM is shown here and reported as delivered. Stop it, or kill it: what was answered meanwhile is shown
 * after the next start.
 *
 * usage: channel CONFIG ACCOUNT_ID
 *
 * CONFIG is what `amochats config example` prints, with a [[channel]]; ACCOUNT_ID the account's amojo id.
 * Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not be done, 2 wrong usage.
 */
#include <amochats.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 10000

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static int fail(const char *what, amochats_error *error) {
    amochats_slice said = amochats_error_message(error);
    fprintf(stderr, "%s: %.*s\n", what, (int)said.len, said.data);
    amochats_error_free(error);
    return 1;
}

static void log_line(void *unused, amochats_level level, amochats_slice target, amochats_slice line) {
    (void)unused;
    (void)level;
    fprintf(stderr, "%.*s: %.*s\n", (int)target.len, target.data, (int)line.len, line.data);
}

/* Connects the account and writes as Anna. Both may be repeated: the message has its id. */
static int greet(amochats_channel *channel, amochats_slice account_id) {
    amochats_slice nothing = {NULL, 0}, scope;
    amochats_error *error = NULL;
    amochats_client *client = NULL;
    amochats_call *connect = NULL, *send = NULL;
    amochats_value *connected = NULL;
    amochats_user *anna = amochats_user_new(amochats_slice_of("anna"), amochats_slice_of("Anna"));
    amochats_message *message =
        amochats_message_new(amochats_slice_of("chat-with-anna"), amochats_slice_of("greeting"));
    int failed = 0;
    if (amochats_channel_client(channel, nothing, &client, &error) ||
        amochats_call_connect(account_id, amochats_slice_of("Example"), nothing, &connect, &error) ||
        amochats_client_call(client, connect, PATIENCE_MS, &connected, &error)) {
        failed = fail("the account cannot be connected", error);
    } else {
        scope = amochats_value_text(amochats_value_get(connected, amochats_slice_of("scope_id")));
        /* Kept by the outbox, so it is sent also where the service is out of order now. */
        if (amochats_message_set_sender(message, anna, &error) ||
            amochats_message_set_text(message, amochats_slice_of("Is my order ready?"), &error) ||
            amochats_call_send_message(scope, message, &send, &error) ||
            amochats_outbox_enqueue(channel, send, nothing, 0, PATIENCE_MS, NULL, &error)) {
            failed = fail("the message cannot be sent", error);
        }
    }
    amochats_call_free(send);
    amochats_call_free(connect);
    amochats_value_free(connected);
    amochats_message_free(message);
    amochats_user_free(anna);
    amochats_client_free(client);
    return failed;
}

/* Shows a delivery; only then it is acknowledged, so none is lost. */
static int show(amochats_delivery *delivery) {
    amochats_slice nothing = {NULL, 0};
    amochats_error *error = NULL;
    const amochats_webhook *webhook = amochats_event_webhook(amochats_delivery_event(delivery));
    amochats_slice text = amochats_webhook_text(webhook);
    int is_message = amochats_webhook_kind(webhook) == AMOCHATS_KIND_MESSAGE;
    amochats_result result;
    if (is_message) printf("manager: %.*s\n", (int)text.len, text.data);
    fflush(stdout);
    /* 1 tells the CRM that the message was delivered; 0 tells it nothing. */
    result = amochats_delivery_ack(delivery, is_message, 0, nothing, PATIENCE_MS, &error);
    if (result == AMOCHATS_RESULT_LEASE_LOST) { /* it took too long: it comes again */
        amochats_error_free(error);
        return 0;
    }
    return result ? fail("it cannot be acknowledged", error) : 0;
}

int main(int argc, char **argv) {
    amochats_error *error = NULL;
    amochats_config *config;
    amochats_channel *channel = NULL;
    amochats_consumer *consumer = NULL;
    amochats_consumer_options *options;
    amochats_delivery *delivery;
    amochats_slice address;
    int failed = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: %s CONFIG ACCOUNT_ID\n", argv[0]);
        return 2;
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);

    config = amochats_config_new();
    amochats_config_set_log(config, AMOCHATS_LEVEL_WARN, log_line, NULL);
    if (amochats_config_load(config, amochats_slice_of(argv[1]), &error) ||
        amochats_channel_open(config, PATIENCE_MS, &channel, &error)) {
        amochats_config_free(config);
        return fail("the channel cannot be opened", error);
    }
    amochats_config_free(config);
    address = amochats_channel_listener_address(channel);
    printf("listening on %.*s\n", (int)address.len, address.data);
    fflush(stdout);

    options = amochats_consumer_options_new();
    amochats_consumer_options_set_create(options, true);
    if (greet(channel, amochats_slice_of(argv[2]))) {
        failed = 1;
    } else if (amochats_consumer_open(channel, amochats_slice_of("messenger"), options, PATIENCE_MS, &consumer,
                                      &error)) {
        failed = fail("the consumer cannot be opened", error);
    }
    amochats_consumer_options_free(options);
    while (!stopped && !failed) {
        if (amochats_consumer_next(consumer, 200, &delivery, &error)) {
            failed = fail("nothing can be received", error);
        } else if (delivery != NULL) {
            failed = show(delivery);
            amochats_delivery_free(delivery);
        }
    }
    amochats_consumer_free(consumer);
    if (amochats_channel_close(channel, PATIENCE_MS, &error)) failed = fail("not all ended well", error);
    amochats_channel_free(channel);
    return failed;
}
