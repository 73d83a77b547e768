/* The channel in a main loop of GLib: everything runs on its thread. usage: glib CONFIG, ends with SIGTERM. */
#include "loop.h"

#include <glib-unix.h>
#include <signal.h>

static gboolean on_readable(gint fd, GIOCondition condition, gpointer unused) {
    (void)fd;
    (void)condition;
    (void)unused;
    dispatch();
    return G_SOURCE_CONTINUE;
}

static gboolean on_stop(gpointer loop) {
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

int main(int argc, char **argv) {
    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    guint readable;
    if (argc != 2) return 2;
    readable = g_unix_fd_add(open_channel(argv[1]), G_IO_IN, on_readable, NULL);
    g_unix_signal_add(SIGTERM, on_stop, loop);
    g_main_loop_run(loop);
    /* Before the descriptor ends with its consumer. */
    g_source_remove(readable);
    g_main_loop_unref(loop);
    return close_channel();
}
