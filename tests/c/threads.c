/* Callbacks and descriptors as programs of several threads use them, for Valgrind's drd: whatever the threads of
 * the library and of the program share here is the program's, and one mutex guards it. Compiled with -DRACE the
 * callbacks leave the mutex alone, which drd has to report. */
#define _GNU_SOURCE
#include "check.h"

#include <amochats.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SECRET "da39a3ee5e6b4b0d3255bfef95601890afd80709"
#define CHANNEL "a4490ccc-5d7f-11e7-907b-a6006ad3dba0"
#define SCOPE CHANNEL "_13fa84f7-6b61-4086-98ed-0a9de19ee15c"
#define LONG 600000 /* under Valgrind on any machine */

enum { THREADS = 2, EACH = 4, ALL = THREADS * EACH };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int ingested, handled, ended, logged;
static int last_of[THREADS], inside_handler;
static amochats_channel *channel;

static amochats_slice of(const char *text) { return amochats_slice_of(text); }

#ifdef RACE
static void lock_in_callback(void) {}
static void unlock_in_callback(void) {}
#else
static void lock_in_callback(void) { pthread_mutex_lock(&mutex); }
static void unlock_in_callback(void) {
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}
#endif

/* Waits for a count of callbacks. Without the mutex nobody tells. */
static void wait_for(const int *count, int wanted) {
    pthread_mutex_lock(&mutex);
    while (*count < wanted) {
#ifdef RACE
        pthread_mutex_unlock(&mutex);
        poll(NULL, 0, 1);
        pthread_mutex_lock(&mutex);
#else
        pthread_cond_wait(&changed, &mutex);
#endif
    }
    pthread_mutex_unlock(&mutex);
}

static void on_ingested(void *user_data, amochats_result result, const amochats_value *value,
                        const amochats_error *error) {
    (void)value, (void)error, (void)user_data;
    lock_in_callback();
    ingested += result == AMOCHATS_RESULT_OK;
    unlock_in_callback();
}

static void on_ended(void *user_data, amochats_result result, const amochats_value *value,
                     const amochats_error *error) {
    (void)value, (void)error, (void)user_data, (void)result;
    lock_in_callback();
    ended++;
    unlock_in_callback();
}

/* Takes its time between two locks, so that a second one at the same time would be seen. */
static uint32_t on_delivery(void *user_data, amochats_delivery *delivery) {
    (void)user_data;
    lock_in_callback();
    inside_handler++;
    unlock_in_callback();
    amochats_delivery_free(delivery);
    lock_in_callback();
    if (inside_handler != 1) check_fail("%d handlers at once", inside_handler);
    inside_handler--;
    handled++;
    unlock_in_callback();
    return AMOCHATS_VERDICT_ACK;
}

static void on_log(void *user_data, amochats_level level, amochats_slice target, amochats_slice message) {
    (void)user_data, (void)level, (void)target, (void)message;
    lock_in_callback();
    logged++;
    unlock_in_callback();
}

static amochats_slice hook(char *body, size_t size, int number, char (*signature)[AMOCHATS_SIGNATURE_SIZE]) {
    snprintf(body, size,
             "{\"account_id\":\"13fa84f7-6b61-4086-98ed-0a9de19ee15c\",\"time\":1704067201,\"message\":{"
             "\"conversation\":{\"id\":\"c-%d\"},\"message\":{\"id\":\"m-%d\",\"type\":\"text\",\"text\":\"x\"}}}",
             number, number);
    if (amochats_sign_body(of(SECRET), of(body), signature, NULL)) abort();
    return of(body);
}

/* Several threads on one handle. */
static void *ingest_some(void *first) {
    char body[512], signature[AMOCHATS_SIGNATURE_SIZE];
    int at;
    for (at = 0; at < EACH; at++) {
        amochats_slice raw = hook(body, sizeof body, *(int *)first + at, &signature);
        if (amochats_channel_ingest_async(channel, of(SCOPE), of(signature), raw, on_ingested, NULL, NULL, NULL)) abort();
    }
    return NULL;
}

static void ingest_all(int first) {
    pthread_t threads[THREADS];
    int firsts[THREADS], at;
    for (at = 0; at < THREADS; at++) {
        firsts[at] = first + at * EACH;
        if (pthread_create(&threads[at], NULL, ingest_some, &firsts[at])) abort();
    }
    for (at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
}

static amochats_consumer *consumer_of(const char *subscription) {
    amochats_consumer *consumer = NULL;
    amochats_consumer_options *options = amochats_consumer_options_new();
    amochats_consumer_options_set_create(options, true);
    REQUIRE(amochats_consumer_open(channel, of(subscription), options, LONG, &consumer, NULL) == AMOCHATS_RESULT_OK);
    amochats_consumer_options_free(options);
    return consumer;
}

static void callbacks_meet_the_programs_own_threads(void) {
    amochats_consumer *consumer = consumer_of("handler");
    REQUIRE(amochats_consumer_set_handler(consumer, on_delivery, on_ended, NULL, NULL) == AMOCHATS_RESULT_OK);
    ingest_all(0);
    wait_for(&ingested, ALL);
    wait_for(&handled, ALL);
    CHECK(amochats_consumer_close(consumer, LONG, NULL) == AMOCHATS_RESULT_OK);
    wait_for(&ended, 1);
    pthread_mutex_lock(&mutex);
    CHECK(ingested == ALL && handled == ALL && ended == 1);
    pthread_mutex_unlock(&mutex);
    amochats_consumer_free(consumer);
}

/* A loop of its own on a descriptor; what it took it leaves under the mutex. */
static void *poll_some(void *given) {
    amochats_consumer *consumer = given;
    struct pollfd fd = {amochats_consumer_fd(consumer), POLLIN, 0};
    int taken = 0;
    while (taken < ALL) {
        amochats_delivery *delivery = NULL;
        if (poll(&fd, 1, LONG) != 1 || amochats_consumer_next(consumer, 0, &delivery, NULL)) abort();
        if (delivery == NULL) continue;
        if (amochats_delivery_ack(delivery, false, 0, of(""), LONG, NULL)) abort();
        amochats_delivery_free(delivery);
        taken++;
        pthread_mutex_lock(&mutex);
        last_of[0] = taken;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void a_descriptor_wakes_another_thread(void) {
    amochats_consumer *consumer = consumer_of("descriptor");
    pthread_t poller;
    REQUIRE(pthread_create(&poller, NULL, poll_some, consumer) == 0);
    ingest_all(ALL);
    wait_for(&ingested, 2 * ALL);
    wait_for(&last_of[0], ALL);
    pthread_join(poller, NULL);
    CHECK(amochats_consumer_close(consumer, LONG, NULL) == AMOCHATS_RESULT_OK);
    amochats_consumer_free(consumer);
}

int main(void) {
    char folder[] = "/tmp/amochats-XXXXXX", path[64];
    static const char *const files[] = {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"};
    amochats_config *config = amochats_config_new();
    size_t at;
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/store.db", folder);
    amochats_config_set(config, of("store.path"), of(path), NULL);
    amochats_config_set(config, of("listener.address"), of("127.0.0.1:0"), NULL);
    amochats_config_set(config, of("admin.address"), of("127.0.0.1:0"), NULL);
    amochats_config_add_channel(config, of(CHANNEL), of(SECRET), of("ru"), NULL);
    amochats_config_set_log(config, AMOCHATS_LEVEL_DEBUG, on_log, NULL);
    REQUIRE(amochats_channel_open(config, LONG, &channel, NULL) == AMOCHATS_RESULT_OK);
    amochats_config_free(config);
    RUN(callbacks_meet_the_programs_own_threads);
    RUN(a_descriptor_wakes_another_thread);
    if (amochats_channel_close(channel, LONG, NULL)) return 1;
    amochats_channel_free(channel);
    for (at = 0; at < sizeof files / sizeof *files; at++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[at]);
        unlink(path);
    }
    rmdir(folder);
    return check_result();
}
