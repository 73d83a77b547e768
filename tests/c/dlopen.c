/* Loads the library at run time, uses the channel, unloads the library and goes on: its threads are gone,
 * and its code stays, since thread-locals of other threads may still end in it. */
#define _GNU_SOURCE
#include <amochats.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *library;

static void *symbol(const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) exit(3);
    return found;
}

#define LOAD(name) __typeof__(&name) p_##name = (__typeof__(&name))symbol(#name)

static int thread_count(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    if (tasks == NULL) exit(4);
    while ((task = readdir(tasks)) != NULL) count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static amochats_slice of(const char *text) {
    amochats_slice slice = {text, strlen(text)};
    return slice;
}

static int use(const char *path) {
    amochats_error *error = NULL;
    amochats_channel *channel = NULL;
    amochats_consumer *consumer = NULL;
    amochats_delivery *delivery = NULL;
    amochats_config *config;
    amochats_consumer_options *options;
    int before = thread_count(), after;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return 2;
    __extension__ LOAD(amochats_config_new);
    __extension__ LOAD(amochats_config_set);
    __extension__ LOAD(amochats_config_add_channel);
    __extension__ LOAD(amochats_config_free);
    __extension__ LOAD(amochats_channel_open);
    __extension__ LOAD(amochats_channel_close);
    __extension__ LOAD(amochats_channel_free);
    __extension__ LOAD(amochats_consumer_options_new);
    __extension__ LOAD(amochats_consumer_options_set_temporary);
    __extension__ LOAD(amochats_consumer_options_free);
    __extension__ LOAD(amochats_consumer_open);
    __extension__ LOAD(amochats_consumer_next);
    __extension__ LOAD(amochats_consumer_free);
    config = p_amochats_config_new();
    p_amochats_config_set(config, of("store.path"), of("store.db"), NULL);
    p_amochats_config_set(config, of("listener.address"), of("127.0.0.1:0"), NULL);
    p_amochats_config_set(config, of("admin.address"), of("127.0.0.1:0"), NULL);
    p_amochats_config_add_channel(config, of("a4490ccc-5d7f-11e7-907b-a6006ad3dba0"), of("secret"), of("ru"), NULL);
    if (p_amochats_channel_open(config, 60000, &channel, &error)) return 5;
    p_amochats_config_free(config);
    options = p_amochats_consumer_options_new();
    p_amochats_consumer_options_set_temporary(options, true);
    if (p_amochats_consumer_open(channel, of(""), options, 60000, &consumer, &error)) return 6;
    p_amochats_consumer_options_free(options);
    if (p_amochats_consumer_next(consumer, 1, &delivery, &error) || delivery != NULL) return 7;
    p_amochats_consumer_free(consumer);
    if (p_amochats_channel_close(channel, 60000, &error)) return 8;
    after = thread_count();
    p_amochats_channel_free(channel);
    dlclose(library);
    if (after != before) {
        fprintf(stderr, "%d threads before, %d after\n", before, after);
        return 9;
    }
    return 0;
}

int main(int argc, char **argv) {
    char folder[] = "/tmp/amochats-XXXXXX";
    char path[4096];
    int status;
    if (argc != 2 || realpath(argv[1], path) == NULL || mkdtemp(folder) == NULL || chdir(folder) != 0) return 1;
    status = use(path);
    if (status == 0) status = use(path); /* once more */
    unlink("store.db");
    unlink("store.db.lock");
    unlink("store.db-wal");
    unlink("store.db-shm");
    if (chdir("/") == 0) rmdir(folder);
    return status;
}
