/*
 * amochats: the chats API of amoCRM and Kommo, for C.
 *
 * Made from the sources of amochats-ffi; edit those. C++ has amochats.hpp beside this file.
 *
 * Calls that can fail return an amochats_result. Outputs are written only on success. The last
 * argument `error` may be NULL; on failure it is set to an object that tells more, which the
 * caller frees, and on success it is left alone: start with NULL.
 *
 * Text is UTF-8. What a call is given is read during the call alone. What the library made, the
 * library frees: with the _free function of its type, never with free(). All _free functions take
 * NULL. A pointer to an object must be NULL or come from this library, and not be freed yet; NULL
 * where an object is needed is AMOCHATS_RESULT_NULL_POINTER, or nothing found where the function
 * returns a value.
 *
 * Functions that take a const pointer may run on any number of threads at once; those that take
 * any other pointer need the object for themselves. Errors hold no secrets and no message texts.
 */


#ifndef AMOCHATS_H
#define AMOCHATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The version of this header. */
#define AMOCHATS_VERSION_MAJOR 0
#define AMOCHATS_VERSION_MINOR 1
#define AMOCHATS_VERSION_PATCH 0
#define AMOCHATS_VERSION "0.1.0"

/**
 * The size of a signature in hex with the NUL that ends it.
 */
#define AMOCHATS_SIGNATURE_SIZE 41

/**
 * What became of a call. The numbers are stable; later versions may add some.
 */
enum amochats_result
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It succeeded.
   */
  AMOCHATS_RESULT_OK = 0,
  /**
   * A pointer that must not be NULL was.
   */
  AMOCHATS_RESULT_NULL_POINTER = 1,
  /**
   * Text that is not UTF-8.
   */
  AMOCHATS_RESULT_INVALID_UTF8 = 2,
  /**
   * A bug in this library was caught.
   */
  AMOCHATS_RESULT_PANIC = 3,
  /**
   * An argument breaks a documented rule; amochats_error_field() names it.
   */
  AMOCHATS_RESULT_INVALID_ARGUMENT = 10,
  /**
   * The configuration cannot be used.
   */
  AMOCHATS_RESULT_CONFIG_INVALID = 11,
  /**
   * The caller cancelled the call.
   */
  AMOCHATS_RESULT_CANCELLED = 20,
  /**
   * The object is closed or the process is stopping.
   */
  AMOCHATS_RESULT_CLOSED = 21,
  /**
   * A bounded queue had no room in time.
   */
  AMOCHATS_RESULT_QUEUE_FULL = 22,
  /**
   * The interface was used in a way that its documentation rules out.
   */
  AMOCHATS_RESULT_MISUSE = 23,
  /**
   * The object was made before a fork() and cannot be used after it.
   */
  AMOCHATS_RESULT_FORKED = 24,
  /**
   * The store failed; what was not confirmed is not kept.
   */
  AMOCHATS_RESULT_STORE_FAILED = 30,
  /**
   * The store has no room left.
   */
  AMOCHATS_RESULT_STORE_FULL = 31,
  /**
   * Another process has the store open.
   */
  AMOCHATS_RESULT_STORE_LOCKED = 32,
  /**
   * The lease on the event ended or the event was settled before.
   */
  AMOCHATS_RESULT_LEASE_LOST = 33,
  /**
   * There is no subscription of that name.
   */
  AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND = 34,
  /**
   * The caller did not show who it is.
   */
  AMOCHATS_RESULT_UNAUTHENTICATED = 35,
  /**
   * A webhook came without a usable X-Signature. Answer 401.
   */
  AMOCHATS_RESULT_SIGNATURE_MISSING = 100,
  /**
   * A webhook's X-Signature does not belong to its body. Answer 401.
   */
  AMOCHATS_RESULT_SIGNATURE_MISMATCH = 101,
  /**
   * Bytes that were to be parsed are not JSON in UTF-8.
   */
  AMOCHATS_RESULT_MALFORMED_WEBHOOK = 102,
  /**
   * A body is larger than the limit.
   */
  AMOCHATS_RESULT_BODY_TOO_LARGE = 103,
  /**
   * The channel is not configured here.
   */
  AMOCHATS_RESULT_UNKNOWN_CHANNEL = 104,
  /**
   * The vendor refused the data (HTTP 400).
   */
  AMOCHATS_RESULT_REJECTED = 200,
  /**
   * The vendor refused the signature or the right (HTTP 401, 403).
   */
  AMOCHATS_RESULT_FORBIDDEN = 201,
  /**
   * The vendor does not know the resource (HTTP 404).
   */
  AMOCHATS_RESULT_NOT_FOUND = 202,
  /**
   * The vendor asks to slow down (HTTP 429).
   */
  AMOCHATS_RESULT_RATE_LIMITED = 203,
  /**
   * The vendor is out of order (HTTP 5xx).
   */
  AMOCHATS_RESULT_UNAVAILABLE = 204,
  /**
   * The vendor answered something that is not in its documentation.
   */
  AMOCHATS_RESULT_UNEXPECTED_RESPONSE = 205,
  /**
   * No answer in time; the call may have had its effect.
   */
  AMOCHATS_RESULT_TIMEOUT = 210,
  /**
   * The connection could not be made or broke; the call may have had its effect.
   */
  AMOCHATS_RESULT_TRANSPORT = 211,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum amochats_result amochats_result;
#else
typedef uint32_t amochats_result;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a webhook is about. Later versions may add some.
 */
enum amochats_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * A shape that this version does not know; all of it is in amochats_webhook_json().
   */
  AMOCHATS_KIND_UNKNOWN = 0,
  /**
   * A CRM user, a bot or a template answered.
   */
  AMOCHATS_KIND_MESSAGE = 1,
  /**
   * A CRM user is typing.
   */
  AMOCHATS_KIND_TYPING = 2,
  /**
   * A CRM user reacted to a message, or took the reaction back.
   */
  AMOCHATS_KIND_REACTION = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum amochats_kind amochats_kind;
#else
typedef uint32_t amochats_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Bytes made by a call, freed by the caller with amochats_buffer_free(). Never changes: any
 * thread may read it.
 */
typedef struct amochats_buffer amochats_buffer;

/**
 * Tells why a call failed. Made by the call, freed by the caller with amochats_error_free().
 * Never changes: any thread may read it.
 */
typedef struct amochats_error amochats_error;

/**
 * Somebody in a chat. Belongs to the webhook it was asked of and ends with it.
 */
typedef struct amochats_participant amochats_participant;

/**
 * The four headers of a signed request. Made by amochats_sign_request(), freed by the caller with
 * amochats_signed_headers_free(). Never changes: any thread may read it.
 */
typedef struct amochats_signed_headers amochats_signed_headers;

/**
 * Checks the signatures of webhooks with the secrets of one channel. Made by
 * amochats_verifier_new(), freed by the caller with amochats_verifier_free().
 *
 * Give it its secrets first; then any number of threads may call what takes a const pointer.
 */
typedef struct amochats_verifier amochats_verifier;

/**
 * A parsed webhook. Made by amochats_webhook_parse(), freed by the caller with
 * amochats_webhook_free(). Never changes: any thread may read it.
 *
 * The vendor writes "" where it has nothing to say: such a field is not there. A name with _id is
 * an id of the integration, one with _ref_id the id that amoCRM gave to the same thing.
 */
typedef struct amochats_webhook amochats_webhook;

/**
 * Bytes or UTF-8 text, not terminated by a NUL.
 *
 * As an argument it is read during the call alone; data may be NULL only if len is 0. As a return
 * value it belongs to the object it was asked of and ends with it; a data of NULL means that
 * there is nothing, as opposed to something empty.
 *
 * To print it: printf("%.*s", (int)slice.len, slice.data).
 */
typedef struct {
  /**
   * Where it begins.
   */
  const char *data;
  /**
   * Its length in bytes.
   */
  size_t len;
} amochats_slice;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the version of the library, such as "0.1.0". The text is static. AMOCHATS_VERSION_MAJOR
 * and its siblings are the version of the header.
 */
const char *amochats_version(void);

/**
 * Returns the name of a result, such as "SIGNATURE_MISMATCH", the same on all surfaces of
 * amochats; "UNKNOWN" for a number that is none. The text is static.
 */
const char *amochats_result_name(uint32_t result);

/**
 * Returns the slice of a NUL-terminated text, without its NUL; of NULL the one with nothing.
 * It borrows the text.
 *
 * # Safety
 * The text must be NULL or end with a NUL, and outlive the slice.
 */
amochats_slice amochats_slice_of(const char *text);

/**
 * Returns the bytes, which end with the buffer; nothing for NULL.
 */
amochats_slice amochats_buffer_slice(const amochats_buffer *buffer);

/**
 * Frees a buffer; NULL is nothing to do.
 */
void amochats_buffer_free(amochats_buffer *buffer);

/**
 * Returns the result that the call returned; AMOCHATS_RESULT_OK for NULL.
 */
amochats_result amochats_error_code(const amochats_error *error);

/**
 * Returns one line of English for people. It holds no secret, message text, phone or e-mail.
 */
amochats_slice amochats_error_message(const amochats_error *error);

/**
 * Returns the argument or the field at fault, such as "payload.sender.name", if there is one.
 */
amochats_slice amochats_error_field(const amochats_error *error);

/**
 * Returns the HTTP status of the vendor's answer; 0 where there was none.
 */
uint16_t amochats_error_http_status(const amochats_error *error);

/**
 * Returns how many milliseconds the vendor asked to wait; 0 where it did not.
 */
uint64_t amochats_error_retry_after_ms(const amochats_error *error);

/**
 * Frees an error; NULL is nothing to do.
 */
void amochats_error_free(amochats_error *error);

/**
 * Makes a verifier without a secret, which refuses everything.
 */
amochats_verifier *amochats_verifier_new(void);

/**
 * Adds a secret, as the text that the vendor's support sent: it looks like hex but is not decoded.
 * While a secret is being changed, add the old and the new one.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for a secret that is empty or holds blanks or line feeds.
 */
amochats_result amochats_verifier_add_secret(amochats_verifier *verifier,
                                             amochats_slice secret,
                                             amochats_error **error);

/**
 * Checks a webhook's X-Signature header against its raw body, in constant time. A signature whose
 * data is NULL means that there was no such header.
 *
 * Pass the bytes as they came: a body that was parsed and written again has another signature.
 * The line feed that ends a webhook, which the vendor does not sign, may stay.
 *
 * AMOCHATS_RESULT_SIGNATURE_MISSING without a signature, or with one that is not 40 hex digits;
 * AMOCHATS_RESULT_SIGNATURE_MISMATCH where it belongs to another body or secret. Answer both with
 * HTTP 401.
 */
amochats_result amochats_verifier_verify(const amochats_verifier *verifier,
                                         amochats_slice body,
                                         amochats_slice signature,
                                         amochats_error **error);

/**
 * Says what a signature turned out to be: "valid", "missing", "not_hex", "with_newline" (it covers
 * a final line feed that the body has lost), "hex_decoded_secret" (the secret was decoded before
 * use), "reserialised" (it covers the same JSON written differently) or "mismatch" (none of
 * these). The text is static.
 *
 * For the eyes of developers, never for the answer to a webhook: it would help a forger.
 */
amochats_result amochats_verifier_diagnose(const amochats_verifier *verifier,
                                           amochats_slice body,
                                           amochats_slice signature,
                                           amochats_slice *verdict,
                                           amochats_error **error);

/**
 * Frees a verifier and wipes its secrets; NULL is nothing to do.
 */
void amochats_verifier_free(amochats_verifier *verifier);

/**
 * Parses a webhook, v1 or v2. First verify it, see amochats_verifier_verify().
 *
 * JSON of an unknown shape is no error but AMOCHATS_KIND_UNKNOWN.
 * AMOCHATS_RESULT_MALFORMED_WEBHOOK, with line and column in the message, where the body is not
 * JSON in UTF-8.
 */
amochats_result amochats_webhook_parse(amochats_slice body,
                                       amochats_webhook **webhook,
                                       amochats_error **error);

/**
 * Frees a webhook with all that was asked of it; NULL is nothing to do.
 */
void amochats_webhook_free(amochats_webhook *webhook);

/**
 * Returns all that is in the webhook as one JSON object, with the stable field names that the
 * command line and Python show. What was not understood is under "extra".
 */
amochats_slice amochats_webhook_json(const amochats_webhook *webhook);

/**
 * Returns what the webhook is about; AMOCHATS_KIND_UNKNOWN for NULL.
 */
amochats_kind amochats_webhook_kind(const amochats_webhook *webhook);

/**
 * Returns the kind as a word: "message", "typing", "reaction" or "unknown".
 */
amochats_slice amochats_webhook_kind_name(const amochats_webhook *webhook);

/**
 * Returns the form it came in, "v1" or "v2"; nothing where that is unknown.
 */
amochats_slice amochats_webhook_api_version(const amochats_webhook *webhook);

/**
 * Returns the account; v1 does not name it.
 */
amochats_slice amochats_webhook_account_id(const amochats_webhook *webhook);

/**
 * Writes when the webhook was made, in Unix seconds. Returns whether that is there.
 */
bool amochats_webhook_time(const amochats_webhook *webhook, int64_t *seconds);

/**
 * Returns the integration's id of the conversation; nothing when a CRM user writes first.
 */
amochats_slice amochats_webhook_conversation_id(const amochats_webhook *webhook);

/**
 * Returns amoCRM's id of the conversation; v1 does not name it.
 */
amochats_slice amochats_webhook_conversation_ref_id(const amochats_webhook *webhook);

/**
 * Returns the integration's id of the message that was written or reacted to; seldom there.
 */
amochats_slice amochats_webhook_message_id(const amochats_webhook *webhook);

/**
 * Returns amoCRM's id of the message that was written or reacted to: what the delivery status is
 * reported for. v1 does not name it.
 */
amochats_slice amochats_webhook_message_ref_id(const amochats_webhook *webhook);

/**
 * Returns the type of a message ("text", "file", "video", "picture", "voice", "audio", "sticker")
 * or of a reaction ("react", "unreact"), or a word of the future. Empty where the vendor left it
 * out, nothing for other kinds.
 */
amochats_slice amochats_webhook_type(const amochats_webhook *webhook);

/**
 * Returns the text of a message, which is the caption where there is media. Empty where the
 * vendor left it out, nothing for other kinds.
 */
amochats_slice amochats_webhook_text(const amochats_webhook *webhook);

/**
 * Returns where the attachment can be fetched; the link may expire.
 */
amochats_slice amochats_webhook_media(const amochats_webhook *webhook);

/**
 * Returns where a small form of a picture or video can be fetched.
 */
amochats_slice amochats_webhook_thumbnail(const amochats_webhook *webhook);

/**
 * Returns the attachment's file name.
 */
amochats_slice amochats_webhook_file_name(const amochats_webhook *webhook);

/**
 * Writes the attachment's size in bytes. Returns whether it is there.
 */
bool amochats_webhook_file_size(const amochats_webhook *webhook, int64_t *bytes);

/**
 * Returns what the webhooks share that were made from one message with several attachments.
 */
amochats_slice amochats_webhook_media_group_id(const amochats_webhook *webhook);

/**
 * Writes when the message was written, in Unix seconds. Returns whether that is there.
 */
bool amochats_webhook_timestamp(const amochats_webhook *webhook, int64_t *seconds);

/**
 * Writes when the message was written, in Unix milliseconds. Returns whether that is there.
 */
bool amochats_webhook_msec_timestamp(const amochats_webhook *webhook, int64_t *milliseconds);

/**
 * Returns the integration's source that the chat belongs to (source.external_id).
 */
amochats_slice amochats_webhook_source_external_id(const amochats_webhook *webhook);

/**
 * Returns the CRM user or bot who wrote a message, or NULL; v1 does not say.
 */
const amochats_participant *amochats_webhook_sender(const amochats_webhook *webhook);

/**
 * Returns the client to whom a message was written, or NULL.
 */
const amochats_participant *amochats_webhook_receiver(const amochats_webhook *webhook);

/**
 * Returns amoCRM's id of the CRM user who types or reacts.
 */
amochats_slice amochats_webhook_user_ref_id(const amochats_webhook *webhook);

/**
 * Writes when to stop showing that somebody types, in Unix seconds. Returns whether that is there.
 */
bool amochats_webhook_expired_at(const amochats_webhook *webhook, int64_t *seconds);

/**
 * Returns the integration's id of the post under which somebody types or a message is a comment.
 */
amochats_slice amochats_webhook_post_id(const amochats_webhook *webhook);

/**
 * Returns the emoji of a reaction; nothing when it was taken back.
 */
amochats_slice amochats_webhook_emoji(const amochats_webhook *webhook);

/**
 * Returns the integration's id of a participant; nothing for NULL, here and below.
 */
amochats_slice amochats_participant_user_id(const amochats_participant *person);

/**
 * Returns amoCRM's id of a participant.
 */
amochats_slice amochats_participant_user_ref_id(const amochats_participant *person);

/**
 * Returns the name shown.
 */
amochats_slice amochats_participant_name(const amochats_participant *person);

/**
 * Returns the phone; when a CRM user writes first, the number to write to.
 */
amochats_slice amochats_participant_phone(const amochats_participant *person);

/**
 * Returns the e-mail address.
 */
amochats_slice amochats_participant_email(const amochats_participant *person);

/**
 * Signs bytes alone, as webhooks are, and requests of the first generation. The signature is 40
 * lower-case hex digits and a NUL.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for a secret that is empty or holds blanks or line feeds.
 */
amochats_result amochats_sign_body(amochats_slice secret,
                                   amochats_slice body,
                                   char (*signature)[AMOCHATS_SIGNATURE_SIZE],
                                   amochats_error **error);

/**
 * Signs a request of the chats API. Send the four headers and the very bytes that were signed.
 *
 * The path is signed without its query and holds neither scheme nor host. The date is sent and
 * signed as given; the vendor documents "Wed, 15 Dec 2021 23:12:55 +0000" and takes requests for
 * 15 minutes from it. The content type is "application/json".
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT, with the argument's name as the field, for a method that is
 * not letters, a path that does not begin with "/", or a control character in any part.
 */
amochats_result amochats_sign_request(amochats_slice secret,
                                      amochats_slice method,
                                      amochats_slice path,
                                      amochats_slice content_type,
                                      amochats_slice date,
                                      amochats_slice body,
                                      amochats_signed_headers **headers,
                                      amochats_error **error);

/**
 * Returns the value of the header "Date".
 */
amochats_slice amochats_signed_headers_date(const amochats_signed_headers *headers);

/**
 * Returns the value of the header "Content-Type".
 */
amochats_slice amochats_signed_headers_content_type(const amochats_signed_headers *headers);

/**
 * Returns the value of the header "Content-MD5": MD5 of the body in lower-case hex.
 */
amochats_slice amochats_signed_headers_content_md5(const amochats_signed_headers *headers);

/**
 * Returns the value of the header "X-Signature".
 */
amochats_slice amochats_signed_headers_x_signature(const amochats_signed_headers *headers);

/**
 * Frees the headers; NULL is nothing to do.
 */
void amochats_signed_headers_free(amochats_signed_headers *headers);

/**
 * Checks a new message in the vendor's JSON, {"event_type":"new_message","payload":{...}}, by all
 * rules that the vendor documents, and writes the body to sign and send.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, where it breaks a rule. Fields
 * that are not documented are refused, so that a typing error does not lose a field.
 */
amochats_result amochats_message_encode(amochats_slice json,
                                        amochats_buffer **body,
                                        amochats_error **error);

/**
 * Checks a request in the vendor's JSON by all rules that the vendor documents, and writes the body
 * to sign and send. Each call has its own path:
 *
 * | call | POST to /v2/origin/custom/... |
 * |---|---|
 * | send_message | {scope_id} |
 * | edit_message | {scope_id} |
 * | create_chat | {scope_id}/chats |
 * | set_delivery_status | {scope_id}/{message_ref_id}/delivery_status |
 * | set_delivery_status_old | the same, in and out in the form from before 2025 |
 * | send_typing | {scope_id}/typing |
 * | react | {scope_id}/react |
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, where it breaks a rule, and with
 * the field "call" for another call. Fields that are not documented are refused.
 */
amochats_result amochats_request_encode(amochats_slice call,
                                        amochats_slice json,
                                        amochats_buffer **body,
                                        amochats_error **error);

/**
 * Reads the answer to GET {scope_id}/chats/{conversation_ref_id}/history and writes it as stable
 * JSON: {"messages":[...]}, the newest message first, with the names of a message event. An empty
 * body, as a 204 has it, is a page without messages.
 *
 * AMOCHATS_RESULT_UNEXPECTED_RESPONSE where it is of another form.
 */
amochats_result amochats_history_parse(amochats_slice answer,
                                       amochats_buffer **page,
                                       amochats_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* AMOCHATS_H */
