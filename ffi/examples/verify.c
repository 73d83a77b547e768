/*
 * Checks a webhook and prints what it says: the body on stdin, the X-Signature header as the
 * argument, the channel's secret in AMOCHATS_SECRET.
 *
 * Exit codes: 0 genuine, 1 refused or not readable as a webhook, 2 wrong usage.
 */
#include <amochats.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what, amochats_error *error) {
    amochats_slice said = amochats_error_message(error);
    fprintf(stderr, "%s: %.*s\n", what, (int)said.len, said.data);
    int code = amochats_error_code(error) == AMOCHATS_RESULT_INVALID_ARGUMENT ? 2 : 1;
    amochats_error_free(error);
    return code;
}

int main(int argc, char **argv) {
    const char *secret = getenv("AMOCHATS_SECRET");
    if (argc != 2 || secret == NULL) {
        fprintf(stderr, "usage: AMOCHATS_SECRET=... %s SIGNATURE < body\n", argv[0]);
        return 2;
    }
    static char bytes[1 << 20];
    amochats_slice body = {bytes, fread(bytes, 1, sizeof bytes, stdin)};
    if (body.len == sizeof bytes) {
        fprintf(stderr, "body: is larger than 1 MiB\n");
        return 2;
    }

    amochats_error *error = NULL;
    amochats_webhook *webhook = NULL;
    amochats_verifier *verifier = amochats_verifier_new();
    int code = 0;
    if (amochats_verifier_add_secret(verifier, amochats_slice_of(secret), &error) ||
        amochats_verifier_verify(verifier, body, amochats_slice_of(argv[1]), &error)) {
        code = fail("refused", error);
    } else if (amochats_webhook_parse(body, &webhook, &error)) {
        code = fail("malformed", error);
    } else {
        amochats_slice kind = amochats_webhook_kind_name(webhook);
        amochats_slice conversation = amochats_webhook_conversation_id(webhook);
        amochats_slice text = amochats_webhook_text(webhook);
        printf("%.*s in %.*s: %.*s\n", (int)kind.len, kind.data, (int)conversation.len, conversation.data,
               (int)text.len, text.data);
    }
    amochats_webhook_free(webhook);
    amochats_verifier_free(verifier);
    return code;
}
