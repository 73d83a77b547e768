/* What tests of the channel and the CRM in C share, over check.h. */
#ifndef SUPPORT_H
#define SUPPORT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "check.h"

#include <amochats.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG 60000 /* what must come comes by then, on any machine */

static const amochats_slice none = {NULL, 0};

static inline amochats_slice of(const char *text) { return amochats_slice_of(text); }

static inline int is(amochats_slice slice, const char *text) {
    return slice.data != NULL && slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

static inline int has(amochats_slice slice, const char *text) {
    return slice.data != NULL && memmem(slice.data, slice.len, text, strlen(text)) != NULL;
}

static inline amochats_slice text_of(const amochats_value *value, const char *name) {
    return amochats_value_text(amochats_value_get(value, of(name)));
}

static inline int64_t number_of(const amochats_value *value, const char *name) {
    int64_t number = -1;
    amochats_value_integer(amochats_value_get(value, of(name)), &number);
    return number;
}

/* Whether a call failed so, with a sentence. Frees the error. */
static inline int failed(amochats_result result, amochats_error **error, amochats_result expected) {
    int as_expected = result == expected && amochats_error_code(*error) == expected &&
                      amochats_error_message(*error).len > 10;
    if (!as_expected) {
        amochats_slice said = amochats_error_message(*error);
        check_fail("%s, not %s: %.*s", amochats_result_name(result), amochats_result_name(expected),
                   (int)said.len, said.data ? said.data : "");
    }
    amochats_error_free(*error);
    *error = NULL;
    return as_expected;
}

static inline int ok(amochats_result result, amochats_error *error) {
    if (result != AMOCHATS_RESULT_OK) {
        amochats_slice said = amochats_error_message(error);
        check_fail("%s: %.*s", amochats_result_name(result), (int)said.len, said.data ? said.data : "");
    }
    amochats_error_free(error);
    return result == AMOCHATS_RESULT_OK;
}

/* What the library logs goes to where run.sh looks for what must not be said. */
static inline void heard(void *data, amochats_level level, amochats_slice target, amochats_slice message) {
    const char *path = getenv("CHECK_LOG");
    FILE *said = path != NULL ? fopen(path, "a") : NULL;
    (void)data, (void)level;
    if (said == NULL) return;
    fprintf(said, "%.*s: %.*s\n", (int)target.len, target.data, (int)message.len, message.data);
    fclose(said);
}

static char folder[256];

static inline void fresh_folder(void) {
    const char *temp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/amochats-XXXXXX", temp ? temp : "/tmp");
    REQUIRE(mkdtemp(folder) != NULL);
}

static inline void remove_folder(void) {
    char path[600];
    DIR *open = opendir(folder);
    for (struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (open != NULL) closedir(open);
    rmdir(folder);
}

/* What sandbox.py says. */
static inline const char *sandbox(const char *name) {
    const char *found = getenv(name);
    if (found == NULL) check_fail("%s is missing: run this by sandbox.py", name);
    REQUIRE(found != NULL);
    return found;
}

/* Runs a test with a folder of its own. */
#define RUN_IN_FOLDER(test) \
    do { \
        check_begin(#test); \
        fresh_folder(); \
        test(); \
        remove_folder(); \
        check_end(); \
    } while (0)

#endif
