/*
 * What the examples of event loops have in common: a channel, and a consumer that does nothing but in
 * amochats_consumer_dispatch(), which each of them calls when the consumer's descriptor is readable.
 */
#ifndef LOOP_H
#define LOOP_H

#include <amochats.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 10000

static amochats_channel *channel;
static amochats_consumer *consumer;

/* Ends the program where a call failed. */
static void require(amochats_result result, amochats_error *error) {
    if (result != AMOCHATS_RESULT_OK) {
        amochats_slice said = amochats_error_message(error);
        fprintf(stderr, "%s: %.*s\n", amochats_result_name(result), (int)said.len, said.data);
        exit(1);
    }
}

/* Runs on the loop's own thread. The library acknowledges what was shown. */
static uint32_t show(void *unused, amochats_delivery *delivery) {
    amochats_slice text = amochats_webhook_text(amochats_event_webhook(amochats_delivery_event(delivery)));
    (void)unused;
    printf("manager: %.*s\n", (int)text.len, text.data);
    fflush(stdout);
    return AMOCHATS_VERDICT_ACK;
}

/* Opens the channel; gives the descriptor to wait for. */
static int open_channel(const char *path) {
    amochats_error *error = NULL;
    amochats_slice address;
    amochats_config *config = amochats_config_new();
    amochats_consumer_options *options = amochats_consumer_options_new();
    require(amochats_config_load(config, amochats_slice_of(path), &error), error);
    require(amochats_channel_open(config, PATIENCE_MS, &channel, &error), error);
    amochats_consumer_options_set_create(options, true);
    amochats_consumer_options_set_dispatch(options, true);
    require(amochats_consumer_open(channel, amochats_slice_of("messenger"), options, PATIENCE_MS, &consumer, &error),
            error);
    require(amochats_consumer_set_handler(consumer, show, NULL, NULL, &error), error);
    amochats_consumer_options_free(options);
    amochats_config_free(config);
    address = amochats_channel_listener_address(channel);
    printf("listening on %.*s\n", (int)address.len, address.data);
    fflush(stdout);
    return amochats_consumer_fd(consumer);
}

/* Some of what waits, so that the rest of the loop has its turn; the descriptor stays readable. */
static void dispatch(void) {
    amochats_error *error = NULL;
    require(amochats_consumer_dispatch(consumer, 32, NULL, &error), error);
}

static int close_channel(void) {
    amochats_error *error = NULL;
    amochats_consumer_free(consumer);
    require(amochats_channel_close(channel, PATIENCE_MS, &error), error);
    amochats_channel_free(channel);
    return 0;
}

#endif
