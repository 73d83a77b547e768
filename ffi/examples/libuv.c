/* The channel in a loop of libuv: everything runs on its thread. usage: libuv CONFIG, ends with SIGTERM. */
#define _GNU_SOURCE
#include "loop.h"

#include <uv.h>

static void on_readable(uv_poll_t *handle, int status, int events) {
    (void)handle;
    (void)status;
    (void)events;
    dispatch();
}

static void on_stop(uv_signal_t *handle, int number) {
    (void)number;
    uv_stop(handle->loop);
}

int main(int argc, char **argv) {
    uv_poll_t readable;
    uv_signal_t stop;
    if (argc != 2) return 2;
    uv_poll_init(uv_default_loop(), &readable, open_channel(argv[1]));
    uv_poll_start(&readable, UV_READABLE, on_readable);
    uv_signal_init(uv_default_loop(), &stop);
    uv_signal_start(&stop, on_stop, SIGTERM);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    /* Before the descriptor ends with its consumer. */
    uv_close((uv_handle_t *)&readable, NULL);
    uv_close((uv_handle_t *)&stop, NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return close_channel();
}
