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
 *
 * Channels, clients (also of the CRM), consumers, deliveries and tokens are marked: where a pointer is to another of
 * them, or to one that was freed, AMOCHATS_RESULT_MISUSE says so. Of freed ones that cannot be
 * promised, since their memory may be something else's by then; to close, and to free later, can.
 *
 * Calls that may wait take a timeout_ms, where a negative one is for ever. Those whose name ends in
 * _async do not wait, see amochats_client_call_async(). A callback must not wait for the library:
 * that is AMOCHATS_RESULT_MISUSE as well. After a fork() what was opened before works in the parent
 * alone; in the child it is AMOCHATS_RESULT_FORKED.
 *
 * A library that was built without the feature "runtime" ends with amochats_message_free().
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
 * How much a line of the log matters.
 */
enum amochats_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Somebody has to do something.
   */
  AMOCHATS_LEVEL_ERROR = 1,
  /**
   * Something is not as it should be, and was dealt with.
   */
  AMOCHATS_LEVEL_WARN = 2,
  /**
   * What happened, in few lines.
   */
  AMOCHATS_LEVEL_INFO = 3,
  /**
   * What a developer wants to know.
   */
  AMOCHATS_LEVEL_DEBUG = 4,
  /**
   * Everything.
   */
  AMOCHATS_LEVEL_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum amochats_level amochats_level;
#else
typedef uint32_t amochats_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What became of a webhook.
 */
enum amochats_ingested
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It is on the disk and will be handed out until it is settled. Answer 200.
   */
  AMOCHATS_INGESTED_KEPT = 0,
  /**
   * The same message was kept before. Answer 200.
   */
  AMOCHATS_INGESTED_DUPLICATE = 1,
  /**
   * Typing: it was handed out live and is not kept. Answer 200.
   */
  AMOCHATS_INGESTED_LIVE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum amochats_ingested amochats_ingested;
#else
typedef uint32_t amochats_ingested;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an attachment is.
 */
enum amochats_media
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Any file.
   */
  AMOCHATS_MEDIA_FILE = 0,
  /**
   * A video.
   */
  AMOCHATS_MEDIA_VIDEO = 1,
  /**
   * A picture.
   */
  AMOCHATS_MEDIA_PICTURE = 2,
  /**
   * A voice message.
   */
  AMOCHATS_MEDIA_VOICE = 3,
  /**
   * Music and other sound.
   */
  AMOCHATS_MEDIA_AUDIO = 4,
  /**
   * A sticker.
   */
  AMOCHATS_MEDIA_STICKER = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum amochats_media amochats_media;
#else
typedef uint32_t amochats_media;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a handler says of a delivery.
 */
enum amochats_verdict
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It was dealt with. The library acknowledges and frees it.
   */
  AMOCHATS_VERDICT_ACK = 0,
  /**
   * Hand it out again, later each time. The library refuses and frees it.
   */
  AMOCHATS_VERDICT_NACK = 1,
  /**
   * Give it up. The library makes it a dead letter and frees it.
   */
  AMOCHATS_VERDICT_DEAD = 2,
  /**
   * The handler keeps it: it settles and frees it itself, then or later.
   */
  AMOCHATS_VERDICT_KEEP = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum amochats_verdict amochats_verdict;
#else
typedef uint32_t amochats_verdict;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a callback says of an attempt to connect an account.
 */
enum amochats_decision
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It may not.
   */
  AMOCHATS_DECISION_REFUSE = 0,
  /**
   * It may.
   */
  AMOCHATS_DECISION_ALLOW = 1,
  /**
   * It cannot be decided now; the widget is told to try again.
   */
  AMOCHATS_DECISION_UNAVAILABLE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum amochats_decision amochats_decision;
#else
typedef uint32_t amochats_decision;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Bytes made by a call, freed by the caller with amochats_buffer_free(). Never changes: any
 * thread may read it.
 */
typedef struct amochats_buffer amochats_buffer;

/**
 * A call of the chats API, as it will be made: at once by amochats_client_call() and
 * amochats_client_call_async(), or kept and made by amochats_outbox_enqueue(). Made by a function for each
 * call, freed by the caller with amochats_call_free(). Never changes: any thread may use it, and more than
 * once.
 */
typedef struct amochats_call amochats_call;

/**
 * The channel at work in this process: the listener for webhooks, the inbox that keeps them and hands
 * them out, the outbox that sends, and the backfill. Made by amochats_channel_open(), ended by
 * amochats_channel_close(), freed by the caller with amochats_channel_free(). Any thread may use it.
 *
 * It has threads of its own, with all signals blocked, and leaves the process's signals alone. After a
 * fork() the child may not use it: every function returns AMOCHATS_RESULT_FORKED, and only
 * amochats_channel_free() may be called, which leaves it be. Where a `timeout_ms` is asked for, a
 * negative one is for ever; a call that waits is AMOCHATS_RESULT_MISUSE inside a callback.
 */
typedef struct amochats_channel amochats_channel;

/**
 * Calls the chats API for one channel. Made by amochats_client_open() with threads of its own, or by
 * amochats_channel_client() with those of a channel; freed by the caller with amochats_client_free(). Any
 * thread may use it. After a fork() it works in the parent alone.
 */
typedef struct amochats_client amochats_client;

/**
 * How a client works. Made by amochats_client_options_new(), freed by the caller with
 * amochats_client_options_free(). Not for several threads at once.
 */
typedef struct amochats_client_options amochats_client_options;

/**
 * How a channel works. Made by amochats_config_new(), freed by the caller with
 * amochats_config_free(); amochats_channel_open() reads it and keeps nothing of it. Not for several
 * threads at once.
 */
typedef struct amochats_config amochats_config;

/**
 * Receives the events of a subscription, one of possibly several that share it. Made by
 * amochats_consumer_open(), freed by the caller with amochats_consumer_free(). Any thread may use it.
 *
 * There are three ways to receive: amochats_consumer_next() that waits; amochats_consumer_fd() in a
 * loop of the caller's, with amochats_consumer_next() that does not wait, or with
 * amochats_consumer_dispatch(); and a handler on a thread of the library.
 */
typedef struct amochats_consumer amochats_consumer;

/**
 * How a consumer works. Made by amochats_consumer_options_new(), freed by the caller with
 * amochats_consumer_options_free(). Not for several threads at once.
 */
typedef struct amochats_consumer_options amochats_consumer_options;

/**
 * A call of the CRM's API. Made by a function for each call, freed by the caller with
 * amochats_crm_call_free(). Any thread may use it, and more than once.
 *
 * amochats_crm_client_call() and amochats_crm_client_call_async() make it. A program with an HTTP stack of its
 * own sends amochats_crm_call_method(), amochats_crm_call_path() and amochats_crm_call_body() to the account's
 * host, and reads the answer with amochats_crm_call_parse().
 *
 * Lists of things go in as JSON with the names of the vendor's pages. An answer that is a list is a page,
 * {"items": [...], "has_next"}; fields that the vendor added since are in it.
 */
typedef struct amochats_crm_call amochats_crm_call;

/**
 * Calls the CRM's API for one account, with threads of its own. Made by amochats_crm_client_open(), ended by
 * amochats_crm_client_close(), freed by the caller with amochats_crm_client_free(). Any thread may use it. After
 * a fork() it works in the parent alone.
 *
 * What only reads is sent again where that may help; nothing else is, since it would be done twice. A call that
 * is answered 401 is sent once more with new tokens, where there is a token store.
 */
typedef struct amochats_crm_client amochats_crm_client;

/**
 * An integration, as OAuth knows it. Made by amochats_crm_integration_new(), freed by the caller with
 * amochats_crm_integration_free(). Never changes: any thread may use it.
 */
typedef struct amochats_crm_integration amochats_crm_integration;

/**
 * Where an account is, what opens it and how to call it. Made by amochats_crm_options_new(), freed by the
 * caller with amochats_crm_options_free(). Not for several threads at once.
 */
typedef struct amochats_crm_options amochats_crm_options;

/**
 * Takes the tokens that a token store kept, see amochats_crm_tokens_give(). It ends with the callback.
 */
typedef struct amochats_crm_tokens amochats_crm_tokens;

/**
 * An event, handed out to one consumer until it is settled or its lease ends. Made by
 * amochats_consumer_next() or given to a handler, freed with amochats_delivery_free().
 *
 * Any thread may read and settle it; of several that settle, one succeeds. A second settlement is
 * AMOCHATS_RESULT_MISUSE.
 */
typedef struct amochats_delivery amochats_delivery;

/**
 * Tells why a call failed. Made by the call, freed by the caller with amochats_error_free().
 * Never changes: any thread may read it.
 */
typedef struct amochats_error amochats_error;

/**
 * An event that is kept: a webhook, a message that was fetched from the history, or the end of a call
 * of the outbox. Never changes: any thread may read it. What its functions return ends with it.
 */
typedef struct amochats_event amochats_event;

/**
 * Which events, and from where on: for amochats_subscription_create(), amochats_inbox_replay() and
 * amochats_summary_query_set_filter(). Made by amochats_filter_new(), freed by the caller with
 * amochats_filter_free(). Not for several threads at once.
 */
typedef struct amochats_filter amochats_filter;

/**
 * A message, built field by field; what is missing or wrong is told when it is used. Made by
 * amochats_message_new(), freed by the caller with amochats_message_free(). What it is given is copied. Not
 * for several threads at once while it is being changed.
 */
typedef struct amochats_message amochats_message;

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
 * Which events to list, in which order: for amochats_inbox_list_summaries(). Made by
 * amochats_summary_query_new(), freed by the caller with amochats_summary_query_free(). Not for several threads
 * at once.
 */
typedef struct amochats_summary_query amochats_summary_query;

/**
 * Cancels one call. Made by a call that does not wait, freed by the caller with
 * amochats_token_free(), before or after the callback. Any thread may use it.
 */
typedef struct amochats_token amochats_token;

/**
 * Somebody in a chat, to be named in a message. Made by amochats_user_new(), freed by the caller with
 * amochats_user_free(). Not for several threads at once while it is being changed.
 */
typedef struct amochats_user amochats_user;

/**
 * An answer, an item or a list: a tree of named values, as JSON has them, with the stable names
 * that the command line and Python show.
 *
 * One that a call wrote belongs to the caller, who frees it with amochats_value_free(). One that
 * was asked of another object (its type is const) ends with that object. Never changes: any thread
 * may read it. Every function takes NULL and answers that there is nothing, so that questions can be
 * put into each other.
 */
typedef struct amochats_value amochats_value;

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

/**
 * Receives lines of the log, on threads of the library and of the callers, several at once. The
 * target is the part of the library that speaks. The texts end with the call. No line holds a secret,
 * a message text, a phone or an e-mail. It must return soon, and may call nothing that blocks.
 */
typedef void (*amochats_log_callback)(void *user_data,
                                      amochats_level level,
                                      amochats_slice target,
                                      amochats_slice message);

/**
 * Is told once how a call ended, see amochats_client_call_async().
 *
 * `value` is the answer where there is one, else NULL; `error` says why where the result is not
 * AMOCHATS_RESULT_OK. Both end with the callback. It must return soon, and may call nothing that
 * blocks: that is AMOCHATS_RESULT_MISUSE.
 */
typedef void (*amochats_callback)(void *user_data,
                                  amochats_result result,
                                  const amochats_value *value,
                                  const amochats_error *error);

/**
 * Receives deliveries, one at a time, and returns an amochats_verdict. It may call nothing that
 * blocks. A number that is none counts as AMOCHATS_VERDICT_NACK.
 */
typedef uint32_t (*amochats_handler)(void *user_data, amochats_delivery *delivery);

/**
 * Decides who may connect an account: returns an amochats_decision. Any other number is
 * AMOCHATS_DECISION_UNAVAILABLE.
 *
 * The attempt is {"login", "password", "client_id", "crm_account_id", "crm_user_id", "origin",
 * "account_id", "peer"}. The CRM has vouched for the account and its user, and nobody yet for login and
 * password. It ends with the callback, which is called on threads of the library, several at once; it has
 * 5 s and may wait, but not for the library: that is AMOCHATS_RESULT_MISUSE. An unknown login and a wrong
 * password are both refused, and should take the same time.
 */
typedef uint32_t (*amochats_authorizer)(void *user_data, const amochats_value *attempt);

/**
 * Gives back what was kept last: passes it to amochats_crm_tokens_give(), and returns whether it could. Called
 * on threads of the library; it may wait, but not for the library: that is AMOCHATS_RESULT_MISUSE.
 */
typedef bool (*amochats_crm_load)(void *user_data, amochats_crm_tokens *tokens);

/**
 * Keeps tokens durably, in place of the last, and returns whether it could: they are used only then, and
 * otherwise given to it again with the next call that needs them. `tokens` is JSON, which ends with the callback
 * and lets who has it act for the integration. Called as amochats_crm_load is.
 */
typedef bool (*amochats_crm_store)(void *user_data, amochats_slice tokens);

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
 * Returns the same as values, for what has no function of its own: "tag", "markup" with its buttons,
 * "template", "reply_to", "forwards", "post" and "extra", which holds what was not understood. It
 * ends with the webhook.
 */
const amochats_value *amochats_webhook_value(const amochats_webhook *webhook);

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

/**
 * Returns the field of this name; NULL where there is none.
 */
const amochats_value *amochats_value_get(const amochats_value *object, amochats_slice name);

/**
 * Returns how many elements a list or fields an object has; 0 for anything else.
 */
size_t amochats_value_count(const amochats_value *list);

/**
 * Returns an element of a list, or a field of an object, by its place from 0 on; NULL beyond the end.
 */
const amochats_value *amochats_value_at(const amochats_value *list,
                                        size_t place);

/**
 * Returns the name of an object's field by its place from 0 on; nothing beyond the end.
 */
amochats_slice amochats_value_name_at(const amochats_value *object, size_t place);

/**
 * Returns the text; nothing where it is none.
 */
amochats_slice amochats_value_text(const amochats_value *text);

/**
 * Writes a whole number. Returns whether it is one.
 */
bool amochats_value_integer(const amochats_value *number, int64_t *integer);

/**
 * Writes a number. Returns whether it is one.
 */
bool amochats_value_real(const amochats_value *number, double *real);

/**
 * Writes whether it is true. Returns whether it is true or false at all.
 */
bool amochats_value_boolean(const amochats_value *truth, bool *boolean);

/**
 * Returns it as JSON, with all that is in it; nothing for NULL.
 */
amochats_slice amochats_value_json(const amochats_value *any);

/**
 * Frees a value that belongs to the caller; NULL is nothing to do.
 */
void amochats_value_free(amochats_value *owned);

/**
 * Names somebody, by the integration's id; NULL where an argument is not UTF-8.
 */
amochats_user *amochats_user_new(amochats_slice user_id, amochats_slice name);

/**
 * Sets amoCRM's id: of a manager or of the channel's bot where these write, see
 * amochats_message_set_receiver().
 */
amochats_result amochats_user_set_ref_id(amochats_user *user,
                                         amochats_slice user_ref_id,
                                         amochats_error **error);

/**
 * Sets the address of a picture of them.
 */
amochats_result amochats_user_set_avatar(amochats_user *user,
                                         amochats_slice url,
                                         amochats_error **error);

/**
 * Sets the phone.
 */
amochats_result amochats_user_set_phone(amochats_user *user,
                                        amochats_slice phone,
                                        amochats_error **error);

/**
 * Sets the e-mail address.
 */
amochats_result amochats_user_set_email(amochats_user *user,
                                        amochats_slice email,
                                        amochats_error **error);

/**
 * Sets the address of their page.
 */
amochats_result amochats_user_set_profile_link(amochats_user *user,
                                               amochats_slice url,
                                               amochats_error **error);

/**
 * Frees a user; messages that name them keep their copy. NULL is nothing to do.
 */
void amochats_user_free(amochats_user *user);

/**
 * Begins a message with its own id in a chat of the integration's id; NULL where an argument is not UTF-8.
 * Either may be empty in a message that is only quoted.
 */
amochats_message *amochats_message_new(amochats_slice conversation_id,
                                       amochats_slice message_id);

/**
 * Sets amoCRM's id of the chat, which is enough where the chat is known.
 */
amochats_result amochats_message_set_conversation_ref_id(amochats_message *message,
                                                         amochats_slice conversation_ref_id,
                                                         amochats_error **error);

/**
 * Sets amoCRM's id of the message, for amochats_call_edit_message() alone.
 */
amochats_result amochats_message_set_message_ref_id(amochats_message *message,
                                                    amochats_slice message_ref_id,
                                                    amochats_error **error);

/**
 * Sets when it was written, in Unix milliseconds; when it is used unless set. Within a chat times should
 * rise: the CRM orders by them.
 */
void amochats_message_set_sent_at_msec(amochats_message *message,
                                       int64_t sent_at_msec);

/**
 * Sets who wrote it: the client, or with a receiver a manager or bot.
 */
amochats_result amochats_message_set_sender(amochats_message *message,
                                            const amochats_user *sender,
                                            amochats_error **error);

/**
 * Sets the client it was written to, for a message that a manager or bot wrote in the messenger; the
 * sender then needs a ref id.
 */
amochats_result amochats_message_set_receiver(amochats_message *message,
                                              const amochats_user *receiver,
                                              amochats_error **error);

/**
 * Shows it without a notification.
 */
void amochats_message_set_silent(amochats_message *message, bool silent);

/**
 * Sets the source it came by, by the source's external id.
 */
amochats_result amochats_message_set_source(amochats_message *message,
                                            amochats_slice external_id,
                                            amochats_error **error);

/**
 * Says which button or row of a list the client chose; goes with text.
 */
amochats_result amochats_message_set_callback_data(amochats_message *message,
                                                   amochats_slice data,
                                                   amochats_error **error);

/**
 * Makes it a text.
 */
amochats_result amochats_message_set_text(amochats_message *message,
                                          amochats_slice said,
                                          amochats_error **error);

/**
 * Makes it an attachment of the kind `media`, an amochats_media, at a public address, which may be empty in
 * an edit and in a quoted message alone.
 */
amochats_result amochats_message_set_media(amochats_message *message,
                                           uint32_t media,
                                           amochats_slice url,
                                           amochats_error **error);

/**
 * Sets the file's name, of an attachment.
 */
amochats_result amochats_message_set_file_name(amochats_message *message,
                                               amochats_slice file_name,
                                               amochats_error **error);

/**
 * Sets the file's size in bytes, of an attachment.
 */
amochats_result amochats_message_set_file_size(amochats_message *message,
                                               uint64_t bytes,
                                               amochats_error **error);

/**
 * Sets how long it plays, in seconds, of an attachment.
 */
amochats_result amochats_message_set_duration(amochats_message *message,
                                              uint64_t seconds,
                                              amochats_error **error);

/**
 * Sets the sticker's id, of a sticker.
 */
amochats_result amochats_message_set_sticker_id(amochats_message *message,
                                                amochats_slice sticker_id,
                                                amochats_error **error);

/**
 * Sets the text beside an attachment, a location or a contact.
 */
amochats_result amochats_message_set_caption(amochats_message *message,
                                             amochats_slice caption,
                                             amochats_error **error);

/**
 * Makes it a place on the map, in degrees.
 */
amochats_result amochats_message_set_location(amochats_message *message,
                                              double longitude,
                                              double latitude,
                                              amochats_error **error);

/**
 * Makes it a contact: a name and a phone.
 */
amochats_result amochats_message_set_contact(amochats_message *message,
                                             amochats_slice name,
                                             amochats_slice phone,
                                             amochats_error **error);

/**
 * Makes it a reply to a message, by the integration's id of it or, where that is empty, amoCRM's.
 */
amochats_result amochats_message_set_reply_to(amochats_message *message,
                                              amochats_slice message_id,
                                              amochats_slice message_ref_id,
                                              amochats_error **error);

/**
 * Makes it a reply to a message that the CRM does not know, which is described: its sender, its time and its
 * content count.
 */
amochats_result amochats_message_set_reply_to_described(amochats_message *message,
                                                        const amochats_message *quoted,
                                                        amochats_error **error);

/**
 * Makes it a forwarded message, by the integration's id of the original or, where that is empty, amoCRM's;
 * of the chat it is from likewise, where both may be empty.
 */
amochats_result amochats_message_set_forward(amochats_message *message,
                                             amochats_slice message_id,
                                             amochats_slice message_ref_id,
                                             amochats_slice conversation_id,
                                             amochats_slice conversation_ref_id,
                                             amochats_error **error);

/**
 * Makes it a forwarded message that the CRM does not know, which is described: its sender, its time and its
 * content count.
 */
amochats_result amochats_message_set_forward_described(amochats_message *message,
                                                       const amochats_message *quoted,
                                                       amochats_error **error);

/**
 * Makes it a comment on a post, by the post's id and address; the others may be empty.
 */
amochats_result amochats_message_set_post(amochats_message *message,
                                          amochats_slice id,
                                          amochats_slice url,
                                          amochats_slice preview_url,
                                          amochats_slice preview_permalink,
                                          amochats_slice username,
                                          amochats_slice caption,
                                          amochats_error **error);

/**
 * Shows a post that was shared, by its address; the others may be empty.
 */
amochats_result amochats_message_set_shared_post(amochats_message *message,
                                                 amochats_slice url,
                                                 amochats_slice preview_link,
                                                 amochats_slice preview_permalink,
                                                 amochats_slice site_name,
                                                 amochats_error **error);

/**
 * Checks the message by all rules that the vendor documents, and writes the body to sign and send.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, where it breaks a rule.
 */
amochats_result amochats_message_json(const amochats_message *message,
                                      amochats_buffer **body,
                                      amochats_error **error);

/**
 * Frees a message; NULL is nothing to do.
 */
void amochats_message_free(amochats_message *message);

/**
 * Cancels the call: its callback is still called once, with AMOCHATS_RESULT_CANCELLED unless the call
 * ended before. What was sent may have had its effect. NULL is nothing to do.
 */
void amochats_token_cancel(const amochats_token *token);

/**
 * Frees a token; the call goes on. NULL is nothing to do.
 */
void amochats_token_free(amochats_token *token);

/**
 * Connects the channel to an account, by the account's amojo id. `title`, which may be empty, is the
 * channel's name there, which Kommo wants; `hook_version` is "v2" unless "v1" is given. The answer is
 * {"account_id", "scope_id", "title", "hook_api_version", "is_time_window_disabled"}.
 */
amochats_result amochats_call_connect(amochats_slice account_id,
                                      amochats_slice title,
                                      amochats_slice hook_version,
                                      amochats_call **call,
                                      amochats_error **error);

/**
 * Disconnects the channel from an account: no more webhooks come from it. There is no answer.
 */
amochats_result amochats_call_disconnect(amochats_slice account_id,
                                         amochats_call **call,
                                         amochats_error **error);

/**
 * Creates a chat with its client, without a message. `source`, which may be empty, is the source's external
 * id. The answer is {"conversation_ref_id", "user"}.
 */
amochats_result amochats_call_create_chat(amochats_slice scope_id,
                                          amochats_slice conversation_id,
                                          const amochats_user *user,
                                          amochats_slice source,
                                          amochats_call **call,
                                          amochats_error **error);

/**
 * Sends a message to the CRM. The answer is {"message_ref_id", "message_id", "conversation_ref_id",
 * "sender_ref_id", "receiver_ref_id"}.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, for a message that breaks a rule.
 */
amochats_result amochats_call_send_message(amochats_slice scope_id,
                                           const amochats_message *message,
                                           amochats_call **call,
                                           amochats_error **error);

/**
 * Changes a message that was sent before: the content of `message` takes the place of what it was, of the
 * message with its message id or, where that is empty, its message ref id. The answer is as for
 * amochats_call_send_message(), perhaps without ids.
 */
amochats_result amochats_call_edit_message(amochats_slice scope_id,
                                           const amochats_message *message,
                                           amochats_call **call,
                                           amochats_error **error);

/**
 * Reports what became of a message from the CRM, by amoCRM's id of it: `status` 1 delivered, 2 read, -1
 * failed with `error_code` 901 (deleted), 902 (integration disabled), 903 (internal error), 904 (cannot
 * create the conversation) or 905 (other, with a text). `conversation_ref_id`, which may be empty, keeps a
 * report of the outbox in its place among the conversation's calls. There is no answer.
 */
amochats_result amochats_call_set_delivery_status(amochats_slice scope_id,
                                                  amochats_slice message_ref_id,
                                                  amochats_slice conversation_ref_id,
                                                  int32_t status,
                                                  uint32_t error_code,
                                                  amochats_slice error_text,
                                                  amochats_call **call,
                                                  amochats_error **error);

/**
 * Reads a page of a chat's history, the newest message first, by amoCRM's id of it: `limit` messages, 1 to
 * 50, from `offset` on. The answer is {"messages": [...]}.
 */
amochats_result amochats_call_history(amochats_slice scope_id,
                                      amochats_slice conversation_ref_id,
                                      uint64_t offset,
                                      uint32_t limit,
                                      amochats_call **call,
                                      amochats_error **error);

/**
 * Shows the CRM users that a client is typing, for `duration_ms`, or as long as the service likes where it
 * is 0. There is no answer.
 */
amochats_result amochats_call_send_typing(amochats_slice scope_id,
                                          amochats_slice conversation_id,
                                          amochats_slice user_id,
                                          uint32_t duration_ms,
                                          amochats_call **call,
                                          amochats_error **error);

/**
 * Adds a reaction to a message, or takes it back where `emoji` is empty. Of each thing one id is enough,
 * ours or amoCRM's; the other may be empty. There is no answer.
 */
amochats_result amochats_call_react(amochats_slice scope_id,
                                    amochats_slice conversation_id,
                                    amochats_slice conversation_ref_id,
                                    amochats_slice message_id,
                                    amochats_slice message_ref_id,
                                    amochats_slice user_id,
                                    amochats_slice user_ref_id,
                                    amochats_slice emoji,
                                    amochats_call **call,
                                    amochats_error **error);

/**
 * Reads a call from its name and the vendor's JSON: "send_message", "edit_message", "create_chat",
 * "set_delivery_status" (which alone needs `message_ref_id`), "react" or "send_typing". The way for whatever
 * has no function here.
 */
amochats_result amochats_call_from_json(amochats_slice name,
                                        amochats_slice scope_id,
                                        amochats_slice json,
                                        amochats_slice message_ref_id,
                                        amochats_call **call,
                                        amochats_error **error);

/**
 * Frees a call; what was begun with it goes on. NULL is nothing to do.
 */
void amochats_call_free(amochats_call *call);

/**
 * Makes options with the defaults: amoCRM's service in Russia, one thread.
 */
amochats_client_options *amochats_client_options_new(void);

/**
 * Says where the service is: "ru", "kommo" or "com", or an address such as a sandbox's.
 */
amochats_result amochats_client_options_set_service(amochats_client_options *options,
                                                    amochats_slice service,
                                                    amochats_error **error);

/**
 * Sets how long one request may take.
 */
void amochats_client_options_set_timeout_ms(amochats_client_options *options, uint64_t timeout_ms);

/**
 * Sets how long a call may take with all its waiting and repeats.
 */
void amochats_client_options_set_deadline_ms(amochats_client_options *options,
                                             uint64_t deadline_ms);

/**
 * Sets how many requests of a scope go out a second; 0 is without limit. 7 unless set.
 */
void amochats_client_options_set_requests_per_second(amochats_client_options *options,
                                                     uint32_t requests);

/**
 * Signs the body alone, as the first generation of the service wants.
 */
void amochats_client_options_set_body_signature_only(amochats_client_options *options,
                                                     bool body_only);

/**
 * Sends each call once: the caller repeats what is safe to repeat.
 */
void amochats_client_options_set_send_once(amochats_client_options *options, bool once);

/**
 * Trusts one more root certificate, in PEM, such as a proxy's.
 */
amochats_result amochats_client_options_add_root_certificate(amochats_client_options *options,
                                                             amochats_slice pem,
                                                             amochats_error **error);

/**
 * Sets how many threads work, 1 to 64; 1 unless set.
 */
amochats_result amochats_client_options_set_threads(amochats_client_options *options,
                                                    uint32_t threads,
                                                    amochats_error **error);

/**
 * Sends the log there, see amochats_config_set_log().
 */
void amochats_client_options_set_log(amochats_client_options *options,
                                     uint32_t level,
                                     amochats_log_callback callback,
                                     void *user_data);

/**
 * Frees options; NULL is nothing to do.
 */
void amochats_client_options_free(amochats_client_options *options);

/**
 * Makes a client for a channel, by its id and secret. `options` may be NULL.
 */
amochats_result amochats_client_open(amochats_slice channel_id,
                                     amochats_slice secret,
                                     const amochats_client_options *options,
                                     amochats_client **client,
                                     amochats_error **error);

/**
 * Makes a client of a channel that is open, with its secret; `channel_id` may be empty where one channel is
 * configured. It ends with the channel. The state of accounts that it connects is noted there.
 */
amochats_result amochats_channel_client(const amochats_channel *channel,
                                        amochats_slice channel_id,
                                        amochats_client **client,
                                        amochats_error **error);

/**
 * Makes a call and waits for the answer, which is described at the function that made the call. `answer`
 * may be NULL; NULL is written where there is none.
 *
 * AMOCHATS_RESULT_REJECTED and the others from 200 on as the service says; after
 * AMOCHATS_RESULT_TIMEOUT and AMOCHATS_RESULT_TRANSPORT the call may have had its effect.
 */
amochats_result amochats_client_call(const amochats_client *client,
                                     const amochats_call *call,
                                     int64_t timeout_ms,
                                     amochats_value **answer,
                                     amochats_error **error);

/**
 * Makes a call without waiting. What is wrong with the arguments is returned, and then nobody is called
 * back. After AMOCHATS_RESULT_OK `callback` is called exactly once: on a thread of the library, or in
 * amochats_consumer_dispatch() where amochats_channel_set_dispatcher() says so; never inside this call, but
 * perhaps before it returns; with AMOCHATS_RESULT_CANCELLED after amochats_token_cancel() and when the client
 * or its channel is closed. After amochats_channel_close() or, for a client of its own,
 * amochats_client_free() has returned, none comes.
 *
 * What the call is given is copied: only `user_data` must live on. `callback` may be NULL. `token`, which may
 * be NULL, is to be freed with amochats_token_free().
 */
amochats_result amochats_client_call_async(const amochats_client *client,
                                           const amochats_call *call,
                                           amochats_callback callback,
                                           void *user_data,
                                           amochats_token **token,
                                           amochats_error **error);

/**
 * Frees a client. One with threads of its own ends them, within 5 s; its calls that do not wait are called
 * back with AMOCHATS_RESULT_CANCELLED before. In a callback it does nothing, since it would wait for itself.
 * NULL is nothing to do.
 */
void amochats_client_free(amochats_client *client);

/**
 * Makes a configuration with the defaults and without a channel.
 */
amochats_config *amochats_config_new(void);

/**
 * Takes a configuration in TOML in place of what was set before, in the form that
 * `amochats config example` prints. What the other functions set after it wins.
 *
 * AMOCHATS_RESULT_CONFIG_INVALID, with the line, where it is not TOML; keys and values are checked by
 * amochats_channel_open(). The process's environment is not looked at.
 */
amochats_result amochats_config_set_toml(amochats_config *config,
                                         amochats_slice toml,
                                         amochats_error **error);

/**
 * Reads a file as amochats_config_set_toml() takes text.
 *
 * AMOCHATS_RESULT_CONFIG_INVALID also where it cannot be read.
 */
amochats_result amochats_config_load(amochats_config *config,
                                     amochats_slice path,
                                     amochats_error **error);

/**
 * Sets a key of a section, such as "listener.address", "store.path" or "inbox.max_attempts", by its
 * value as text.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for a key without a section. Whether it is known is checked by
 * amochats_channel_open().
 */
amochats_result amochats_config_set(amochats_config *config,
                                    amochats_slice key,
                                    amochats_slice to,
                                    amochats_error **error);

/**
 * Adds a channel, as the vendor's support registered it. `service` says where its chats API is: "ru",
 * "kommo" or "com", or an address such as a sandbox's.
 */
amochats_result amochats_config_add_channel(amochats_config *config,
                                            amochats_slice channel_id,
                                            amochats_slice secret,
                                            amochats_slice service,
                                            amochats_error **error);

/**
 * Sets how many threads work, 1 to 64; 2 unless set. The store and slow look-ups have a few more.
 */
amochats_result amochats_config_set_threads(amochats_config *config,
                                            uint32_t threads,
                                            amochats_error **error);

/**
 * Sends the log there: lines of this amochats_level and those that matter more. A callback of NULL is no log.
 * It is called until amochats_channel_close() has returned.
 */
void amochats_config_set_log(amochats_config *config,
                             uint32_t level,
                             amochats_log_callback callback,
                             void *user_data);

/**
 * Frees a configuration; NULL is nothing to do.
 */
void amochats_config_free(amochats_config *config);

/**
 * Opens the channel: the store, the listener and all that works behind them. What a process left
 * undone, also one that was killed, goes on.
 *
 * AMOCHATS_RESULT_CONFIG_INVALID, with the key, for a configuration that cannot be used or an address
 * that is taken; AMOCHATS_RESULT_STORE_LOCKED where another process, or this one, has the store open;
 * AMOCHATS_RESULT_STORE_FAILED and AMOCHATS_RESULT_STORE_FULL.
 */
amochats_result amochats_channel_open(const amochats_config *config,
                                      int64_t timeout_ms,
                                      amochats_channel **channel,
                                      amochats_error **error);

/**
 * Ends the channel: webhooks in flight are answered, what is on the wire is waited for, calls that do
 * not wait are called back with AMOCHATS_RESULT_CANCELLED, consumers end and give back what they hold,
 * the store is closed. Then no thread of the channel remains and no callback comes any more. Whatever
 * belongs to the channel returns AMOCHATS_RESULT_CLOSED from now on. Closed before, it is
 * AMOCHATS_RESULT_OK.
 *
 * AMOCHATS_RESULT_TIMEOUT where something was cut off, perhaps a callback that does not return; what was
 * kept is kept. AMOCHATS_RESULT_MISUSE inside a callback.
 */
amochats_result amochats_channel_close(const amochats_channel *channel,
                                       int64_t timeout_ms,
                                       amochats_error **error);

/**
 * Closes the channel within 5 s where it is not closed, and frees it. Its consumers, deliveries and
 * clients may be freed before or after it. In a callback it does nothing, since it would wait for
 * itself. NULL is nothing to do.
 */
void amochats_channel_free(amochats_channel *channel);

/**
 * Returns where webhooks arrive, as "127.0.0.1:8080", with the port that was picked for port 0. It ends
 * with the channel.
 */
amochats_slice amochats_channel_listener_address(const amochats_channel *channel);

/**
 * Returns where /healthz, /readyz and /metrics are, likewise.
 */
amochats_slice amochats_channel_admin_address(const amochats_channel *channel);

/**
 * Takes in a webhook that another HTTP server received: verifies it, keeps it durably and only then
 * returns. `scope_id` is the last part of the address, `signature` the X-Signature header (nothing
 * where there is none), `body` the bytes as they came. `ingested` may be NULL.
 *
 * What is genuine is never refused for its content. AMOCHATS_RESULT_UNKNOWN_CHANNEL: answer 404;
 * AMOCHATS_RESULT_SIGNATURE_MISSING, AMOCHATS_RESULT_SIGNATURE_MISMATCH: answer 401; anything else:
 * answer 503, it is not promised to be kept. The vendor waits 5 s, so let `timeout_ms` be 4000.
 */
amochats_result amochats_channel_ingest(const amochats_channel *channel,
                                        amochats_slice scope_id,
                                        amochats_slice signature,
                                        amochats_slice body,
                                        int64_t timeout_ms,
                                        amochats_ingested *ingested,
                                        amochats_error **error);

/**
 * Takes in a webhook without waiting, see amochats_channel_ingest() and amochats_client_call_async(). The
 * value is {"ingested": "kept", "event_id": ...}, or "duplicate" or "live".
 */
amochats_result amochats_channel_ingest_async(const amochats_channel *channel,
                                              amochats_slice scope_id,
                                              amochats_slice signature,
                                              amochats_slice body,
                                              amochats_callback callback,
                                              void *user_data,
                                              amochats_token **token,
                                              amochats_error **error);

/**
 * Sends the completions of calls that do not wait, of this channel and its clients, to a consumer:
 * amochats_consumer_dispatch() runs them on the caller's thread, in place of a thread of the library.
 * Those of calls that begin after this; until the consumer is freed.
 */
amochats_result amochats_channel_set_dispatcher(const amochats_channel *channel,
                                                const amochats_consumer *consumer,
                                                amochats_error **error);

/**
 * Writes what is counted, in the form that Prometheus reads, as /metrics shows it.
 */
amochats_result amochats_channel_metrics(const amochats_channel *channel,
                                         int64_t timeout_ms,
                                         amochats_buffer **text,
                                         amochats_error **error);

/**
 * Checks that the channel can keep webhooks: AMOCHATS_RESULT_OK, or what keeps it from that.
 */
amochats_result amochats_channel_health(const amochats_channel *channel,
                                        int64_t timeout_ms,
                                        amochats_error **error);

/**
 * Writes the accounts that are known, a list of {"scope_id", "state", "since_msec", "checked_at_msec",
 * "problem", "title", "hook_version", "heard_at_msec"}. The state is "discovered" (a webhook came),
 * "connected", "disconnected" or "disabled". Waits for nothing.
 */
amochats_result amochats_channel_accounts(const amochats_channel *channel,
                                          amochats_value **accounts,
                                          amochats_error **error);

/**
 * Forgets an account. Its next webhook makes it known again.
 *
 * AMOCHATS_RESULT_NOT_FOUND where it is not known.
 */
amochats_result amochats_channel_forget_account(const amochats_channel *channel,
                                                amochats_slice scope_id,
                                                int64_t timeout_ms,
                                                amochats_error **error);

/**
 * Begins to fetch from the history what no webhook brought, of every known conversation. `progress`,
 * which may be NULL, is as amochats_backfill_progress() writes it.
 */
amochats_result amochats_backfill_start(const amochats_channel *channel,
                                        int64_t timeout_ms,
                                        amochats_value **progress,
                                        amochats_error **error);

/**
 * Writes how far the backfill is: {"running", "pending", "read", "failed", "appended"}, all but the
 * first counts: of conversations, and of events that were kept.
 */
amochats_result amochats_backfill_progress(const amochats_channel *channel,
                                           int64_t timeout_ms,
                                           amochats_value **progress,
                                           amochats_error **error);

/**
 * Returns the event's id, unique among stores.
 */
amochats_slice amochats_event_id(const amochats_event *event);

/**
 * Returns the kind as a word: "message", "typing", "reaction", "unknown", or "outbox" for the end of
 * a call.
 */
amochats_slice amochats_event_kind_name(const amochats_event *event);

/**
 * Returns the channel it came for.
 */
amochats_slice amochats_event_channel_id(const amochats_event *event);

/**
 * Returns the account inside the chat service.
 */
amochats_slice amochats_event_account_id(const amochats_event *event);

/**
 * Returns the connection of channel and account, which calls name.
 */
amochats_slice amochats_event_scope_id(const amochats_event *event);

/**
 * Returns how it came: "webhook", "backfill" or "outbox".
 */
amochats_slice amochats_event_origin(const amochats_event *event);

/**
 * Returns when it was received, in Unix milliseconds; 0 for NULL.
 */
int64_t amochats_event_received_at_msec(const amochats_event *event);

/**
 * Returns whether the account's message id was seen before, with other content.
 */
bool amochats_event_is_conflicting_duplicate(const amochats_event *event);

/**
 * Returns the body exactly as it was received, which need not be JSON.
 */
amochats_slice amochats_event_raw(const amochats_event *event);

/**
 * Returns the webhook, taken apart: ids of both sides, texts, attachments, people. Of the end of a
 * call, NULL.
 */
const amochats_webhook *amochats_event_webhook(const amochats_event *event);

/**
 * Returns the item of the outbox whose end it tells, see amochats_outbox_get(); else NULL.
 */
const amochats_value *amochats_event_item(const amochats_event *event);

/**
 * Returns all of it as one JSON object, with the stable names that the command line and Python show.
 */
amochats_slice amochats_event_json(const amochats_event *event);

/**
 * Frees an event that belongs to the caller, see amochats_inbox_get_event(); never one that belongs to
 * a delivery. NULL is nothing to do.
 */
void amochats_event_free(amochats_event *event);

/**
 * Returns what the event says; it ends with the delivery.
 */
const amochats_event *amochats_delivery_event(const amochats_delivery *delivery);

/**
 * Returns which time it is handed out, from 1 on; 0 for NULL.
 */
uint32_t amochats_delivery_attempt(const amochats_delivery *delivery);

/**
 * Returns whether it was replayed or requeued, so that it is out of its order.
 */
bool amochats_delivery_is_again(const amochats_delivery *delivery);

/**
 * Returns whether it is not kept, as typing: nobody waits for its settlement, which does nothing.
 */
bool amochats_delivery_is_live(const amochats_delivery *delivery);

/**
 * Acknowledges it. AMOCHATS_RESULT_OK means that this is on the disk: it never comes back.
 *
 * `status` other than 0 reports to the CRM, in the same transaction, what became of the message: 1
 * delivered, 2 read, -1 failed, with `error_code` 901 to 905 and its text, see
 * amochats_call_set_delivery_status(). The outbox sends the report.
 *
 * AMOCHATS_RESULT_LEASE_LOST where the lease ended: it is handed out again. After
 * AMOCHATS_RESULT_TIMEOUT it may be settled.
 */
amochats_result amochats_delivery_ack(const amochats_delivery *delivery,
                                      int32_t status,
                                      uint32_t error_code,
                                      amochats_slice error_text,
                                      int64_t timeout_ms,
                                      amochats_error **error);

/**
 * Refuses it, so that it is handed out again after `delay_ms`; negative is a delay that grows with
 * each attempt. Its conversation waits with it. After the last attempt it becomes a dead letter.
 */
amochats_result amochats_delivery_nack(const amochats_delivery *delivery,
                                       int64_t delay_ms,
                                       int64_t timeout_ms,
                                       amochats_error **error);

/**
 * Gives it up: it becomes a dead letter.
 */
amochats_result amochats_delivery_dead(const amochats_delivery *delivery,
                                       int64_t timeout_ms,
                                       amochats_error **error);

/**
 * Acknowledges it without waiting, see amochats_delivery_ack() and amochats_client_call_async(). The
 * value is the report's item of the outbox, where there is one. The delivery may be freed at once.
 */
amochats_result amochats_delivery_ack_async(const amochats_delivery *delivery,
                                            int32_t status,
                                            uint32_t error_code,
                                            amochats_slice error_text,
                                            amochats_callback callback,
                                            void *user_data,
                                            amochats_token **token,
                                            amochats_error **error);

/**
 * Refuses it without waiting, see amochats_delivery_nack() and amochats_client_call_async().
 */
amochats_result amochats_delivery_nack_async(const amochats_delivery *delivery,
                                             int64_t delay_ms,
                                             amochats_callback callback,
                                             void *user_data,
                                             amochats_token **token,
                                             amochats_error **error);

/**
 * Gives it up without waiting, see amochats_delivery_dead() and amochats_client_call_async().
 */
amochats_result amochats_delivery_dead_async(const amochats_delivery *delivery,
                                             amochats_callback callback,
                                             void *user_data,
                                             amochats_token **token,
                                             amochats_error **error);

/**
 * Gives it more time, from now on: 1 s to 12 h. Waits for nothing.
 */
amochats_result amochats_delivery_extend(const amochats_delivery *delivery,
                                         uint64_t lease_ms,
                                         amochats_error **error);

/**
 * Frees a delivery. One that was not settled stays leased: it is handed out again when its lease ends
 * or its consumer is closed. NULL is nothing to do.
 */
void amochats_delivery_free(amochats_delivery *delivery);

/**
 * Makes options with the defaults: at most 100 unsettled deliveries, leases of 60 s.
 */
amochats_consumer_options *amochats_consumer_options_new(void);

/**
 * Sets the most deliveries that may be unsettled at a time, 1 to 10000; those that wait in the
 * consumer count.
 */
void amochats_consumer_options_set_max_outstanding(amochats_consumer_options *options,
                                                   uint32_t max);

/**
 * Sets the most bytes of bodies that may be unsettled at a time, 1 or more; of one delivery it may be more, or
 * a larger event would never come. At first only their number is bounded.
 */
void amochats_consumer_options_set_max_outstanding_bytes(amochats_consumer_options *options,
                                                         uint64_t max);

/**
 * Sets how long a delivery may stay unsettled before it is handed out again, 1 s to 12 h. It counts
 * from when the consumer got it, so what waits long in the consumer has less.
 */
void amochats_consumer_options_set_lease_ms(amochats_consumer_options *options, uint64_t lease_ms);

/**
 * Makes the subscription, from the oldest event that is kept on, where there is none of its name.
 */
void amochats_consumer_options_set_create(amochats_consumer_options *options, bool create);

/**
 * Gives the consumer a subscription of its own that begins now and leaves no trace; the name must be
 * empty.
 */
void amochats_consumer_options_set_temporary(amochats_consumer_options *options,
                                             bool temporary);

/**
 * Says whether events that are not kept, as typing, are handed out, too; true unless set.
 */
void amochats_consumer_options_set_live(amochats_consumer_options *options, bool live);

/**
 * Runs the handler, and the completions of settlements and calls that
 * amochats_channel_set_dispatcher() sends here, in amochats_consumer_dispatch() alone: no callback comes
 * from a thread of the library.
 */
void amochats_consumer_options_set_dispatch(amochats_consumer_options *options,
                                            bool dispatch);

/**
 * Frees options; NULL is nothing to do.
 */
void amochats_consumer_options_free(amochats_consumer_options *options);

/**
 * Opens a consumer of a subscription. `options` may be NULL.
 *
 * AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND where there is none and it is not to be made.
 */
amochats_result amochats_consumer_open(const amochats_channel *channel,
                                       amochats_slice subscription,
                                       const amochats_consumer_options *options,
                                       int64_t timeout_ms,
                                       amochats_consumer **consumer,
                                       amochats_error **error);

/**
 * Waits for a delivery: `timeout_ms` of 0 does not wait, a negative one waits for ever. Writes NULL
 * where none came in time. The caller settles the delivery and frees it.
 *
 * AMOCHATS_RESULT_CLOSED, again and again, once the consumer or its channel is closed;
 * AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND likewise once the subscription is deleted; after
 * AMOCHATS_RESULT_STORE_FAILED and AMOCHATS_RESULT_STORE_FULL the consumer goes on.
 * AMOCHATS_RESULT_MISUSE where there is a handler. Several threads may wait; each gets its own.
 */
amochats_result amochats_consumer_next(const amochats_consumer *consumer,
                                       int64_t timeout_ms,
                                       amochats_delivery **delivery,
                                       amochats_error **error);

/**
 * Returns a descriptor to wait for with poll(), epoll or an event loop: readable exactly while
 * amochats_consumer_next() would return something without waiting, be it the end, or while
 * amochats_consumer_dispatch() has something to run. Level-triggered. It is the library's: do not read,
 * write or close it; it ends with amochats_consumer_free(). -1 for what is no consumer.
 */
int32_t amochats_consumer_fd(const amochats_consumer *consumer);

/**
 * Has deliveries given to a handler, one at a time, from now on: by a thread of the library, or by
 * amochats_consumer_dispatch() where the options say so. `ended` is called exactly once, after the last
 * delivery, with the error that amochats_consumer_next() would return; it may be NULL.
 *
 * AMOCHATS_RESULT_MISUSE where there is a handler already.
 */
amochats_result amochats_consumer_set_handler(const amochats_consumer *consumer,
                                              amochats_handler handler,
                                              amochats_callback ended,
                                              void *user_data,
                                              amochats_error **error);

/**
 * Runs what waits on this thread, without waiting: completions first, then the handler, for at most
 * `max` of both together. Writes how many it ran; 0 means that nothing waits. After the end the
 * handler's `ended` is run once. `ran` may be NULL.
 *
 * AMOCHATS_RESULT_MISUSE inside a callback. One thread at a time runs the handler of a consumer.
 */
amochats_result amochats_consumer_dispatch(const amochats_consumer *consumer,
                                           uint32_t max,
                                           uint32_t *ran,
                                           amochats_error **error);

/**
 * Ends the consumer: what it holds unsettled is handed out again, as if it had not been, and
 * amochats_consumer_next() returns AMOCHATS_RESULT_CLOSED from now on. Waits until that is done and no
 * handler runs.
 *
 * AMOCHATS_RESULT_MISUSE inside a callback; AMOCHATS_RESULT_TIMEOUT where it ends later than in time.
 */
amochats_result amochats_consumer_close(const amochats_consumer *consumer,
                                        int64_t timeout_ms,
                                        amochats_error **error);

/**
 * Closes the consumer within 5 s where it is not, runs the completions that wait in it on this thread
 * and frees it with its descriptor. Its deliveries stay, and may be freed later. In a callback it does
 * nothing, since it would wait for itself. NULL is nothing to do.
 */
void amochats_consumer_free(amochats_consumer *consumer);

/**
 * Makes a filter that lets everything through but the ends of calls, from the oldest event on.
 */
amochats_filter *amochats_filter_new(void);

/**
 * Lets events of this kind through, and of other kinds only if they are added as well: "message",
 * "typing", "reaction", "unknown", "outbox".
 */
amochats_result amochats_filter_add_kind(amochats_filter *filter,
                                         amochats_slice kind,
                                         amochats_error **error);

/**
 * Lets events of this account through, and of others only if they are added as well.
 */
amochats_result amochats_filter_add_account(amochats_filter *filter,
                                            amochats_slice account_id,
                                            amochats_error **error);

/**
 * Lets events of this connection through, and of others only if they are added as well.
 */
amochats_result amochats_filter_add_scope(amochats_filter *filter,
                                          amochats_slice scope_id,
                                          amochats_error **error);

/**
 * Lets events of this conversation through, by either id, and of others only if they are added as well.
 */
amochats_result amochats_filter_add_conversation(amochats_filter *filter,
                                                 amochats_slice conversation,
                                                 amochats_error **error);

/**
 * Begins after the newest event that is kept.
 */
void amochats_filter_start_now(amochats_filter *filter);

/**
 * Begins at the first event received at or after this time, in Unix milliseconds.
 */
void amochats_filter_start_since_msec(amochats_filter *filter, int64_t since_msec);

/**
 * Begins after the event of this id.
 */
amochats_result amochats_filter_start_after(amochats_filter *filter,
                                            amochats_slice event_id,
                                            amochats_error **error);

/**
 * Frees a filter; NULL is nothing to do.
 */
void amochats_filter_free(amochats_filter *filter);

/**
 * Makes a subscription, unless there is one of that name, which stays as it is. `filter` may be NULL;
 * `created`, which may be NULL, tells whether it is new.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for a name that is not 1 to 64 letters, digits, "-", "_" and ".".
 */
amochats_result amochats_subscription_create(const amochats_channel *channel,
                                             amochats_slice name,
                                             const amochats_filter *filter,
                                             int64_t timeout_ms,
                                             bool *created,
                                             amochats_error **error);

/**
 * Deletes a subscription and all that waits in it; its consumers end.
 *
 * AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
 */
amochats_result amochats_subscription_delete(const amochats_channel *channel,
                                             amochats_slice name,
                                             int64_t timeout_ms,
                                             amochats_error **error);

/**
 * Writes the subscriptions by name, a list of {"name", "created_at_msec", "filter", "unsettled", "dead",
 * "oldest_unsettled_at_msec"}.
 */
amochats_result amochats_subscription_list(const amochats_channel *channel,
                                           int64_t timeout_ms,
                                           amochats_value **subscriptions,
                                           amochats_error **error);

/**
 * Hands events out again that were kept before, from where `filter` begins (NULL: the oldest) and of its
 * scope, if it names one, at the end of a subscription and marked. Writes how many at most, since the
 * subscription's own filter goes for them, too; `count` may be NULL.
 *
 * AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND; AMOCHATS_RESULT_INVALID_ARGUMENT for a filter by anything but
 * one scope, and for an event that is not kept.
 */
amochats_result amochats_inbox_replay(const amochats_channel *channel,
                                      amochats_slice subscription,
                                      const amochats_filter *filter,
                                      int64_t timeout_ms,
                                      uint64_t *count,
                                      amochats_error **error);

/**
 * Writes what a subscription has given up, at most `limit` after the place `after` (0: from the first), a
 * list of {"place", "attempts", "event"}.
 *
 * AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
 */
amochats_result amochats_dead_letters_list(const amochats_channel *channel,
                                           amochats_slice subscription,
                                           int64_t after,
                                           uint32_t limit,
                                           int64_t timeout_ms,
                                           amochats_value **letters,
                                           amochats_error **error);

/**
 * Hands dead letters out again, those at `places` or, where that is NULL, all, at the end of the
 * subscription and marked. Writes how many; `done` may be NULL.
 *
 * AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
 *
 * # Safety
 * `places` must be NULL or point to `count` places.
 */
amochats_result amochats_dead_letters_requeue(const amochats_channel *channel,
                                              amochats_slice subscription,
                                              const int64_t *places,
                                              size_t count,
                                              int64_t timeout_ms,
                                              uint64_t *done,
                                              amochats_error **error);

/**
 * Drops dead letters for good, those at `places` or, where that is NULL, all. Writes how many; `done` may
 * be NULL.
 *
 * AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
 *
 * # Safety
 * `places` must be NULL or point to `count` places.
 */
amochats_result amochats_dead_letters_drop(const amochats_channel *channel,
                                           amochats_slice subscription,
                                           const int64_t *places,
                                           size_t count,
                                           int64_t timeout_ms,
                                           uint64_t *done,
                                           amochats_error **error);

/**
 * Writes an event that is kept, to be freed with amochats_event_free(); NULL where there is none of this
 * id any more.
 */
amochats_result amochats_inbox_get_event(const amochats_channel *channel,
                                         amochats_slice event_id,
                                         int64_t timeout_ms,
                                         amochats_event **event,
                                         amochats_error **error);

/**
 * Writes the events that are kept, oldest first, a list of what amochats_event_json() shows: at most
 * `limit`, after the event `after` and of `scope_id`, where these are not empty.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for an event that is not kept.
 */
amochats_result amochats_inbox_list_events(const amochats_channel *channel,
                                           amochats_slice after,
                                           amochats_slice scope_id,
                                           uint32_t limit,
                                           int64_t timeout_ms,
                                           amochats_value **events,
                                           amochats_error **error);

/**
 * Deletes the events of a conversation, by either id, settled or not, for good. Writes how many; `count`
 * may be NULL.
 */
amochats_result amochats_inbox_purge(const amochats_channel *channel,
                                     amochats_slice scope_id,
                                     amochats_slice conversation,
                                     int64_t timeout_ms,
                                     uint64_t *count,
                                     amochats_error **error);

/**
 * Keeps a call durably, to be made when its turn comes, in order within its conversation. `item`, which
 * may be NULL, is {"item_id", "scope_id", "key", "call", "state", "attempts", the ids of both sides,
 * "created_at_msec", "expires_at_msec", "ended_at_msec", "problem"}. Of its end an event of the kind
 * "outbox" tells.
 *
 * The state is "queued", "sending", "resolving" (it may have arrived, and is looked for), "sent",
 * "rejected", "unknown", "cancelled" or "expired".
 *
 * The same `key` with the same call is the same item, which is given back as it is; a message has its
 * message id as the key and takes no other. `expires_in_ms` of 0 is the configured time. connect,
 * disconnect, history and send_typing are not kept. AMOCHATS_RESULT_QUEUE_FULL where too many wait.
 */
amochats_result amochats_outbox_enqueue(const amochats_channel *channel,
                                        const amochats_call *call,
                                        amochats_slice key,
                                        uint64_t expires_in_ms,
                                        int64_t timeout_ms,
                                        amochats_value **item,
                                        amochats_error **error);

/**
 * Keeps a call without waiting, see amochats_outbox_enqueue() and amochats_client_call_async(). The value
 * is the item.
 */
amochats_result amochats_outbox_enqueue_async(const amochats_channel *channel,
                                              const amochats_call *call,
                                              amochats_slice key,
                                              uint64_t expires_in_ms,
                                              amochats_callback callback,
                                              void *user_data,
                                              amochats_token **token,
                                              amochats_error **error);

/**
 * Writes the item of this id, see amochats_outbox_enqueue().
 *
 * AMOCHATS_RESULT_NOT_FOUND where there is none, or none any more.
 */
amochats_result amochats_outbox_get(const amochats_channel *channel,
                                    amochats_slice item_id,
                                    int64_t timeout_ms,
                                    amochats_value **item,
                                    amochats_error **error);

/**
 * Takes an item back that was not sent yet. `item`, which may be NULL, is as it is then.
 *
 * AMOCHATS_RESULT_NOT_FOUND; AMOCHATS_RESULT_MISUSE where it is on its way, may have arrived or has ended
 * otherwise.
 */
amochats_result amochats_outbox_cancel(const amochats_channel *channel,
                                       amochats_slice item_id,
                                       int64_t timeout_ms,
                                       amochats_value **item,
                                       amochats_error **error);

/**
 * Writes items in the order of their enqueueing, a list: at most `limit`, which counts up to 1000, in one
 * of these `states` (by comma, as "queued,sending"), of `scope_id`, after the item `after`, where these are
 * not empty.
 */
amochats_result amochats_outbox_list(const amochats_channel *channel,
                                     amochats_slice states,
                                     amochats_slice scope_id,
                                     amochats_slice after,
                                     uint32_t limit,
                                     int64_t timeout_ms,
                                     amochats_value **items,
                                     amochats_error **error);

/**
 * Keeps a file durably and writes a link to it, {"url", "size", "content_type", "expires_at_msec"}: the
 * url is to be sent as the media of a message, and the listener serves it until it expires. Who knows it
 * can read the file. `content_type` is its media type, such as "image/png"; `expires_in_ms` of 0 is the
 * configured time.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT; AMOCHATS_RESULT_BODY_TOO_LARGE above media.max_bytes;
 * AMOCHATS_RESULT_STORE_FULL.
 */
amochats_result amochats_media_attach(const amochats_channel *channel,
                                      amochats_slice file_name,
                                      amochats_slice content_type,
                                      amochats_slice bytes,
                                      uint64_t expires_in_ms,
                                      int64_t timeout_ms,
                                      amochats_value **attached,
                                      amochats_error **error);

/**
 * Keeps a copy of the file at `path`, see amochats_media_attach(). It is served with the last part of the
 * path as its name, unless `file_name` is one.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT, with the field "path", where it cannot be read.
 */
amochats_result amochats_media_attach_file(const amochats_channel *channel,
                                           amochats_slice path,
                                           amochats_slice file_name,
                                           amochats_slice content_type,
                                           uint64_t expires_in_ms,
                                           int64_t timeout_ms,
                                           amochats_value **attached,
                                           amochats_error **error);

/**
 * Writes what the message of an event came with, {"event_id", "state", "url", "attempts", "next_at_msec",
 * "file_name", "content_type", "size", "problem", "path"}. The state is "pending", "fetched" or "failed";
 * the path is where the file is once it is fetched, and is deleted with its event.
 *
 * AMOCHATS_RESULT_NOT_FOUND where the event is not kept, came with nothing, or media.fetch is off.
 */
amochats_result amochats_media_attachment(const amochats_channel *channel,
                                          amochats_slice event_id,
                                          int64_t timeout_ms,
                                          amochats_value **attachment,
                                          amochats_error **error);

/**
 * Waits until what the message of an event came with is fetched or given up. Writes it, see
 * amochats_media_attachment(); `attachment` may be NULL.
 *
 * AMOCHATS_RESULT_NOT_FOUND, also where the event is purged meanwhile; AMOCHATS_RESULT_TIMEOUT where it has not
 * ended by then; it goes on.
 */
amochats_result amochats_media_wait(const amochats_channel *channel,
                                    amochats_slice event_id,
                                    int64_t timeout_ms,
                                    amochats_value **attachment,
                                    amochats_error **error);

/**
 * Has a callback decide who may connect an account with the widget, in place of what the configuration
 * says; NULL is nobody, and the widget is told to try again. It is called until amochats_channel_close()
 * has returned.
 *
 * AMOCHATS_RESULT_CONFIG_INVALID where widget.redirect_uri is not set.
 */
amochats_result amochats_channel_set_authorizer(const amochats_channel *channel,
                                                amochats_authorizer callback,
                                                void *user_data,
                                                amochats_error **error);

/**
 * Answers a call of the widget that another HTTP server received; the channel's own listener does so
 * anyway, beside the webhooks. `path` is with its query; `headers` is an object in JSON, as
 * {"origin": "https://example.amocrm.ru"}; `body` is whole; `peer` is the address of whoever asks, not of
 * a proxy in between: attempts are limited by it. The answer is {"status", "headers", "body"}: the headers
 * an object with names in lower case, the body text. What is wrong with the call is said in it.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for headers or a peer that are none; AMOCHATS_RESULT_CONFIG_INVALID
 * where widget.redirect_uri is not set.
 */
amochats_result amochats_channel_widget_handle(const amochats_channel *channel,
                                               amochats_slice method,
                                               amochats_slice path,
                                               amochats_slice headers,
                                               amochats_slice body,
                                               amochats_slice peer,
                                               int64_t timeout_ms,
                                               amochats_value **answer,
                                               amochats_error **error);

/**
 * Adds a channel, or replaces the one of the same id with all that belongs to it. `json` is what a [[channel]]
 * of the configuration says, as {"id": ..., "secret": ..., "region": "ru"}. It holds until the channel is closed
 * or amochats_channel_reload() sets all of them anew, as everything that is set here does.
 *
 * AMOCHATS_RESULT_CONFIG_INVALID, with the key; then nothing has changed.
 */
amochats_result amochats_channel_set_channel(const amochats_channel *channel,
                                             amochats_slice json,
                                             int64_t timeout_ms,
                                             amochats_error **error);

/**
 * Removes a channel: its webhooks are answered 404 from now on, its events are handed out as before, and what
 * is in the outbox for it waits.
 *
 * AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_CONFIG_INVALID for the only one.
 */
amochats_result amochats_channel_remove_channel(const amochats_channel *channel,
                                                amochats_slice channel_id,
                                                int64_t timeout_ms,
                                                amochats_error **error);

/**
 * Signs with another secret from now on. Webhooks under the one before are accepted until `until`, a time such
 * as "2026-12-01T00:00:00Z"; where it is empty, until the next rotation names one. `channel_id` may be empty
 * where one channel is configured.
 *
 * AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_CONFIG_INVALID for a secret or a time that cannot be one.
 */
amochats_result amochats_channel_rotate_secret(const amochats_channel *channel,
                                               amochats_slice channel_id,
                                               amochats_slice secret,
                                               amochats_slice until,
                                               int64_t timeout_ms,
                                               amochats_error **error);

/**
 * Adds an account to a channel, or replaces what was set of it. `json` is what a [[channel.account]] of the
 * configuration says, as {"id": ..., "connect": true, "title": ..., "hook_version": "v2", "crm_account_id": 7};
 * with "connect" it is connected and kept so. `channel_id` may be empty where one channel is configured.
 *
 * AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_CONFIG_INVALID, with the key.
 */
amochats_result amochats_channel_set_account(const amochats_channel *channel,
                                             amochats_slice channel_id,
                                             amochats_slice json,
                                             int64_t timeout_ms,
                                             amochats_error **error);

/**
 * Forgets what was set of an account. It stays connected, and its webhooks are kept, until it is disconnected
 * (amochats_call_disconnect()). `channel_id` may be empty where one channel is configured.
 *
 * AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_NOT_FOUND for an account that was not set.
 */
amochats_result amochats_channel_remove_account(const amochats_channel *channel,
                                                amochats_slice channel_id,
                                                amochats_slice account_id,
                                                int64_t timeout_ms,
                                                amochats_error **error);

/**
 * Goes on with another configuration: channels, secrets, accounts and limits change under way. Writes the keys
 * whose change needs a restart, a list of text; `restart` may be NULL.
 *
 * AMOCHATS_RESULT_CONFIG_INVALID, with the key; then nothing has changed.
 */
amochats_result amochats_channel_reload(const amochats_channel *channel,
                                        const amochats_config *config,
                                        int64_t timeout_ms,
                                        amochats_value **restart,
                                        amochats_error **error);

/**
 * Makes a query for the oldest 1000 of all events, the ends of calls included.
 */
amochats_summary_query *amochats_summary_query_new(void);

/**
 * Asks for events that this filter lets through, and for ends of calls where it names no kind. It is copied.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT where it says where to begin, which the query says itself.
 */
amochats_result amochats_summary_query_set_filter(amochats_summary_query *query,
                                                  const amochats_filter *filter,
                                                  amochats_error **error);

/**
 * Asks for the newest first, in place of the oldest.
 */
void amochats_summary_query_set_newest_first(amochats_summary_query *query, bool newest_first);

/**
 * Asks for events that were received at or after this time, in Unix milliseconds.
 */
void amochats_summary_query_set_since_msec(amochats_summary_query *query, int64_t since_msec);

/**
 * Asks for events that were received before this time, in Unix milliseconds.
 */
void amochats_summary_query_set_until_msec(amochats_summary_query *query, int64_t until_msec);

/**
 * Asks for the events of one message, by the id that the service gave it; of any message where it is empty.
 */
amochats_result amochats_summary_query_set_message_ref_id(amochats_summary_query *query,
                                                          amochats_slice message_ref_id,
                                                          amochats_error **error);

/**
 * Asks for the page after the event that the last page ended with; from the first where `event_id` is empty.
 */
amochats_result amochats_summary_query_set_after(amochats_summary_query *query,
                                                 amochats_slice event_id,
                                                 amochats_error **error);

/**
 * Sets the most events of one list, at most 1000.
 */
void amochats_summary_query_set_limit(amochats_summary_query *query, uint32_t limit);

/**
 * Frees a query; NULL is nothing to do.
 */
void amochats_summary_query_free(amochats_summary_query *query);

/**
 * Writes events that are kept, without their bodies; all where `query` is NULL, at most 1000. A list of
 * {"event_id", "channel_id", "account_id", "scope_id", "kind", "received_at_msec", "origin",
 * "conflicting_duplicate", "conversation_ref_id", "conversation_id", "message_ref_id", "size"}.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for a page after an event of another store.
 */
amochats_result amochats_inbox_list_summaries(const amochats_channel *channel,
                                              const amochats_summary_query *query,
                                              int64_t timeout_ms,
                                              amochats_value **summaries,
                                              amochats_error **error);

/**
 * Writes an event that is kept, and where it is in each subscription: {"summary", "event", "deliveries":
 * [{"subscription", "state", "attempts", "again", "place", "handed_out_at_msec", "settled_at_msec", "until_msec"}]}.
 * The summary is as of amochats_inbox_list_summaries(), the event as amochats_event_json() shows it. What is not
 * known is left out: the first time is that of the last handing out, the second that of the acknowledgement, or of
 * giving it up.
 *
 * AMOCHATS_RESULT_NOT_FOUND where there is none of this id, or not any more.
 */
amochats_result amochats_inbox_event_life(const amochats_channel *channel,
                                          amochats_slice event_id,
                                          int64_t timeout_ms,
                                          amochats_value **life,
                                          amochats_error **error);

/**
 * Waits until an item of the outbox has ended: sent, rejected, unknown, expired or cancelled. Writes it, see
 * amochats_outbox_enqueue(); `item` may be NULL. A program that handles many has the ends as events instead:
 * amochats_filter_add_kind() with "outbox".
 *
 * AMOCHATS_RESULT_NOT_FOUND; AMOCHATS_RESULT_TIMEOUT where it has not ended by then; it goes on.
 */
amochats_result amochats_outbox_wait(const amochats_channel *channel,
                                     amochats_slice item_id,
                                     int64_t timeout_ms,
                                     amochats_value **item,
                                     amochats_error **error);

/**
 * Writes message events that were settled without a delivery status, for a program that reports late: a list of
 * what amochats_event_json() shows, at most `limit`, after the event `after` where that is not empty. Reports
 * that were made past the outbox are not known here.
 */
amochats_result amochats_backfill_unreported(const amochats_channel *channel,
                                             amochats_slice after,
                                             uint32_t limit,
                                             int64_t timeout_ms,
                                             amochats_value **events,
                                             amochats_error **error);

/**
 * Returns whether a path, without its query, is one that the widget calls, for a program that has its own HTTP
 * server and passes such calls to amochats_channel_widget_handle().
 */
bool amochats_channel_widget_serves(const amochats_channel *channel,
                                    amochats_slice path);

/**
 * Makes an integration of what its page in the CRM shows: `client_id` is its UUID, `client_secret` its secret
 * key, which is not the secret of a channel, and `redirect_uri` the address as it is registered.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for a secret that is empty or holds blanks or line feeds.
 */
amochats_result amochats_crm_integration_new(amochats_slice client_id,
                                             amochats_slice client_secret,
                                             amochats_slice redirect_uri,
                                             amochats_crm_integration **integration,
                                             amochats_error **error);

/**
 * Frees an integration and wipes its secret; NULL is nothing to do.
 */
void amochats_crm_integration_free(amochats_crm_integration *integration);

/**
 * Checks the one-time token of a widget's call (the header X-Auth-Token) and writes what it says: {"iss",
 * "aud", "jti", "iat", "nbf", "exp", "account_id", "user_id", "subdomain", "client_uuid", "is_admin"}, the
 * last three not always. `origin` is the header Origin, nothing where there was none; `issuer` one more
 * address to take as that of an account, such as a sandbox's, or nothing; `now_sec` the time in Unix seconds,
 * or 0 for the clock's.
 *
 * It proves the account and the user of the CRM, and that alone. **Whether it was seen before is the
 * caller's to check**: keep "jti" until "exp", and refuse it the second time.
 *
 * AMOCHATS_RESULT_UNAUTHENTICATED with the part at fault as its field: "token", "alg", "signature", or a
 * claim. AMOCHATS_RESULT_INVALID_ARGUMENT for an integration without an address.
 */
amochats_result amochats_crm_verify_one_time_token(const amochats_crm_integration *integration,
                                                   amochats_slice token,
                                                   amochats_slice origin,
                                                   amochats_slice issuer,
                                                   uint64_t now_sec,
                                                   amochats_value **claims,
                                                   amochats_error **error);

/**
 * Checks the disable hook: the GET that the CRM sends when an account switches the integration off.
 * `account_id`, the number of the account in the CRM, and `signature` are as they stand in its query, whose
 * client_uuid must be the integration's. The hook carries no time, so that it can be sent again.
 *
 * AMOCHATS_RESULT_SIGNATURE_MISSING without a signature of 64 hex digits;
 * AMOCHATS_RESULT_SIGNATURE_MISMATCH where it belongs to something else.
 */
amochats_result amochats_crm_verify_disable_hook(const amochats_crm_integration *integration,
                                                 amochats_slice account_id,
                                                 amochats_slice signature,
                                                 amochats_error **error);

/**
 * Reads a webhook of the CRM itself, a form that is not signed, and writes {"events": [...]}, each event with
 * its "kind": "message_added", "talk_added", "talk_updated", "template_review" or "unknown". Those of a
 * channel are for amochats_webhook_parse().
 *
 * AMOCHATS_RESULT_MALFORMED_WEBHOOK where it is no form; AMOCHATS_RESULT_BODY_TOO_LARGE.
 */
amochats_result amochats_crm_webhook_parse(amochats_slice body,
                                           amochats_value **webhook,
                                           amochats_error **error);

/**
 * Reads what the CRM says where it refuses a call, for a program with an HTTP stack of its own: {"title",
 * "detail", "status", "errors": [{"request_id", "code", "path", "detail"}]}. NULL is written where the body is of
 * another form. It may quote what was sent: show it to people, never log it.
 */
amochats_result amochats_crm_problem_parse(amochats_slice body,
                                           amochats_value **problem,
                                           amochats_error **error);

/**
 * Reads the answer to the call of the chats API that connects an account, as amochats_call_connect() gives
 * it, for a program with an HTTP stack of its own.
 *
 * AMOCHATS_RESULT_UNEXPECTED_RESPONSE where it is of another form.
 */
amochats_result amochats_connected_parse(amochats_slice answer,
                                         amochats_value **connected,
                                         amochats_error **error);

/**
 * Reads the account: {"id", "amojo_id", ...}; "amojo_id" is the account_id of the chats API.
 */
amochats_result amochats_crm_call_account(amochats_crm_call **call, amochats_error **error);

/**
 * Reads the account in the first generation's way, with a user's login and API key in place of a token.
 */
amochats_result amochats_crm_call_legacy_account(amochats_slice login,
                                                 amochats_slice api_key,
                                                 amochats_crm_call **call,
                                                 amochats_error **error);

/**
 * Reads a page of the users, the first of which is 1: [{"id", "name", "amojo_id", ...}]. Go on while the
 * answer "has_next".
 */
amochats_result amochats_crm_call_users(uint32_t page_number,
                                        amochats_crm_call **call,
                                        amochats_error **error);

/**
 * Reads one user.
 */
amochats_result amochats_crm_call_user(int64_t id,
                                       amochats_crm_call **call,
                                       amochats_error **error);

/**
 * Links chats to contacts: `links` is [{"contact_id", "chat_id"}], where chat_id is amoCRM's id of the chat, the
 * conversation_ref_id. The answer is a page of [{"id", "contact_id", "chat_id"}].
 */
amochats_result amochats_crm_call_link_chats(amochats_slice links,
                                             amochats_crm_call **call,
                                             amochats_error **error);

/**
 * Reads what is linked to contacts, by their numbers, or else to chats: `chats` is ["...", ...], amoCRM's ids of
 * them, and is asked for where `count` is 0. The answer is as of amochats_crm_call_link_chats().
 *
 * # Safety
 * `contact_ids` must be NULL or point to `count` numbers.
 */
amochats_result amochats_crm_call_linked_chats(const int64_t *contact_ids,
                                               size_t count,
                                               amochats_slice chats,
                                               amochats_crm_call **call,
                                               amochats_error **error);

/**
 * Makes contacts: `contacts` is [{"name", "first_name", "last_name", ...}]. The answer is a page of [{"id",
 * "request_id"}].
 */
amochats_result amochats_crm_call_add_contacts(amochats_slice contacts,
                                               amochats_crm_call **call,
                                               amochats_error **error);

/**
 * Reads the integration's sources: all, at most 100, or those with these ids of its own, ["...", ...]; nothing
 * is all. The answer is a page of [{"id", "name", "external_id", "pipeline_id", "default", ...}].
 */
amochats_result amochats_crm_call_sources(amochats_slice external_ids,
                                          amochats_crm_call **call,
                                          amochats_error **error);

/**
 * Reads one source. There is no answer where there is none.
 */
amochats_result amochats_crm_call_source(int64_t id,
                                         amochats_crm_call **call,
                                         amochats_error **error);

/**
 * Makes sources: `sources` is [{"name", "external_id", "pipeline_id", "default", ...}]. The answer is as of
 * amochats_crm_call_sources().
 */
amochats_result amochats_crm_call_add_sources(amochats_slice sources,
                                              amochats_crm_call **call,
                                              amochats_error **error);

/**
 * Changes sources: `changes` is [{"id", ...}] with what is to be another. The answer is as of
 * amochats_crm_call_sources().
 */
amochats_result amochats_crm_call_update_sources(amochats_slice changes,
                                                 amochats_crm_call **call,
                                                 amochats_error **error);

/**
 * Deletes sources. There is no answer.
 *
 * # Safety
 * `ids` must be NULL or point to `count` numbers.
 */
amochats_result amochats_crm_call_delete_sources(const int64_t *ids,
                                                 size_t count,
                                                 amochats_crm_call **call,
                                                 amochats_error **error);

/**
 * Reads a page of the templates with their reviews, the first of which is 1; those with this id of the
 * integration's own, where `external_id` is not empty. Go on while the answer "has_next".
 */
amochats_result amochats_crm_call_templates(uint32_t page_number,
                                            amochats_slice external_id,
                                            amochats_crm_call **call,
                                            amochats_error **error);

/**
 * Reads one template with its reviews.
 */
amochats_result amochats_crm_call_template(int64_t id,
                                           amochats_crm_call **call,
                                           amochats_error **error);

/**
 * Makes templates: `templates` is [{"name", "content", ...}]. The answer is a page of templates.
 */
amochats_result amochats_crm_call_add_templates(amochats_slice templates,
                                                amochats_crm_call **call,
                                                amochats_error **error);

/**
 * Changes templates: `changes` is [{"id", ...}] with what is to be another. The answer is a page of templates.
 */
amochats_result amochats_crm_call_update_templates(amochats_slice changes,
                                                   amochats_crm_call **call,
                                                   amochats_error **error);

/**
 * Deletes templates. There is no answer.
 *
 * # Safety
 * `ids` must be NULL or point to `count` numbers.
 */
amochats_result amochats_crm_call_delete_templates(const int64_t *ids,
                                                   size_t count,
                                                   amochats_crm_call **call,
                                                   amochats_error **error);

/**
 * Hands a template in for review: the answer is a page of reviews, one for each source of WhatsApp.
 */
amochats_result amochats_crm_call_submit_template(int64_t id,
                                                  amochats_crm_call **call,
                                                  amochats_error **error);

/**
 * Reports what became of a review: `status` is "approved", "paused" or "rejected", the last with a reason. The
 * answer is the review.
 */
amochats_result amochats_crm_call_set_review_status(int64_t template_id,
                                                    int64_t review_id,
                                                    amochats_slice status,
                                                    amochats_slice reject_reason,
                                                    amochats_crm_call **call,
                                                    amochats_error **error);

/**
 * Reads one talk.
 */
amochats_result amochats_crm_call_talk(int64_t id,
                                       amochats_crm_call **call,
                                       amochats_error **error);

/**
 * Closes a talk, with `force` without asking the client how it was. There is no answer.
 */
amochats_result amochats_crm_call_close_talk(int64_t id,
                                             bool force,
                                             amochats_crm_call **call,
                                             amochats_error **error);

/**
 * Subscribes an address to the CRM's own webhooks: `subscription` is {"destination", "settings": ["add_message",
 * ...], "sort"}, the last only where its place among the others matters. The answer is {"id", "destination",
 * "settings", "disabled"}.
 */
amochats_result amochats_crm_call_subscribe(amochats_slice subscription,
                                            amochats_crm_call **call,
                                            amochats_error **error);

/**
 * Reads the subscriptions to the CRM's own webhooks, a page of what amochats_crm_call_subscribe() gives.
 */
amochats_result amochats_crm_call_subscriptions(amochats_crm_call **call,
                                                amochats_error **error);

/**
 * Ends the subscription of an address. There is no answer.
 */
amochats_result amochats_crm_call_unsubscribe(amochats_slice destination,
                                              amochats_crm_call **call,
                                              amochats_error **error);

/**
 * Trades the code of an installation for tokens: {"access_token", "refresh_token", "expires_in",
 * "server_time"}, the third in seconds and the last in Unix seconds. A code lives 20 minutes and works once.
 * Keep the tokens where amochats_crm_options_set_token_store() loads them.
 */
amochats_result amochats_crm_call_exchange_code(const amochats_crm_integration *integration,
                                                amochats_slice code,
                                                amochats_crm_call **call,
                                                amochats_error **error);

/**
 * Trades a refresh token, which works once, for a new pair: see amochats_crm_call_exchange_code(). A client with
 * a token store does so itself.
 */
amochats_result amochats_crm_call_refresh_tokens(const amochats_crm_integration *integration,
                                                 amochats_slice refresh_token,
                                                 amochats_crm_call **call,
                                                 amochats_error **error);

/**
 * Trades a user's API key of the old kind for a code, which goes to the redirect URI with `state`, where that is
 * not empty; once in 5 minutes. There is no answer.
 */
amochats_result amochats_crm_call_exchange_api_key(const amochats_crm_integration *integration,
                                                   amochats_slice login,
                                                   amochats_slice api_key,
                                                   amochats_slice state,
                                                   amochats_crm_call **call,
                                                   amochats_error **error);

/**
 * Asks where the account of a refresh token is now, which may have got another name: {"id", "subdomain",
 * "domain", "top_level_domain"}. The token is not used up.
 */
amochats_result amochats_crm_call_current_domain(amochats_slice refresh_token,
                                                 amochats_crm_call **call,
                                                 amochats_error **error);

/**
 * Makes the call one in the name of another user of the account, by the number in the CRM. It works with a
 * token that an administrator granted.
 */
void amochats_crm_call_as_user(amochats_crm_call *call,
                               int64_t user_id);

/**
 * Returns the call's method: "GET", "POST", "PATCH" or "DELETE".
 */
amochats_slice amochats_crm_call_method(const amochats_crm_call *call);

/**
 * Returns the call's path with its query string, to be put behind the account's host.
 */
amochats_slice amochats_crm_call_path(const amochats_crm_call *call);

/**
 * Returns the call's body, JSON, to be sent as application/json; empty where it has none.
 */
amochats_slice amochats_crm_call_body(const amochats_crm_call *call);

/**
 * Returns the call's headers beside those, an object; Authorization with the token is not in it.
 */
const amochats_value *amochats_crm_call_headers(const amochats_crm_call *call);

/**
 * Returns whether the call goes with "Authorization: Bearer ...". OAuth carries a proof of its own.
 */
bool amochats_crm_call_needs_token(const amochats_crm_call *call);

/**
 * Reads the body of the answer, with a status of 200 to 299, to a call that another HTTP stack made. NULL is
 * written where there is no answer.
 *
 * AMOCHATS_RESULT_UNEXPECTED_RESPONSE where it is of another form.
 */
amochats_result amochats_crm_call_parse(const amochats_crm_call *call,
                                        amochats_slice body,
                                        amochats_value **answer,
                                        amochats_error **error);

/**
 * Frees a call; what was begun with it goes on. NULL is nothing to do.
 */
void amochats_crm_call_free(amochats_crm_call *call);

/**
 * Gives a token store's tokens to the client that asks for them: the JSON that was kept, or {"access_token",
 * "refresh_token"} with what amochats_crm_call_exchange_code() answered.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT where it is not that.
 */
amochats_result amochats_crm_tokens_give(amochats_crm_tokens *tokens,
                                         amochats_slice json,
                                         amochats_error **error);

/**
 * Makes options with the defaults, without an account and without a token.
 */
amochats_crm_options *amochats_crm_options_new(void);

/**
 * Says which account: `region` is "ru", "kommo" or "com", `subdomain` the first label of the account's host.
 */
amochats_result amochats_crm_options_set_account(amochats_crm_options *options,
                                                 amochats_slice region,
                                                 amochats_slice subdomain,
                                                 amochats_error **error);

/**
 * Says where the account is, in place of amochats_crm_options_set_account(): "https://" and the referer of an
 * installation, or a sandbox.
 */
amochats_result amochats_crm_options_set_base_url(amochats_crm_options *options,
                                                  amochats_slice base_url,
                                                  amochats_error **error);

/**
 * Calls with a token that does not change: a long-lived one.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT for what cannot be one.
 */
amochats_result amochats_crm_options_set_token(amochats_crm_options *options,
                                               amochats_slice token,
                                               amochats_error **error);

/**
 * Calls with tokens that the caller keeps, in a file or a database, and that are refreshed for this
 * integration: on a 401, once however many calls meet it, the tokens are loaded; where another process has not
 * refreshed them, they are traded, stored, and only then used. Several clients, also of several processes, may
 * share a store. A refresh token works once, so store durably.
 *
 * The callbacks are called until amochats_crm_client_close() has returned.
 */
amochats_result amochats_crm_options_set_token_store(amochats_crm_options *options,
                                                     const amochats_crm_integration *integration,
                                                     amochats_crm_load load,
                                                     amochats_crm_store store,
                                                     void *user_data,
                                                     amochats_error **error);

/**
 * Sets how long one request may take; 10 s unless set.
 */
void amochats_crm_options_set_timeout_ms(amochats_crm_options *options, uint64_t timeout_ms);

/**
 * Sets how long a call may take with all its waiting and repeats; 30 s unless set.
 */
void amochats_crm_options_set_deadline_ms(amochats_crm_options *options, uint64_t deadline_ms);

/**
 * Sets how far apart requests go out; a seventh of a second unless set. The CRM counts what all programs of an
 * integration send, so that several need longer ones.
 */
void amochats_crm_options_set_request_interval_ms(amochats_crm_options *options,
                                                  uint64_t interval_ms);

/**
 * Trusts one more root certificate, in PEM, such as a proxy's.
 */
amochats_result amochats_crm_options_add_root_certificate(amochats_crm_options *options,
                                                          amochats_slice pem,
                                                          amochats_error **error);

/**
 * Sets how many threads work, 1 to 64; 1 unless set.
 */
amochats_result amochats_crm_options_set_threads(amochats_crm_options *options,
                                                 uint32_t threads,
                                                 amochats_error **error);

/**
 * Sends the log there, see amochats_config_set_log().
 */
void amochats_crm_options_set_log(amochats_crm_options *options,
                                  uint32_t level,
                                  amochats_log_callback callback,
                                  void *user_data);

/**
 * Frees options and wipes the token; NULL is nothing to do.
 */
void amochats_crm_options_free(amochats_crm_options *options);

/**
 * Makes a client. Nothing is sent yet.
 *
 * AMOCHATS_RESULT_INVALID_ARGUMENT where no account is set or the address is none. Without a token the calls of
 * OAuth can be made and amochats_crm_call_legacy_account().
 */
amochats_result amochats_crm_client_open(const amochats_crm_options *options,
                                         amochats_crm_client **client,
                                         amochats_error **error);

/**
 * Makes a call and waits for the answer, which is described at the function that made the call. `answer` may be
 * NULL; NULL is written where there is none.
 *
 * AMOCHATS_RESULT_REJECTED and the others from 200 on as the CRM says, with the first field at fault;
 * AMOCHATS_RESULT_STORE_FAILED where a token store could not; after AMOCHATS_RESULT_TIMEOUT and
 * AMOCHATS_RESULT_TRANSPORT the call may have had its effect.
 */
amochats_result amochats_crm_client_call(const amochats_crm_client *client,
                                         const amochats_crm_call *call,
                                         int64_t timeout_ms,
                                         amochats_value **answer,
                                         amochats_error **error);

/**
 * Makes a call without waiting, see amochats_client_call_async(). After amochats_crm_client_close() has returned
 * no callback comes.
 */
amochats_result amochats_crm_client_call_async(const amochats_crm_client *client,
                                               const amochats_crm_call *call,
                                               amochats_callback callback,
                                               void *user_data,
                                               amochats_token **token,
                                               amochats_error **error);

/**
 * Sends the completions of calls that do not wait to a consumer, whose descriptor tells of them, see
 * amochats_channel_set_dispatcher().
 */
amochats_result amochats_crm_client_set_dispatcher(const amochats_crm_client *client,
                                                   const amochats_consumer *consumer,
                                                   amochats_error **error);

/**
 * Ends the client: calls that do not wait are called back with AMOCHATS_RESULT_CANCELLED, a refresh of tokens
 * that is under way is waited for, since the new pair would be lost, and no thread of it remains. From now on
 * its calls return AMOCHATS_RESULT_CLOSED. Closed before, it is AMOCHATS_RESULT_OK.
 *
 * AMOCHATS_RESULT_TIMEOUT where something was cut off; AMOCHATS_RESULT_MISUSE inside a callback.
 */
amochats_result amochats_crm_client_close(const amochats_crm_client *client,
                                          int64_t timeout_ms,
                                          amochats_error **error);

/**
 * Closes the client within 5 s where it is not closed, and frees it. In a callback it does nothing, since it
 * would wait for itself. NULL is nothing to do.
 */
void amochats_crm_client_free(amochats_crm_client *client);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* AMOCHATS_H */
