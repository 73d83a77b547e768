/* What a call through C costs, and whether the channel keeps its memory.
 *
 * usage: bench calls COUNT SIGNATURE SECRET < BODY    nanoseconds per call: an empty one; verify and parse
 *        bench soak CONFIG SCOPE_ID SECRET COUNT
 *
 * The soak takes in COUNT webhooks, each another message of one of a thousand conversations, receives and settles
 * each, as many at a time as share a commit, and prints the resident memory after a tenth, a half and all. */
#include <amochats.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char body[65536];

static void must(amochats_result result, amochats_error *error) {
    if (result == AMOCHATS_RESULT_OK) return;
    fprintf(stderr, "%s: %.*s\n", amochats_result_name(result), (int)amochats_error_message(error).len,
            amochats_error_message(error).data);
    exit(1);
}

static double nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void calls(long count, const char *signature, const char *secret) {
    amochats_error *error = NULL;
    amochats_verifier *verifier = amochats_verifier_new();
    amochats_slice hook = amochats_slice_of(body), signed_with = amochats_slice_of(signature);
    double started, empty;
    long at;
    must(amochats_verifier_add_secret(verifier, amochats_slice_of(secret), &error), error);
    started = nanoseconds();
    for (at = 0; at < count; at++) amochats_error_free(NULL);
    empty = nanoseconds() - started;
    started = nanoseconds();
    for (at = 0; at < count; at++) {
        amochats_webhook *webhook = NULL;
        must(amochats_verifier_verify(verifier, hook, signed_with, &error), error);
        must(amochats_webhook_parse(hook, &webhook, &error), error);
        amochats_webhook_free(webhook);
    }
    printf("%.1f %.1f\n", empty / (double)count, (nanoseconds() - started) / (double)count);
    amochats_verifier_free(verifier);
}

static long resident_kib(void) {
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    }
    if (status != NULL) fclose(status);
    return kib;
}

/* Each of another conversation, so that none waits for the one before. */
enum { BATCH = 250 };

/* One up for each call that has ended. */
static sem_t ended;

static void has_ended(void *name, amochats_result result, const amochats_value *value, const amochats_error *error) {
    if (result != AMOCHATS_RESULT_OK) {
        amochats_slice why = amochats_error_message(error);
        fprintf(stderr, "%s: %s: %.*s\n", (const char *)name, amochats_result_name(result), (int)why.len, why.data);
        exit(1);
    }
    (void)value;
    sem_post(&ended);
}

static void wait_for_all(void) {
    int at;
    for (at = 0; at < BATCH; at++)
        while (sem_wait(&ended) != 0) continue;
}

static void soak(const char *path, const char *scope, const char *secret, long count) {
    static char ingest[] = "ingest", ack[] = "ack";
    amochats_error *error = NULL;
    amochats_config *config = amochats_config_new();
    amochats_channel *channel = NULL;
    amochats_consumer *consumer = NULL;
    amochats_consumer_options *options = amochats_consumer_options_new();
    amochats_slice nothing = {NULL, 0};
    char signature[AMOCHATS_SIGNATURE_SIZE];
    double started = nanoseconds();
    long at = 0, first = 0, tenth = count / 10 / BATCH * BATCH, half = count / 2 / BATCH * BATCH;
    int of_batch;
    count = count / BATCH * BATCH;
    if (sem_init(&ended, 0, 0) != 0) exit(1);
    must(amochats_config_load(config, amochats_slice_of(path), &error), error);
    must(amochats_channel_open(config, 10000, &channel, &error), error);
    amochats_consumer_options_set_create(options, true);
    amochats_consumer_options_set_max_outstanding(options, BATCH);
    must(amochats_consumer_open(channel, amochats_slice_of("soak"), options, 10000, &consumer, &error), error);
    while (at < count) {
        for (of_batch = 0; of_batch < BATCH; of_batch++) {
            at++;
            snprintf(body, sizeof body,
                     "{\"account_id\":\"13fa84f7-6b61-4086-98ed-0a9de19ee15c\",\"time\":1704067201,\"message\":{"
                     "\"receiver\":{\"id\":\"r\"},\"sender\":{\"id\":\"s\"},\"conversation\":{\"id\":\"c-%ld\"},"
                     "\"timestamp\":1704067200,\"msec_timestamp\":1704067200980,"
                     "\"message\":{\"id\":\"m-%ld\",\"type\":\"text\",\"text\":\"Your order is ready.\"}}}",
                     at % 1000, at);
            must(amochats_sign_body(amochats_slice_of(secret), amochats_slice_of(body), &signature, &error), error);
            must(amochats_channel_ingest_async(channel, amochats_slice_of(scope), amochats_slice_of(signature),
                                               amochats_slice_of(body), has_ended, ingest, NULL, &error), error);
        }
        wait_for_all();
        for (of_batch = 0; of_batch < BATCH; of_batch++) {
            amochats_delivery *delivery = NULL;
            must(amochats_consumer_next(consumer, 60000, &delivery, &error), error);
            if (delivery == NULL) {
                fprintf(stderr, "one of the webhooks up to %ld was not handed out in time\n", at);
                exit(1);
            }
            must(amochats_delivery_ack_async(delivery, false, 0, nothing, has_ended, ack, NULL, &error), error);
            amochats_delivery_free(delivery);
        }
        wait_for_all();
        /* What comes up with use has come up after a tenth. */
        if (at == tenth) first = resident_kib();
        if (at == tenth || at == half || at == count) printf("%8ld webhooks: %ld KiB\n", at, resident_kib());
    }
    printf("growth after the first tenth: %+ld KiB; %.0f webhooks a second\n", resident_kib() - first,
           (double)count / ((nanoseconds() - started) / 1e9));
    amochats_consumer_free(consumer);
    must(amochats_channel_close(channel, 10000, &error), error);
    amochats_channel_free(channel);
    amochats_consumer_options_free(options);
    amochats_config_free(config);
    sem_destroy(&ended);
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "calls") == 0) {
        body[fread(body, 1, sizeof body - 1, stdin)] = '\0';
        calls(atol(argv[2]), argv[3], argv[4]);
    } else if (argc == 6 && strcmp(argv[1], "soak") == 0 && atol(argv[5]) >= 10 * BATCH) {
        soak(argv[2], argv[3], argv[4], atol(argv[5]));
    } else {
        fprintf(stderr, "usage: see the top of bench.c\n");
        return 2;
    }
    return 0;
}
