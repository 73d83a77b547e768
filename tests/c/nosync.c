/* Weakens a store, to prove that a test notices: LD_PRELOAD=nosync.so with
 *
 * NOSYNC=off     no file is synced, as with `PRAGMA synchronous=OFF`;
 * NOSYNC=normal  the log (a name that ends in -wal) is not synced, all else is, as with
 *                `synchronous=NORMAL` while there is no checkpoint.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int skipped(int fd) {
    const char *mode = getenv("NOSYNC");
    if (mode == NULL || (strcmp(mode, "off") != 0 && strcmp(mode, "normal") != 0)) {
        fputs("nosync: NOSYNC must be off or normal\n", stderr);
        abort();
    }
    if (strcmp(mode, "off") == 0) {
        return 1;
    }
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length >= 4 && memcmp(path + length - 4, "-wal", 4) == 0;
}

static int sync_unless_skipped(const char *name, int fd) {
    if (skipped(fd)) {
        return 0;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return sync_unless_skipped("fsync", fd); }
int fdatasync(int fd) { return sync_unless_skipped("fdatasync", fd); }
