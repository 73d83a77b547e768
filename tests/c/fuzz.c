/* A fuzz target for libFuzzer: the input is a program of calls with hostile arguments. Objects may be NULL and
 * are used again in any state; text may be none, of an impossible length, or any bytes. Whatever is asked, a call
 * returns: AMOCHATS_RESULT_OK and an output, or a code with an error that says the same. */
#include <amochats.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t *input;
static size_t left;

static uint8_t byte(void) { return left == 0 ? 0 : (left--, *input++); }

static uint64_t number(void) {
    static const uint64_t edges[] = {0, 1, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, UINT32_MAX, 1u << 31, 255};
    return edges[byte() % 8];
}

/* A slice of the input, or one that cannot be read. */
static amochats_slice slice(void) {
    amochats_slice made = {NULL, 0};
    uint8_t kind = byte();
    if (kind == 0xff) made.len = byte();
    if (kind == 0xfe) made.len = SIZE_MAX, made.data = (const char *)input;
    if (kind < 0xfe) {
        made.len = kind == 0xfd ? left : kind;
        if (made.len > left) made.len = left;
        made.data = (const char *)input;
        input += made.len;
        left -= made.len;
    }
    return made;
}

/* All of it is read, for the sanitizer to see. */
static void read_slice(amochats_slice slice) {
    volatile char seen = 0;
    size_t at;
    for (at = 0; at < slice.len; at++) seen ^= slice.data[at];
    (void)seen;
    if (slice.data == NULL && slice.len != 0) abort();
}

static amochats_error *error;
static bool error_asked;
static amochats_error **error_or_null(void) {
    error_asked = byte() % 8 != 0;
    return error_asked ? &error : NULL;
}

/* Returns whether the call succeeded. */
static bool said(amochats_result result) {
    if (result == AMOCHATS_RESULT_PANIC) abort();
    if ((error != NULL) != (error_asked && result != AMOCHATS_RESULT_OK)) abort();
    if (error != NULL) {
        if (amochats_error_code(error) != result) abort();
        if (amochats_error_message(error).len == 0) abort();
        read_slice(amochats_error_message(error));
        read_slice(amochats_error_field(error));
        amochats_error_free(error);
        error = NULL;
    }
    return result == AMOCHATS_RESULT_OK;
}

static void read_buffer(amochats_buffer *buffer) {
    read_slice(amochats_buffer_slice(buffer));
    amochats_buffer_free(buffer);
}

/* Every value below, as far as the depth that the input asks for. */
static void read_value(const amochats_value *value, int depth) {
    size_t at, count = amochats_value_count(value);
    int64_t integer;
    double real;
    bool boolean;
    read_slice(amochats_value_text(value));
    amochats_value_integer(value, byte() % 2 ? &integer : NULL);
    amochats_value_real(value, byte() % 2 ? &real : NULL);
    amochats_value_boolean(value, byte() % 2 ? &boolean : NULL);
    read_slice(amochats_value_json(value));
    amochats_value_get(value, slice());
    amochats_value_at(value, (size_t)number());
    read_slice(amochats_value_name_at(value, (size_t)number()));
    for (at = 0; depth > 0 && at < count; at++) read_value(amochats_value_at(value, at), depth - 1);
}

static void read_webhook(const amochats_webhook *webhook) {
    const amochats_participant *sender = amochats_webhook_sender(webhook);
    int64_t bytes;
    read_slice(amochats_webhook_json(webhook));
    read_slice(amochats_webhook_kind_name(webhook));
    read_slice(amochats_webhook_conversation_id(webhook));
    read_slice(amochats_webhook_message_ref_id(webhook));
    read_slice(amochats_webhook_text(webhook));
    read_slice(amochats_webhook_media(webhook));
    read_slice(amochats_participant_name(sender));
    read_slice(amochats_participant_phone(sender));
    amochats_webhook_file_size(webhook, byte() % 2 ? &bytes : NULL);
    read_value(amochats_webhook_value(webhook), 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    amochats_verifier *verifier = NULL;
    amochats_webhook *webhook = NULL;
    amochats_message *message = NULL;
    amochats_user *user = NULL;
    amochats_buffer *buffer;
    amochats_signed_headers *headers;
    amochats_slice a, b, verdict;
    char signature[AMOCHATS_SIGNATURE_SIZE];
    input = data;
    left = size;
    while (left > 0) {
        uint8_t call = byte();
        amochats_error **e = error_or_null();
        a = slice();
        b = slice();
        switch (call % 24) {
            case 0: amochats_verifier_free(verifier), verifier = call < 128 ? amochats_verifier_new() : NULL; break;
            case 1: said(amochats_verifier_add_secret(verifier, a, e)); break;
            case 2: said(amochats_verifier_verify(verifier, a, b, e)); break;
            case 3:
                if (said(amochats_verifier_diagnose(verifier, a, b, call < 128 ? &verdict : NULL, e))) read_slice(verdict);
                break;
            case 4:
                amochats_webhook_free(webhook);
                webhook = NULL;
                said(amochats_webhook_parse(a, call < 200 ? &webhook : NULL, e));
                break;
            case 5: read_webhook(webhook); break;
            case 6:
                if (said(amochats_message_encode(a, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            case 7:
                if (said(amochats_request_encode(a, b, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            case 8:
                if (said(amochats_history_parse(a, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            case 9:
                if (said(amochats_sign_body(a, b, call < 200 ? &signature : NULL, e)) && strlen(signature) != 40) abort();
                break;
            case 10:
                if (said(amochats_sign_request(a, b, slice(), slice(), slice(), b, call < 200 ? &headers : NULL, e))) {
                    read_slice(amochats_signed_headers_x_signature(headers));
                    read_slice(amochats_signed_headers_content_md5(headers));
                    amochats_signed_headers_free(headers);
                }
                break;
            case 11: amochats_user_free(user), user = call < 128 ? amochats_user_new(a, b) : NULL; break;
            case 12: said(amochats_user_set_phone(user, a, e)); break;
            case 13: amochats_message_free(message), message = call < 200 ? amochats_message_new(a, b) : NULL; break;
            case 14: said(amochats_message_set_sender(message, user, e)); break;
            case 15: said(amochats_message_set_text(message, a, e)); break;
            case 16: said(amochats_message_set_media(message, (uint32_t)number(), a, e)); break;
            case 17: said(amochats_message_set_file_size(message, number(), e)); break;
            case 18: said(amochats_message_set_location(message, (double)number() / (double)number(), 0.0, e)); break;
            case 19: said(amochats_message_set_contact(message, a, b, e)); break;
            case 20: said(amochats_message_set_reply_to(message, a, b, e)); break;
            case 21: amochats_message_set_sent_at_msec(message, (int64_t)number()); break;
            case 22:
                if (said(amochats_message_json(message, call < 200 ? &buffer : NULL, e))) read_buffer(buffer);
                break;
            default: read_slice(amochats_error_message(NULL)); read_webhook(NULL); break;
        }
    }
    amochats_verifier_free(verifier);
    amochats_webhook_free(webhook);
    amochats_message_free(message);
    amochats_user_free(user);
    return 0;
}
