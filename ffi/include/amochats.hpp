// amochats: the chats API of amoCRM and Kommo, for C++17. Header only, over amochats.h.
//
// What fails throws amochats::error; who wants no exceptions wraps a call in amochats::attempt(), which
// gives a result. Views belong to the object they were asked of. An object that was moved from may only
// be destroyed or assigned to. Const functions may run on any number of threads at once. What each call
// means is written in amochats.h.

#ifndef AMOCHATS_HPP
#define AMOCHATS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

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

  // Copies what an error says that stays the library's, as in a callback.
  explicit error(const amochats_error &raw)
      : std::runtime_error(std::string(detail::view(amochats_error_message(&raw)))),
        code_(amochats_error_code(&raw)),
        field_(detail::view(amochats_error_field(&raw))),
        http_status_(amochats_error_http_status(&raw)),
        retry_after_(amochats_error_retry_after_ms(&raw)) {}

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
  explicit error(const detail::handle<amochats_error, amochats_error_free> &raw) : error(*raw) {}

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

// A value of what amochats.h calls a value: an answer, an item, a list, or a part of one. What is not
// there is empty, so that questions can be put into each other: answer["user"]["name"].text().
class value_view {
 public:
  explicit value_view(const amochats_value *raw = nullptr) noexcept : raw_(raw) {}

  // Whether there is something.
  explicit operator bool() const noexcept { return raw_ != nullptr; }
  value_view operator[](std::string_view name) const noexcept {
    return value_view(amochats_value_get(raw_, detail::slice(name)));
  }
  value_view at(std::size_t place) const noexcept { return value_view(amochats_value_at(raw_, place)); }
  std::string_view name_at(std::size_t place) const noexcept {
    return detail::view(amochats_value_name_at(raw_, place));
  }
  std::size_t size() const noexcept { return amochats_value_count(raw_); }

  optional_text text() const noexcept { return detail::optional(amochats_value_text(raw_)); }
  optional_integer integer() const noexcept { return get<std::int64_t>(amochats_value_integer); }
  std::optional<double> real() const noexcept { return get<double>(amochats_value_real); }
  std::optional<bool> boolean() const noexcept { return get<bool>(amochats_value_boolean); }
  std::string_view json() const noexcept { return detail::view(amochats_value_json(raw_)); }

 private:
  template <typename T>
  std::optional<T> get(bool (*read)(const amochats_value *, T *)) const noexcept {
    T found{};
    if (!read(raw_, &found)) return std::nullopt;
    return found;
  }

  const amochats_value *raw_;
};

// A value of its own.
class value : public value_view {
 public:
  value() = default;
  explicit value(amochats_value *raw) noexcept : value_view(raw), owned_(raw) {}

 private:
  detail::handle<amochats_value, amochats_value_free> owned_;
};

// What a webhook says; belongs to the object it was asked of.
class webhook_view {
 public:
  explicit webhook_view(const amochats_webhook *raw) noexcept : raw_(raw) {}

  // All of it as JSON with stable field names.
  std::string_view json() const noexcept { return detail::view(amochats_webhook_json(raw_)); }
  // The same, for what has no function here: tag, markup, template, reply_to, forwards, post, extra.
  value_view fields() const noexcept { return value_view(amochats_webhook_value(raw_)); }

  amochats_kind kind() const noexcept { return amochats_webhook_kind(raw_); }
  std::string_view kind_name() const noexcept { return detail::view(amochats_webhook_kind_name(raw_)); }

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
  optional_text get(amochats_slice (*field)(const amochats_webhook *)) const noexcept {
    return detail::optional(field(raw_));
  }

  optional_integer get(bool (*field)(const amochats_webhook *, std::int64_t *)) const noexcept {
    std::int64_t number = 0;
    if (!field(raw_, &number)) return std::nullopt;
    return number;
  }

  std::optional<participant> get(const amochats_participant *(*field)(const amochats_webhook *)) const noexcept {
    const auto *person = field(raw_);
    if (person == nullptr) return std::nullopt;
    return participant(person);
  }

  const amochats_webhook *raw_;
};

// A parsed webhook.
class webhook : public webhook_view {
 public:
  // First verify it.
  static webhook parse(std::string_view body) {
    amochats_webhook *raw = nullptr;
    detail::call(amochats_webhook_parse, detail::slice(body), &raw);
    return webhook(raw);
  }

 private:
  explicit webhook(amochats_webhook *raw) noexcept : webhook_view(raw), owned_(raw) {}

  detail::handle<amochats_webhook, amochats_webhook_free> owned_;
};

// What a call gave: a value or an error. Like std::expected of C++23.
template <typename T>
class result {
 public:
  result(T value) : outcome_(std::in_place_index<0>, std::move(value)) {}
  result(class error error) : outcome_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return outcome_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  T &value() & { return has_value() ? std::get<0>(outcome_) : throw error(); }
  T &&value() && { return has_value() ? std::get<0>(std::move(outcome_)) : throw error(); }
  T &operator*() { return std::get<0>(outcome_); }
  T *operator->() { return &std::get<0>(outcome_); }
  const class error &error() const { return std::get<1>(outcome_); }

 private:
  std::variant<T, class error> outcome_;
};

// Calls a function and gives what it returned, or the amochats::error that it threw. For a function
// without a value the result holds std::monostate.
template <typename Function>
auto attempt(Function &&function) {
  using returned = std::invoke_result_t<Function>;
  using held = std::conditional_t<std::is_void_v<returned>, std::monostate, returned>;
  try {
    if constexpr (std::is_void_v<returned>) {
      std::forward<Function>(function)();
      return result<held>(std::monostate{});
    } else {
      return result<held>(std::forward<Function>(function)());
    }
  } catch (const error &thrown) {
    return result<held>(thrown);
  }
}

// How long to wait at most.
using timeout = std::chrono::milliseconds;
// As long as it takes.
constexpr timeout forever{-1};

// Somebody in a chat, to be named in a message.
class user {
 public:
  user(std::string_view user_id, std::string_view name)
      : raw_(amochats_user_new(detail::slice(user_id), detail::slice(name))) {}

  user &ref_id(std::string_view id) { return set(amochats_user_set_ref_id, id); }
  user &avatar(std::string_view url) { return set(amochats_user_set_avatar, url); }
  user &phone(std::string_view phone) { return set(amochats_user_set_phone, phone); }
  user &email(std::string_view email) { return set(amochats_user_set_email, email); }
  user &profile_link(std::string_view url) { return set(amochats_user_set_profile_link, url); }

  const amochats_user *raw() const noexcept { return raw_.get(); }

 private:
  template <typename Function>
  user &set(Function function, std::string_view to) {
    detail::call(function, raw_.get(), detail::slice(to));
    return *this;
  }

  detail::handle<amochats_user, amochats_user_free> raw_;
};

// A message, built field by field.
class message {
 public:
  message(std::string_view conversation_id, std::string_view message_id)
      : raw_(amochats_message_new(detail::slice(conversation_id), detail::slice(message_id))) {}

  message &conversation_ref_id(std::string_view id) { return set(amochats_message_set_conversation_ref_id, id); }
  message &message_ref_id(std::string_view id) { return set(amochats_message_set_message_ref_id, id); }
  message &sent_at(std::chrono::system_clock::time_point time) {
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
    amochats_message_set_sent_at_msec(raw_.get(), since.count());
    return *this;
  }
  message &sender(const user &who) { return call(amochats_message_set_sender, who.raw()); }
  message &receiver(const user &who) { return call(amochats_message_set_receiver, who.raw()); }
  message &silent(bool silent = true) {
    amochats_message_set_silent(raw_.get(), silent);
    return *this;
  }
  message &source(std::string_view external_id) { return set(amochats_message_set_source, external_id); }
  message &callback_data(std::string_view data) { return set(amochats_message_set_callback_data, data); }
  message &text(std::string_view text) { return set(amochats_message_set_text, text); }
  message &media(amochats_media kind, std::string_view url) {
    return call(amochats_message_set_media, static_cast<std::uint32_t>(kind), detail::slice(url));
  }
  message &file_name(std::string_view name) { return set(amochats_message_set_file_name, name); }
  message &file_size(std::uint64_t bytes) { return call(amochats_message_set_file_size, bytes); }
  message &duration(std::chrono::seconds length) {
    return call(amochats_message_set_duration, static_cast<std::uint64_t>(length.count()));
  }
  message &sticker_id(std::string_view id) { return set(amochats_message_set_sticker_id, id); }
  message &caption(std::string_view text) { return set(amochats_message_set_caption, text); }
  message &location(double longitude, double latitude) {
    return call(amochats_message_set_location, longitude, latitude);
  }
  message &contact(std::string_view name, std::string_view phone) {
    return call(amochats_message_set_contact, detail::slice(name), detail::slice(phone));
  }
  message &reply_to(std::string_view message_id, std::string_view message_ref_id = {}) {
    return call(amochats_message_set_reply_to, detail::slice(message_id), detail::slice(message_ref_id));
  }
  message &reply_to(const message &described) {
    return call(amochats_message_set_reply_to_described, described.raw());
  }
  message &forward(std::string_view message_id, std::string_view message_ref_id = {},
                   std::string_view conversation_id = {}, std::string_view conversation_ref_id = {}) {
    return call(amochats_message_set_forward, detail::slice(message_id), detail::slice(message_ref_id),
                detail::slice(conversation_id), detail::slice(conversation_ref_id));
  }
  message &forward(const message &described) {
    return call(amochats_message_set_forward_described, described.raw());
  }
  message &post(std::string_view id, std::string_view url, std::string_view preview_url = {},
                std::string_view preview_permalink = {}, std::string_view username = {},
                std::string_view caption = {}) {
    return call(amochats_message_set_post, detail::slice(id), detail::slice(url), detail::slice(preview_url),
                detail::slice(preview_permalink), detail::slice(username), detail::slice(caption));
  }
  message &shared_post(std::string_view url, std::string_view preview_link = {},
                       std::string_view preview_permalink = {}, std::string_view site_name = {}) {
    return call(amochats_message_set_shared_post, detail::slice(url), detail::slice(preview_link),
                detail::slice(preview_permalink), detail::slice(site_name));
  }

  // The body to sign and send.
  std::string json() const {
    amochats_buffer *raw = nullptr;
    detail::call(amochats_message_json, raw_.get(), &raw);
    const detail::handle<amochats_buffer, amochats_buffer_free> body(raw);
    return std::string(detail::view(amochats_buffer_slice(raw)));
  }

  const amochats_message *raw() const noexcept { return raw_.get(); }

 private:
  template <typename Function, typename... Arguments>
  message &call(Function function, Arguments... arguments) {
    detail::call(function, raw_.get(), arguments...);
    return *this;
  }
  template <typename Function>
  message &set(Function function, std::string_view to) {
    return call(function, detail::slice(to));
  }

  detail::handle<amochats_message, amochats_message_free> raw_;
};

// A call of the chats API, to be made by a client at once or by the outbox.
class call {
 public:
  static call connect(std::string_view account_id, std::string_view title = {}, std::string_view hook_version = {}) {
    return make(amochats_call_connect, account_id, title, hook_version);
  }
  static call disconnect(std::string_view account_id) { return make(amochats_call_disconnect, account_id); }
  static call create_chat(std::string_view scope_id, std::string_view conversation_id, const user &client,
                          std::string_view source = {}) {
    return make(amochats_call_create_chat, scope_id, conversation_id, client.raw(), source);
  }
  static call send_message(std::string_view scope_id, const message &message) {
    return make(amochats_call_send_message, scope_id, message.raw());
  }
  static call edit_message(std::string_view scope_id, const message &message) {
    return make(amochats_call_edit_message, scope_id, message.raw());
  }
  // `status` is 1 delivered, 2 read, -1 failed with a code of 901 to 905 and a text.
  static call set_delivery_status(std::string_view scope_id, std::string_view message_ref_id, std::int32_t status,
                                  std::uint32_t error_code = 0, std::string_view error_text = {},
                                  std::string_view conversation_ref_id = {}) {
    return make(amochats_call_set_delivery_status, scope_id, message_ref_id, conversation_ref_id, status, error_code,
                error_text);
  }
  static call history(std::string_view scope_id, std::string_view conversation_ref_id, std::uint64_t offset = 0,
                      std::uint32_t limit = 50) {
    return make(amochats_call_history, scope_id, conversation_ref_id, offset, limit);
  }
  static call send_typing(std::string_view scope_id, std::string_view conversation_id, std::string_view user_id,
                          std::chrono::milliseconds duration = {}) {
    return make(amochats_call_send_typing, scope_id, conversation_id, user_id,
                static_cast<std::uint32_t>(duration.count()));
  }
  // Without an emoji the reaction is taken back.
  static call react(std::string_view scope_id, std::string_view conversation_id, std::string_view message_id,
                    std::string_view user_id, std::string_view emoji) {
    return make(amochats_call_react, scope_id, conversation_id, std::string_view(), message_id, std::string_view(),
                user_id, std::string_view(), emoji);
  }
  static call from_json(std::string_view name, std::string_view scope_id, std::string_view json,
                        std::string_view message_ref_id = {}) {
    return make(amochats_call_from_json, name, scope_id, json, message_ref_id);
  }

  const amochats_call *raw() const noexcept { return raw_.get(); }

 private:
  explicit call(amochats_call *raw) noexcept : raw_(raw) {}

  static amochats_slice plain(std::string_view text) noexcept { return detail::slice(text); }
  template <typename T>
  static T plain(T other) noexcept {
    return other;
  }
  template <typename Function, typename... Arguments>
  static call make(Function function, Arguments... arguments) {
    amochats_call *raw = nullptr;
    detail::call(function, plain(arguments)..., &raw);
    return call(raw);
  }

  detail::handle<amochats_call, amochats_call_free> raw_;
};

// What is told once when a call has ended that was not waited for: the answer, which may be empty, and
// the error, or nullptr. Both end with the function.
using completion = std::function<void(value_view answer, const error *failure)>;

namespace detail {

inline void complete(void *data, amochats_result, const amochats_value *answer, const amochats_error *failure) {
  const std::unique_ptr<completion> told(static_cast<completion *>(data));
  // An exception cannot cross the library, and there is nobody to catch it.
  try {
    if (failure == nullptr) return (*told)(value_view(answer), nullptr);
    const error copied(*failure);
    (*told)(value_view(), &copied);
  } catch (...) {
  }
}

}  // namespace detail

// Cancels a call that was not waited for.
class token {
 public:
  token() = default;
  explicit token(amochats_token *raw) noexcept : raw_(raw) {}
  void cancel() const noexcept { amochats_token_cancel(raw_.get()); }

 private:
  detail::handle<amochats_token, amochats_token_free> raw_;
};

namespace detail {

// Begins a call, of which `function` takes the arguments and then callback, data, token and error.
template <typename Function, typename... Arguments>
token begin(completion done, Function function, Arguments... arguments) {
  auto told = std::make_unique<completion>(std::move(done));
  amochats_token *raw = nullptr;
  call(function, arguments..., complete, static_cast<void *>(told.get()), &raw);
  // The callback has it now, or had it already.
  static_cast<void>(told.release());
  return token(raw);
}

}  // namespace detail

// Calls the chats API.
class client {
 public:
  // With threads of its own. `service` is "ru", "kommo", "com" or an address.
  client(std::string_view channel_id, std::string_view secret, std::string_view service) {
    const detail::handle<amochats_client_options, amochats_client_options_free> options(amochats_client_options_new());
    detail::call(amochats_client_options_set_service, options.get(), detail::slice(service));
    amochats_client *raw = nullptr;
    detail::call(amochats_client_open, detail::slice(channel_id), detail::slice(secret),
                 static_cast<const amochats_client_options *>(options.get()), &raw);
    raw_.reset(raw);
  }
  explicit client(amochats_client *raw) noexcept : raw_(raw) {}

  value make(const call &call, timeout timeout = forever) const {
    amochats_value *answer = nullptr;
    detail::call(amochats_client_call, raw_.get(), call.raw(), timeout.count(), &answer);
    return value(answer);
  }
  token make_async(const call &call, completion done) const {
    return detail::begin(std::move(done), amochats_client_call_async, raw_.get(), call.raw());
  }

  value connect(std::string_view account_id, std::string_view title = {}, timeout timeout = forever) const {
    return make(call::connect(account_id, title), timeout);
  }
  value send_message(std::string_view scope_id, const message &message, timeout timeout = forever) const {
    return make(call::send_message(scope_id, message), timeout);
  }

 private:
  detail::handle<amochats_client, amochats_client_free> raw_;
};

// An event; belongs to the object it was asked of.
class event_view {
 public:
  explicit event_view(const amochats_event *raw) noexcept : raw_(raw) {}

  std::string_view event_id() const noexcept { return detail::view(amochats_event_id(raw_)); }
  std::string_view kind_name() const noexcept { return detail::view(amochats_event_kind_name(raw_)); }
  std::string_view channel_id() const noexcept { return detail::view(amochats_event_channel_id(raw_)); }
  std::string_view account_id() const noexcept { return detail::view(amochats_event_account_id(raw_)); }
  std::string_view scope_id() const noexcept { return detail::view(amochats_event_scope_id(raw_)); }
  std::string_view origin() const noexcept { return detail::view(amochats_event_origin(raw_)); }
  std::string_view raw_body() const noexcept { return detail::view(amochats_event_raw(raw_)); }
  std::string_view json() const noexcept { return detail::view(amochats_event_json(raw_)); }
  bool is_conflicting_duplicate() const noexcept { return amochats_event_is_conflicting_duplicate(raw_); }
  std::chrono::system_clock::time_point received_at() const noexcept {
    return std::chrono::system_clock::time_point(
        std::chrono::milliseconds(amochats_event_received_at_msec(raw_)));
  }
  // What came from the CRM; of the end of a call there is nothing in it.
  webhook_view webhook() const noexcept { return webhook_view(amochats_event_webhook(raw_)); }
  // The item of the outbox whose end this is.
  value_view item() const noexcept { return value_view(amochats_event_item(raw_)); }

 private:
  const amochats_event *raw_;
};

// An event that was handed out, to be settled.
class delivery {
 public:
  explicit delivery(amochats_delivery *raw) noexcept : raw_(raw) {}

  event_view event() const noexcept { return event_view(amochats_delivery_event(raw_.get())); }
  std::uint32_t attempt() const noexcept { return amochats_delivery_attempt(raw_.get()); }
  bool is_again() const noexcept { return amochats_delivery_is_again(raw_.get()); }
  bool is_live() const noexcept { return amochats_delivery_is_live(raw_.get()); }

  // `status` other than 0 is reported to the CRM: 1 delivered, 2 read, -1 failed.
  void ack(std::int32_t status = 0, std::uint32_t error_code = 0, std::string_view error_text = {},
           timeout timeout = forever) const {
    detail::call(amochats_delivery_ack, raw_.get(), status, error_code, detail::slice(error_text), timeout.count());
  }
  // Without a delay it grows with each attempt.
  void nack(std::optional<std::chrono::milliseconds> delay = std::nullopt, timeout timeout = forever) const {
    detail::call(amochats_delivery_nack, raw_.get(), delay ? delay->count() : -1, timeout.count());
  }
  void dead(timeout timeout = forever) const {
    detail::call(amochats_delivery_dead, raw_.get(), timeout.count());
  }
  void extend(std::chrono::milliseconds lease) const {
    detail::call(amochats_delivery_extend, raw_.get(), static_cast<std::uint64_t>(lease.count()));
  }
  token ack_async(completion done, std::int32_t status = 0) const {
    return detail::begin(std::move(done), amochats_delivery_ack_async, raw_.get(), status, std::uint32_t{0},
                         amochats_slice{nullptr, 0});
  }

  // Gives it up to the caller.
  amochats_delivery *release() noexcept { return raw_.release(); }

 private:
  detail::handle<amochats_delivery, amochats_delivery_free> raw_;
};

// How a consumer works; what is not set is as amochats.h says.
struct consumer_options {
  std::uint32_t max_outstanding = 100;
  std::chrono::milliseconds lease = std::chrono::minutes(1);
  bool create = false;
  bool temporary = false;
  bool live = true;
  bool dispatch = false;
};

// Receives the events of a subscription.
class consumer {
 public:
  // Says what becomes of a delivery. One that it moved away, AMOCHATS_VERDICT_KEEP, it settles itself;
  // after an exception it is handed out again.
  using handler = std::function<amochats_verdict(delivery &)>;

  explicit consumer(amochats_consumer *raw) noexcept : raw_(raw) {}

  // The next delivery, or nothing in time.
  std::optional<delivery> next(timeout timeout = forever) const {
    amochats_delivery *raw = nullptr;
    detail::call(amochats_consumer_next, raw_.get(), timeout.count(), &raw);
    if (raw == nullptr) return std::nullopt;
    return delivery(raw);
  }
  int fd() const noexcept { return amochats_consumer_fd(raw_.get()); }
  std::uint32_t dispatch(std::uint32_t max = 32) const {
    std::uint32_t ran = 0;
    detail::call(amochats_consumer_dispatch, raw_.get(), max, &ran);
    return ran;
  }
  void on_delivery(handler handle) {
    auto state = std::make_unique<handler>(std::move(handle));
    detail::call(amochats_consumer_set_handler, raw_.get(), give, amochats_callback{nullptr},
                 static_cast<void *>(state.get()));
    handler_ = std::move(state);
  }
  void close(timeout timeout = forever) const {
    detail::call(amochats_consumer_close, raw_.get(), timeout.count());
  }

  // Deliveries until the consumer is closed: for (auto &delivery : consumer) { ... delivery.ack(); }
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = delivery;
    using difference_type = std::ptrdiff_t;
    using pointer = delivery *;
    using reference = delivery &;

    explicit iterator(const consumer *from) : from_(from) {
      if (from_ != nullptr) ++*this;
    }
    delivery &operator*() { return *current_; }
    delivery *operator->() { return &*current_; }
    iterator &operator++() {
      current_.reset();
      try {
        while (!current_) current_ = from_->next();
      } catch (const error &end) {
        if (end.code() != AMOCHATS_RESULT_CLOSED) throw;
        from_ = nullptr;
      }
      return *this;
    }
    bool operator==(const iterator &other) const noexcept { return from_ == other.from_; }
    bool operator!=(const iterator &other) const noexcept { return from_ != other.from_; }

   private:
    const consumer *from_;
    std::optional<delivery> current_;
  };
  iterator begin() const { return iterator(this); }
  iterator end() const { return iterator(nullptr); }

  const amochats_consumer *raw() const noexcept { return raw_.get(); }

 private:
  static std::uint32_t give(void *data, amochats_delivery *raw) {
    delivery given(raw);
    auto verdict = AMOCHATS_VERDICT_NACK;
    try {
      verdict = (*static_cast<handler *>(data))(given);
    } catch (...) {
    }
    if (verdict == AMOCHATS_VERDICT_KEEP) return verdict;
    // What the handler moved away is its own, whatever it says.
    return given.release() != nullptr ? verdict : AMOCHATS_VERDICT_KEEP;
  }

  // Freed after the consumer, which calls it.
  std::unique_ptr<handler> handler_;
  detail::handle<amochats_consumer, amochats_consumer_free> raw_;
};

// How a channel works.
class config {
 public:
  using log = std::function<void(amochats_level level, std::string_view target, std::string_view line)>;

  config() : raw_(amochats_config_new()) {}

  config &toml(std::string_view toml) { return call(amochats_config_set_toml, detail::slice(toml)); }
  config &load(std::string_view path) { return call(amochats_config_load, detail::slice(path)); }
  config &set(std::string_view key, std::string_view to) {
    return call(amochats_config_set, detail::slice(key), detail::slice(to));
  }
  config &add_channel(std::string_view channel_id, std::string_view secret, std::string_view service) {
    return call(amochats_config_add_channel, detail::slice(channel_id), detail::slice(secret), detail::slice(service));
  }
  config &threads(std::uint32_t threads) { return call(amochats_config_set_threads, threads); }
  // Lines come on several threads at once.
  config &log_to(amochats_level level, log log) {
    log_ = std::make_shared<config::log>(std::move(log));
    amochats_config_set_log(raw_.get(), level, line, log_.get());
    return *this;
  }

  const amochats_config *raw() const noexcept { return raw_.get(); }
  // What the channel must keep alive.
  std::shared_ptr<log> log_function() const noexcept { return log_; }

 private:
  template <typename Function, typename... Arguments>
  config &call(Function function, Arguments... arguments) {
    detail::call(function, raw_.get(), arguments...);
    return *this;
  }
  static void line(void *data, amochats_level level, amochats_slice target, amochats_slice line) {
    // An exception cannot cross the library.
    try {
      (*static_cast<log *>(data))(level, detail::view(target), detail::view(line));
    } catch (...) {
    }
  }

  std::shared_ptr<log> log_;
  detail::handle<amochats_config, amochats_config_free> raw_;
};

// The channel at work in this process. Its end closes it, within 5 s; close() says how that went.
class channel {
 public:
  explicit channel(const config &config, timeout timeout = forever) : log_(config.log_function()) {
    amochats_channel *raw = nullptr;
    detail::call(amochats_channel_open, config.raw(), timeout.count(), &raw);
    raw_.reset(raw);
  }

  void close(timeout timeout = forever) const { detail::call(amochats_channel_close, raw_.get(), timeout.count()); }
  std::string_view listener_address() const noexcept {
    return detail::view(amochats_channel_listener_address(raw_.get()));
  }
  std::string_view admin_address() const noexcept { return detail::view(amochats_channel_admin_address(raw_.get())); }

  amochats_ingested ingest(std::string_view scope_id, optional_text signature, std::string_view body,
                           timeout timeout = std::chrono::seconds(4)) const {
    amochats_ingested ingested = AMOCHATS_INGESTED_KEPT;
    detail::call(amochats_channel_ingest, raw_.get(), detail::slice(scope_id), detail::slice(signature),
                 detail::slice(body), timeout.count(), &ingested);
    return ingested;
  }
  token ingest_async(std::string_view scope_id, optional_text signature, std::string_view body, completion done) const {
    return detail::begin(std::move(done), amochats_channel_ingest_async, raw_.get(), detail::slice(scope_id),
                         detail::slice(signature), detail::slice(body));
  }

  consumer open_consumer(std::string_view subscription, const consumer_options &options = {},
                         timeout timeout = forever) const {
    const detail::handle<amochats_consumer_options, amochats_consumer_options_free> raw_options(
        amochats_consumer_options_new());
    amochats_consumer_options_set_max_outstanding(raw_options.get(), options.max_outstanding);
    amochats_consumer_options_set_lease_ms(raw_options.get(), static_cast<std::uint64_t>(options.lease.count()));
    amochats_consumer_options_set_create(raw_options.get(), options.create);
    amochats_consumer_options_set_temporary(raw_options.get(), options.temporary);
    amochats_consumer_options_set_live(raw_options.get(), options.live);
    amochats_consumer_options_set_dispatch(raw_options.get(), options.dispatch);
    amochats_consumer *raw = nullptr;
    detail::call(amochats_consumer_open, raw_.get(), detail::slice(subscription),
                 static_cast<const amochats_consumer_options *>(raw_options.get()), timeout.count(), &raw);
    return consumer(raw);
  }
  // A client with the channel's secret; `channel_id` may be empty where there is one channel.
  client open_client(std::string_view channel_id = {}) const {
    amochats_client *raw = nullptr;
    detail::call(amochats_channel_client, raw_.get(), detail::slice(channel_id), &raw);
    return client(raw);
  }
  void set_dispatcher(const consumer &consumer) const {
    detail::call(amochats_channel_set_dispatcher, raw_.get(), consumer.raw());
  }

  value enqueue(const call &call, std::string_view key = {}, std::chrono::milliseconds expires_in = {},
                timeout timeout = forever) const {
    amochats_value *item = nullptr;
    detail::call(amochats_outbox_enqueue, raw_.get(), call.raw(), detail::slice(key),
                 static_cast<std::uint64_t>(expires_in.count()), timeout.count(), &item);
    return value(item);
  }
  value outbox_item(std::string_view item_id, timeout timeout = forever) const {
    amochats_value *item = nullptr;
    detail::call(amochats_outbox_get, raw_.get(), detail::slice(item_id), timeout.count(), &item);
    return value(item);
  }
  value cancel(std::string_view item_id, timeout timeout = forever) const {
    amochats_value *item = nullptr;
    detail::call(amochats_outbox_cancel, raw_.get(), detail::slice(item_id), timeout.count(), &item);
    return value(item);
  }

  value accounts() const {
    amochats_value *list = nullptr;
    detail::call(amochats_channel_accounts, raw_.get(), &list);
    return value(list);
  }
  value subscriptions(timeout timeout = forever) const {
    amochats_value *list = nullptr;
    detail::call(amochats_subscription_list, raw_.get(), timeout.count(), &list);
    return value(list);
  }
  value dead_letters(std::string_view subscription, std::int64_t after = 0, std::uint32_t limit = 100,
                     timeout timeout = forever) const {
    amochats_value *list = nullptr;
    detail::call(amochats_dead_letters_list, raw_.get(), detail::slice(subscription), after, limit, timeout.count(),
                 &list);
    return value(list);
  }
  void check_health(timeout timeout = forever) const {
    detail::call(amochats_channel_health, raw_.get(), timeout.count());
  }
  std::string metrics(timeout timeout = forever) const {
    amochats_buffer *raw = nullptr;
    detail::call(amochats_channel_metrics, raw_.get(), timeout.count(), &raw);
    const detail::handle<amochats_buffer, amochats_buffer_free> text(raw);
    return std::string(detail::view(amochats_buffer_slice(raw)));
  }

  // For the functions of amochats.h that have none here.
  const amochats_channel *raw() const noexcept { return raw_.get(); }

 private:
  // Freed after the channel, which calls it.
  std::shared_ptr<config::log> log_;
  detail::handle<amochats_channel, amochats_channel_free> raw_;
};

}  // namespace amochats

#endif  // AMOCHATS_HPP
