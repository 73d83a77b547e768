/* The channel in a loop of poll(): everything runs on this thread. usage: poll CONFIG, ends with SIGTERM. */
#define _POSIX_C_SOURCE 200809L
#include "loop.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

static int stop_pipe[2];

static void stop(int number) {
    ssize_t written = write(stop_pipe[1], &number, 1);
    (void)written;
}

int main(int argc, char **argv) {
    struct pollfd waiting[2] = {{-1, POLLIN, 0}, {-1, POLLIN, 0}};
    struct sigaction action = {0};
    if (argc != 2 || pipe(stop_pipe) != 0) return 2;
    action.sa_handler = stop;
    sigaction(SIGTERM, &action, NULL);
    waiting[0].fd = open_channel(argv[1]);
    waiting[1].fd = stop_pipe[0];
    while (!waiting[1].revents) {
        if (poll(waiting, 2, -1) > 0 && waiting[0].revents) dispatch();
    }
    return close_channel();
}
