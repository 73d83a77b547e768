/* The channel in a loop of epoll: everything runs on this thread. usage: epoll CONFIG, ends with SIGTERM. */
#define _GNU_SOURCE
#include "loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

int main(int argc, char **argv) {
    struct epoll_event channel_event = {EPOLLIN, {0}}, stop_event = {EPOLLIN, {0}}, event = {0, {0}};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    sigset_t stop;
    if (argc != 2) return 2;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    stop_event.data.fd = signalfd(-1, &stop, SFD_CLOEXEC);
    channel_event.data.fd = open_channel(argv[1]);
    epoll_ctl(epoll, EPOLL_CTL_ADD, stop_event.data.fd, &stop_event);
    epoll_ctl(epoll, EPOLL_CTL_ADD, channel_event.data.fd, &channel_event);
    while (epoll_wait(epoll, &event, 1, -1) != 1 || event.data.fd != stop_event.data.fd) {
        if (event.data.fd == channel_event.data.fd) dispatch();
    }
    return close_channel();
}
