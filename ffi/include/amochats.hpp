// amochats: the chats API of amoCRM and Kommo, for C++17. Header only, over amochats.h.
//
// What fails throws amochats::error. Views belong to the object they were asked of. An object that
// was moved from may only be destroyed or assigned to. Const functions may run on any number of
// threads at once. What each call means is written in amochats.h.

#ifndef AMOCHATS_HPP
#define AMOCHATS_HPP

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "amochats.h"

namespace amochats {

// What a webhook may hold or not.
using optional_text = std::optional<std::string_view>;
using optional_integer = std::optional<std::int64_t>;

namespace detail {

template <auto function>
struct deleter {
  template <typename T>
  void operator()(T *object) const noexcept {
    function(object);
  }
};

template <typename T, auto free>
using handle = std::unique_ptr<T, deleter<free>>;

// A view of nothing is empty here: whether there is something is said by an optional.
inline amochats_slice slice(std::string_view text) noexcept {
  return {text.data() != nullptr ? text.data() : "", text.size()};
}

inline amochats_slice slice(optional_text text) noexcept {
  return text ? slice(*text) : amochats_slice{nullptr, 0};
}

inline std::string_view view(amochats_slice slice) noexcept { return {slice.data, slice.len}; }

inline optional_text optional(amochats_slice slice) noexcept {
  if (slice.data == nullptr) return std::nullopt;
  return view(slice);
}

}  // namespace detail

// Why a call failed; what() is one line without secrets and message texts.
class error : public std::runtime_error {
 public:
  // Takes an error of the C interface over.
  explicit error(amochats_error *raw)
      : error(detail::handle<amochats_error, amochats_error_free>(raw)) {}

  // The number, which may be one that this header does not know yet.
  amochats_result code() const noexcept { return code_; }
  // The number's name, such as "SIGNATURE_MISMATCH".
  const char *name() const noexcept { return amochats_result_name(code_); }
  // The argument or the field at fault, such as "payload.sender.name"; empty where there is none.
  const std::string &field() const noexcept { return field_; }
  // The HTTP status of the vendor's answer; 0 where there was none.
  int http_status() const noexcept { return http_status_; }
  // How long the vendor asked to wait; 0 where it did not.
  std::chrono::milliseconds retry_after() const noexcept { return retry_after_; }

 private:
  explicit error(const detail::handle<amochats_error, amochats_error_free> &raw)
      : std::runtime_error(std::string(detail::view(amochats_error_message(raw.get())))),
        code_(amochats_error_code(raw.get())),
        field_(detail::view(amochats_error_field(raw.get()))),
        http_status_(amochats_error_http_status(raw.get())),
        retry_after_(amochats_error_retry_after_ms(raw.get())) {}

  amochats_result code_;
  std::string field_;
  int http_status_;
  std::chrono::milliseconds retry_after_;
};

namespace detail {

// Calls a function of the C interface with an error for its last argument.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments) {
  amochats_error *raw = nullptr;
  if (function(arguments..., &raw) != AMOCHATS_RESULT_OK) throw error(raw);
}

}  // namespace detail

// The version of the library, as opposed to AMOCHATS_VERSION of the header.
inline const char *version() noexcept { return amochats_version(); }

// The headers of a signed request.
struct signed_headers {
  std::string date;
  std::string content_type;
  std::string content_md5;
  std::string x_signature;
};

inline std::string sign_body(std::string_view secret, std::string_view body) {
  char signature[AMOCHATS_SIGNATURE_SIZE];
  detail::call(amochats_sign_body, detail::slice(secret), detail::slice(body), &signature);
  return signature;
}

inline signed_headers sign_request(std::string_view secret, std::string_view method, std::string_view path,
                                   std::string_view content_type, std::string_view date,
                                   std::string_view body) {
  amochats_signed_headers *raw = nullptr;
  detail::call(amochats_sign_request, detail::slice(secret), detail::slice(method), detail::slice(path),
               detail::slice(content_type), detail::slice(date), detail::slice(body), &raw);
  const detail::handle<amochats_signed_headers, amochats_signed_headers_free> headers(raw);
  return {
      std::string(detail::view(amochats_signed_headers_date(raw))),
      std::string(detail::view(amochats_signed_headers_content_type(raw))),
      std::string(detail::view(amochats_signed_headers_content_md5(raw))),
      std::string(detail::view(amochats_signed_headers_x_signature(raw))),
  };
}

// Checks a new message and writes the body to sign and send.
inline std::string encode_message(std::string_view json) {
  amochats_buffer *raw = nullptr;
  detail::call(amochats_message_encode, detail::slice(json), &raw);
  const detail::handle<amochats_buffer, amochats_buffer_free> body(raw);
  return std::string(detail::view(amochats_buffer_slice(raw)));
}

// Checks a request of the chats API and writes the body to sign and send; amochats.h names the calls.
inline std::string encode_request(std::string_view call, std::string_view json) {
  amochats_buffer *raw = nullptr;
  detail::call(amochats_request_encode, detail::slice(call), detail::slice(json), &raw);
  const detail::handle<amochats_buffer, amochats_buffer_free> body(raw);
  return std::string(detail::view(amochats_buffer_slice(raw)));
}

// Reads the answer to a call of the history, as stable JSON.
inline std::string parse_history(std::string_view answer) {
  amochats_buffer *raw = nullptr;
  detail::call(amochats_history_parse, detail::slice(answer), &raw);
  const detail::handle<amochats_buffer, amochats_buffer_free> page(raw);
  return std::string(detail::view(amochats_buffer_slice(raw)));
}

// Checks the signatures of webhooks.
class verifier {
 public:
  // With the current secrets of the channel: one, or two while it is being changed.
  explicit verifier(std::string_view secret) : verifier({secret}) {}
  verifier(std::initializer_list<std::string_view> secrets) : raw_(amochats_verifier_new()) {
    for (const auto secret : secrets) add_secret(secret);
  }

  void add_secret(std::string_view secret) {
    detail::call(amochats_verifier_add_secret, raw_.get(), detail::slice(secret));
  }

  // Throws where the signature is not genuine; std::nullopt means that there was no such header.
  void verify(std::string_view body, optional_text signature) const {
    detail::call(amochats_verifier_verify, raw_.get(), detail::slice(body), detail::slice(signature));
  }

  // Says what a signature turned out to be. For developers, never for the answer to a webhook.
  std::string_view diagnose(std::string_view body, optional_text signature) const {
    amochats_slice verdict;
    detail::call(amochats_verifier_diagnose, raw_.get(), detail::slice(body), detail::slice(signature),
                 &verdict);
    return detail::view(verdict);
  }

 private:
  detail::handle<amochats_verifier, amochats_verifier_free> raw_;
};

// Somebody in a chat; belongs to its webhook.
class participant {
 public:
  explicit participant(const amochats_participant *raw) noexcept : raw_(raw) {}

  optional_text user_id() const noexcept { return detail::optional(amochats_participant_user_id(raw_)); }
  optional_text user_ref_id() const noexcept { return detail::optional(amochats_participant_user_ref_id(raw_)); }
  optional_text name() const noexcept { return detail::optional(amochats_participant_name(raw_)); }
  optional_text phone() const noexcept { return detail::optional(amochats_participant_phone(raw_)); }
  optional_text email() const noexcept { return detail::optional(amochats_participant_email(raw_)); }

 private:
  const amochats_participant *raw_;
};

// A parsed webhook.
class webhook {
 public:
  // First verify it.
  static webhook parse(std::string_view body) {
    amochats_webhook *raw = nullptr;
    detail::call(amochats_webhook_parse, detail::slice(body), &raw);
    return webhook(raw);
  }

  // All of it as JSON with stable field names.
  std::string_view json() const noexcept { return detail::view(amochats_webhook_json(raw_.get())); }

  amochats_kind kind() const noexcept { return amochats_webhook_kind(raw_.get()); }
  std::string_view kind_name() const noexcept { return detail::view(amochats_webhook_kind_name(raw_.get())); }

  optional_text api_version() const noexcept { return get(amochats_webhook_api_version); }
  optional_text account_id() const noexcept { return get(amochats_webhook_account_id); }
  optional_text conversation_id() const noexcept { return get(amochats_webhook_conversation_id); }
  optional_text conversation_ref_id() const noexcept { return get(amochats_webhook_conversation_ref_id); }
  optional_text message_id() const noexcept { return get(amochats_webhook_message_id); }
  optional_text message_ref_id() const noexcept { return get(amochats_webhook_message_ref_id); }
  optional_text type() const noexcept { return get(amochats_webhook_type); }
  optional_text text() const noexcept { return get(amochats_webhook_text); }
  optional_text media() const noexcept { return get(amochats_webhook_media); }
  optional_text thumbnail() const noexcept { return get(amochats_webhook_thumbnail); }
  optional_text file_name() const noexcept { return get(amochats_webhook_file_name); }
  optional_text media_group_id() const noexcept { return get(amochats_webhook_media_group_id); }
  optional_text source_external_id() const noexcept { return get(amochats_webhook_source_external_id); }
  optional_text user_ref_id() const noexcept { return get(amochats_webhook_user_ref_id); }
  optional_text post_id() const noexcept { return get(amochats_webhook_post_id); }
  optional_text emoji() const noexcept { return get(amochats_webhook_emoji); }

  optional_integer time() const noexcept { return get(amochats_webhook_time); }
  optional_integer timestamp() const noexcept { return get(amochats_webhook_timestamp); }
  optional_integer msec_timestamp() const noexcept { return get(amochats_webhook_msec_timestamp); }
  optional_integer file_size() const noexcept { return get(amochats_webhook_file_size); }
  optional_integer expired_at() const noexcept { return get(amochats_webhook_expired_at); }

  std::optional<participant> sender() const noexcept { return get(amochats_webhook_sender); }
  std::optional<participant> receiver() const noexcept { return get(amochats_webhook_receiver); }

 private:
  explicit webhook(amochats_webhook *raw) noexcept : raw_(raw) {}

  optional_text get(amochats_slice (*field)(const amochats_webhook *)) const noexcept {
    return detail::optional(field(raw_.get()));
  }

  optional_integer get(bool (*field)(const amochats_webhook *, std::int64_t *)) const noexcept {
    std::int64_t number = 0;
    if (!field(raw_.get(), &number)) return std::nullopt;
    return number;
  }

  std::optional<participant> get(const amochats_participant *(*field)(const amochats_webhook *)) const noexcept {
    const auto *person = field(raw_.get());
    if (person == nullptr) return std::nullopt;
    return participant(person);
  }

  detail::handle<amochats_webhook, amochats_webhook_free> raw_;
};

}  // namespace amochats

#endif  // AMOCHATS_HPP
