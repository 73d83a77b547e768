/* The smallest of test frames, for C and C++: a line per test, "ok NAME" or "not ok NAME", the
 * latter after a line for each reason. */
#ifndef CHECK_H
#define CHECK_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *check_name;
static int check_failed_here;
static int check_failed;
static int check_count;

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static void check_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("  ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    check_failed_here = 1;
}

static void check_begin(const char *name) {
    check_name = name;
    check_failed_here = 0;
}

static void check_end(void) {
    check_count++;
    check_failed += check_failed_here;
    printf(check_failed_here ? "not ok %s\n" : "ok %s\n", check_name);
    fflush(stdout);
}

/* Goes on after a failure, so that one run shows all; REQUIRE is for what the rest builds on. */
#define CHECK(condition) \
    do { \
        if (!(condition)) check_fail("%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)
#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            check_fail("%s:%d: %s", __FILE__, __LINE__, #condition); \
            check_end(); \
            exit(1); \
        } \
    } while (0)

/* The exit code. */
static int check_result(void) { return check_failed == 0 && check_count > 0 ? 0 : 1; }

#define RUN(test) \
    do { \
        check_begin(#test); \
        test(); \
        check_end(); \
    } while (0)

#endif
