/* Stands between a process and fsync/fdatasync, for tests of what follows a sync.
 *
 * LD_PRELOAD=syncgate.so SYNCGATE=FOLDER: every sync is told of by a datagram to FOLDER/events
 * ("enter" before, "done" or "fail" after), waits while another process holds a lock on
 * FOLDER/gate, and fails with EIO while FOLDER/fail exists; FOLDER/fail-one lets one fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *folder(void) {
    const char *folder = getenv("SYNCGATE");
    if (folder == NULL) {
        fputs("syncgate: SYNCGATE is not set\n", stderr);
        abort();
    }
    return folder;
}

static void tell(const char *what) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int written = snprintf(to.sun_path, sizeof to.sun_path, "%s/events", folder());
    if (written < 0 || (size_t)written >= sizeof to.sun_path) {
        fputs("syncgate: the folder's name is too long\n", stderr);
        abort();
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        /* Nobody listening is no error: the test is over. */
        (void)sendto(fd, what, strlen(what), 0, (const struct sockaddr *)&to, sizeof to);
        close(fd);
    }
}

static int gated(const char *name, int fd) {
    char path[4096];
    tell("enter");
    snprintf(path, sizeof path, "%s/gate", folder());
    int gate = open(path, O_RDONLY | O_CLOEXEC);
    if (gate >= 0) {
        while (flock(gate, LOCK_SH) != 0 && errno == EINTR) {
        }
        close(gate);
    }
    snprintf(path, sizeof path, "%s/fail-one", folder());
    int failed = unlink(path) == 0;
    snprintf(path, sizeof path, "%s/fail", folder());
    if (failed || access(path, F_OK) == 0) {
        tell("fail");
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(fd);
    int error = errno;
    tell("done");
    errno = error;
    return result;
}

int fsync(int fd) { return gated("fsync", fd); }
int fdatasync(int fd) { return gated("fdatasync", fd); }
