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
#include <vector>

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

// An argument as the C interface takes it: texts as slices, times in milliseconds.
inline amochats_slice plain(std::string_view text) noexcept { return slice(text); }
inline amochats_slice plain(optional_text text) noexcept { return slice(text); }
inline std::int64_t plain(std::chrono::milliseconds time) noexcept { return time.count(); }
template <typename T>
T plain(T other) noexcept {
  return other;
}

// Calls a function of the C interface with an error for its last argument.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments) {
  amochats_error *raw = nullptr;
  if (function(plain(arguments)..., &raw) != AMOCHATS_RESULT_OK) throw error(raw);
}

// As call(), for a function that writes an object before the error.
template <typename T, typename Function, typename... Arguments>
T *made(Function function, Arguments... arguments) {
  T *raw = nullptr;
  call(function, arguments..., &raw);
  return raw;
}

// As made(), of text.
template <typename Function, typename... Arguments>
std::string text(Function function, Arguments... arguments) {
  const handle<amochats_buffer, amochats_buffer_free> buffer(made<amochats_buffer>(function, arguments...));
  return std::string(view(amochats_buffer_slice(buffer.get())));
}

// A moment as the C interface takes it.
inline std::int64_t unix_ms(std::chrono::system_clock::time_point time) noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// A time that the C interface takes without a sign.
inline std::uint64_t unsigned_ms(std::chrono::milliseconds time) noexcept {
  return static_cast<std::uint64_t>(time.count());
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
  detail::call(amochats_sign_body, secret, body, &signature);
  return signature;
}

inline signed_headers sign_request(std::string_view secret, std::string_view method, std::string_view path,
                                   std::string_view content_type, std::string_view date,
                                   std::string_view body) {
  amochats_signed_headers *raw = nullptr;
  detail::call(amochats_sign_request, secret, method, path, content_type, date, body, &raw);
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
  return detail::text(amochats_message_encode, json);
}

// Checks a request of the chats API and writes the body to sign and send; amochats.h names the calls.
inline std::string encode_request(std::string_view call, std::string_view json) {
  return detail::text(amochats_request_encode, call, json);
}

// Reads the answer to a call of the history, as stable JSON.
inline std::string parse_history(std::string_view answer) {
  return detail::text(amochats_history_parse, answer);
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
    detail::call(amochats_verifier_add_secret, raw_.get(), secret);
  }

  // Throws where the signature is not genuine; std::nullopt means that there was no such header.
  void verify(std::string_view body, optional_text signature) const {
    detail::call(amochats_verifier_verify, raw_.get(), body, signature);
  }

  // Says what a signature turned out to be. For developers, never for the answer to a webhook.
  std::string_view diagnose(std::string_view body, optional_text signature) const {
    amochats_slice verdict;
    detail::call(amochats_verifier_diagnose, raw_.get(), body, signature,
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
    return webhook(detail::made<amochats_webhook>(amochats_webhook_parse, body));
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
    detail::call(function, raw_.get(), to);
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
    return call(amochats_message_set_media, static_cast<std::uint32_t>(kind), url);
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
    return call(amochats_message_set_contact, name, phone);
  }
  message &reply_to(std::string_view message_id, std::string_view message_ref_id = {}) {
    return call(amochats_message_set_reply_to, message_id, message_ref_id);
  }
  message &reply_to(const message &described) {
    return call(amochats_message_set_reply_to_described, described.raw());
  }
  message &forward(std::string_view message_id, std::string_view message_ref_id = {},
                   std::string_view conversation_id = {}, std::string_view conversation_ref_id = {}) {
    return call(amochats_message_set_forward, message_id, message_ref_id, conversation_id, conversation_ref_id);
  }
  message &forward(const message &described) {
    return call(amochats_message_set_forward_described, described.raw());
  }
  message &post(std::string_view id, std::string_view url, std::string_view preview_url = {},
                std::string_view preview_permalink = {}, std::string_view username = {},
                std::string_view caption = {}) {
    return call(amochats_message_set_post, id, url, preview_url, preview_permalink, username, caption);
  }
  message &shared_post(std::string_view url, std::string_view preview_link = {},
                       std::string_view preview_permalink = {}, std::string_view site_name = {}) {
    return call(amochats_message_set_shared_post, url, preview_link, preview_permalink, site_name);
  }

  // The body to sign and send.
  std::string json() const {
    return detail::text(amochats_message_json, raw_.get());
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
    return call(function, to);
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

  template <typename Function, typename... Arguments>
  static call make(Function function, Arguments... arguments) {
    return call(detail::made<amochats_call>(function, arguments...));
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

// Gets the lines of the log, on several threads at once. An exception loses the line.
using log = std::function<void(amochats_level level, std::string_view target, std::string_view line)>;

namespace detail {

inline void write_line(void *data, amochats_level level, amochats_slice target, amochats_slice line) {
  // An exception cannot cross the library.
  try {
    (*static_cast<log *>(data))(level, view(target), view(line));
  } catch (...) {
  }
}

}  // namespace detail

// Where the service is and how to call it; what is not set is as amochats.h says.
class client_options {
 public:
  client_options() : raw_(amochats_client_options_new()) {}

  // "ru", "kommo", "com" or an address.
  client_options &service(std::string_view service) { return call(amochats_client_options_set_service, service); }
  client_options &request_timeout(std::chrono::milliseconds timeout) {
    return set(amochats_client_options_set_timeout_ms, detail::unsigned_ms(timeout));
  }
  client_options &deadline(std::chrono::milliseconds deadline) {
    return set(amochats_client_options_set_deadline_ms, detail::unsigned_ms(deadline));
  }
  client_options &requests_per_second(std::uint32_t requests) {
    return set(amochats_client_options_set_requests_per_second, requests);
  }
  client_options &body_signature_only(bool body_only = true) {
    return set(amochats_client_options_set_body_signature_only, body_only);
  }
  client_options &send_once(bool once = true) { return set(amochats_client_options_set_send_once, once); }
  client_options &add_root_certificate(std::string_view pem) {
    return call(amochats_client_options_add_root_certificate, pem);
  }
  client_options &threads(std::uint32_t threads) { return call(amochats_client_options_set_threads, threads); }
  client_options &log_to(amochats_level level, log log) {
    log_ = std::make_shared<amochats::log>(std::move(log));
    amochats_client_options_set_log(raw_.get(), level, detail::write_line, log_.get());
    return *this;
  }

  const amochats_client_options *raw() const noexcept { return raw_.get(); }
  // What the client must keep alive.
  std::shared_ptr<log> log_function() const noexcept { return log_; }

 private:
  template <typename Function, typename Argument>
  client_options &call(Function function, Argument argument) {
    detail::call(function, raw_.get(), argument);
    return *this;
  }
  template <typename Function, typename Argument>
  client_options &set(Function function, Argument argument) {
    function(raw_.get(), argument);
    return *this;
  }

  std::shared_ptr<log> log_;
  detail::handle<amochats_client_options, amochats_client_options_free> raw_;
};

// Calls the chats API.
class client {
 public:
  // With threads of its own.
  client(std::string_view channel_id, std::string_view secret, const client_options &options)
      : log_(options.log_function()),
        raw_(detail::made<amochats_client>(amochats_client_open, channel_id, secret, options.raw())) {}
  client(std::string_view channel_id, std::string_view secret, std::string_view service)
      : client(channel_id, secret, client_options().service(service)) {}
  explicit client(amochats_client *raw) noexcept : raw_(raw) {}
  client(client &&) noexcept = default;
  // As everywhere below, what is replaced ends before what it calls.
  client &operator=(client &&other) noexcept {
    raw_.reset(other.raw_.release());
    log_ = std::move(other.log_);
    return *this;
  }

  value make(const call &call, timeout timeout = forever) const {
    return value(detail::made<amochats_value>(amochats_client_call, raw_.get(), call.raw(), timeout));
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
  // Freed after the client, which calls it.
  std::shared_ptr<log> log_;
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

// An event of its own.
class event : public event_view {
 public:
  explicit event(amochats_event *raw) noexcept : event_view(raw), owned_(raw) {}

 private:
  detail::handle<amochats_event, amochats_event_free> owned_;
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
    detail::call(amochats_delivery_ack, raw_.get(), status, error_code, error_text, timeout);
  }
  // Without a delay it grows with each attempt.
  void nack(std::optional<std::chrono::milliseconds> delay = std::nullopt, timeout timeout = forever) const {
    detail::call(amochats_delivery_nack, raw_.get(), delay ? delay->count() : -1, timeout);
  }
  void dead(timeout timeout = forever) const {
    detail::call(amochats_delivery_dead, raw_.get(), timeout);
  }
  void extend(std::chrono::milliseconds lease) const {
    detail::call(amochats_delivery_extend, raw_.get(), static_cast<std::uint64_t>(lease.count()));
  }
  token ack_async(completion done, std::int32_t status = 0) const {
    return detail::begin(std::move(done), amochats_delivery_ack_async, raw_.get(), status, std::uint32_t{0},
                         amochats_slice{nullptr, 0});
  }
  token nack_async(completion done, std::optional<std::chrono::milliseconds> delay = std::nullopt) const {
    return detail::begin(std::move(done), amochats_delivery_nack_async, raw_.get(),
                         std::int64_t{delay ? delay->count() : -1});
  }
  token dead_async(completion done) const {
    return detail::begin(std::move(done), amochats_delivery_dead_async, raw_.get());
  }

  // Gives it up to the caller.
  amochats_delivery *release() noexcept { return raw_.release(); }

 private:
  detail::handle<amochats_delivery, amochats_delivery_free> raw_;
};

// How a consumer works; what is not set is as amochats.h says.
struct consumer_options {
  std::uint32_t max_outstanding = 100;
  std::uint64_t max_outstanding_bytes = 0;  // 0: only their number is bounded
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
  consumer(consumer &&) noexcept = default;
  consumer &operator=(consumer &&other) noexcept {
    raw_.reset(other.raw_.release());
    handler_ = std::move(other.handler_);
    return *this;
  }

  // The next delivery, or nothing in time.
  std::optional<delivery> next(timeout timeout = forever) const {
    amochats_delivery *raw = nullptr;
    detail::call(amochats_consumer_next, raw_.get(), timeout, &raw);
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
    detail::call(amochats_consumer_close, raw_.get(), timeout);
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

// Which events, and from where on. Of what is added of a sort, one must fit.
class filter {
 public:
  filter() : raw_(amochats_filter_new()) {}

  filter &add_kind(std::string_view kind) { return call(amochats_filter_add_kind, kind); }
  filter &add_account(std::string_view account_id) { return call(amochats_filter_add_account, account_id); }
  filter &add_scope(std::string_view scope_id) { return call(amochats_filter_add_scope, scope_id); }
  filter &add_conversation(std::string_view id) { return call(amochats_filter_add_conversation, id); }
  filter &start_now() {
    amochats_filter_start_now(raw_.get());
    return *this;
  }
  filter &start_since(std::chrono::system_clock::time_point time) {
    amochats_filter_start_since_msec(raw_.get(), detail::unix_ms(time));
    return *this;
  }
  filter &start_after(std::string_view event_id) { return call(amochats_filter_start_after, event_id); }

  const amochats_filter *raw() const noexcept { return raw_.get(); }

 private:
  template <typename Function>
  filter &call(Function function, std::string_view text) {
    detail::call(function, raw_.get(), text);
    return *this;
  }

  detail::handle<amochats_filter, amochats_filter_free> raw_;
};

// Which summaries of events, in which order; without any of it the oldest 1000 of all.
class summary_query {
 public:
  summary_query() : raw_(amochats_summary_query_new()) {}

  // One that does not say where to begin.
  summary_query &only(const filter &filter) {
    detail::call(amochats_summary_query_set_filter, raw_.get(), filter.raw());
    return *this;
  }
  summary_query &newest_first(bool newest_first = true) {
    amochats_summary_query_set_newest_first(raw_.get(), newest_first);
    return *this;
  }
  summary_query &since(std::chrono::system_clock::time_point time) {
    amochats_summary_query_set_since_msec(raw_.get(), detail::unix_ms(time));
    return *this;
  }
  summary_query &until(std::chrono::system_clock::time_point time) {
    amochats_summary_query_set_until_msec(raw_.get(), detail::unix_ms(time));
    return *this;
  }
  summary_query &message_ref_id(std::string_view id) {
    detail::call(amochats_summary_query_set_message_ref_id, raw_.get(), id);
    return *this;
  }
  summary_query &after(std::string_view event_id) {
    detail::call(amochats_summary_query_set_after, raw_.get(), event_id);
    return *this;
  }
  summary_query &limit(std::uint32_t limit) {
    amochats_summary_query_set_limit(raw_.get(), limit);
    return *this;
  }

  const amochats_summary_query *raw() const noexcept { return raw_.get(); }

 private:
  detail::handle<amochats_summary_query, amochats_summary_query_free> raw_;
};

// How a channel works.
class config {
 public:
  using log = amochats::log;

  config() : raw_(amochats_config_new()) {}

  config &toml(std::string_view toml) { return call(amochats_config_set_toml, toml); }
  config &load(std::string_view path) { return call(amochats_config_load, path); }
  config &set(std::string_view key, std::string_view to) {
    return call(amochats_config_set, key, to);
  }
  config &add_channel(std::string_view channel_id, std::string_view secret, std::string_view service) {
    return call(amochats_config_add_channel, channel_id, secret, service);
  }
  config &threads(std::uint32_t threads) { return call(amochats_config_set_threads, threads); }
  config &log_to(amochats_level level, log log) {
    log_ = std::make_shared<config::log>(std::move(log));
    amochats_config_set_log(raw_.get(), level, detail::write_line, log_.get());
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

  std::shared_ptr<log> log_;
  detail::handle<amochats_config, amochats_config_free> raw_;
};

namespace detail {

inline std::uint32_t decide(void *data, const amochats_value *attempt) {
  // An exception cannot cross the library.
  try {
    return (*static_cast<std::function<amochats_decision(value_view)> *>(data))(value_view(attempt));
  } catch (...) {
    return AMOCHATS_DECISION_UNAVAILABLE;
  }
}

}  // namespace detail

// The channel at work in this process. Its end closes it, within 5 s; close() says how that went.
class channel {
 public:
  explicit channel(const config &config, timeout timeout = forever) : log_(config.log_function()) {
    raw_.reset(detail::made<amochats_channel>(amochats_channel_open, config.raw(), timeout));
  }
  channel(channel &&) noexcept = default;
  channel &operator=(channel &&other) noexcept {
    raw_.reset(other.raw_.release());
    log_ = std::move(other.log_);
    authorizers_ = std::move(other.authorizers_);
    return *this;
  }

  void close(timeout timeout = forever) const { tell(amochats_channel_close, timeout); }
  std::string_view listener_address() const noexcept {
    return detail::view(amochats_channel_listener_address(raw_.get()));
  }
  std::string_view admin_address() const noexcept { return detail::view(amochats_channel_admin_address(raw_.get())); }

  amochats_ingested ingest(std::string_view scope_id, optional_text signature, std::string_view body,
                           timeout timeout = std::chrono::seconds(4)) const {
    amochats_ingested ingested = AMOCHATS_INGESTED_KEPT;
    detail::call(amochats_channel_ingest, raw_.get(), scope_id, signature, body, timeout, &ingested);
    return ingested;
  }
  token ingest_async(std::string_view scope_id, optional_text signature, std::string_view body, completion done) const {
    return detail::begin(std::move(done), amochats_channel_ingest_async, raw_.get(), scope_id, signature, body);
  }

  consumer open_consumer(std::string_view subscription, const consumer_options &options = {},
                         timeout timeout = forever) const {
    const detail::handle<amochats_consumer_options, amochats_consumer_options_free> raw_options(
        amochats_consumer_options_new());
    amochats_consumer_options_set_max_outstanding(raw_options.get(), options.max_outstanding);
    if (options.max_outstanding_bytes != 0)
        amochats_consumer_options_set_max_outstanding_bytes(raw_options.get(), options.max_outstanding_bytes);
    amochats_consumer_options_set_lease_ms(raw_options.get(), static_cast<std::uint64_t>(options.lease.count()));
    amochats_consumer_options_set_create(raw_options.get(), options.create);
    amochats_consumer_options_set_temporary(raw_options.get(), options.temporary);
    amochats_consumer_options_set_live(raw_options.get(), options.live);
    amochats_consumer_options_set_dispatch(raw_options.get(), options.dispatch);
    const amochats_consumer_options *raw = raw_options.get();
    return consumer(
        detail::made<amochats_consumer>(amochats_consumer_open, raw_.get(), subscription, raw, timeout));
  }
  // A client with the channel's secret; `channel_id` may be empty where there is one channel.
  client open_client(std::string_view channel_id = {}) const {
    return client(detail::made<amochats_client>(amochats_channel_client, raw_.get(), channel_id));
  }
  void set_dispatcher(const consumer &consumer) const {
    tell(amochats_channel_set_dispatcher, consumer.raw());
  }

  value enqueue(const call &call, std::string_view key = {}, std::chrono::milliseconds expires_in = {},
                timeout timeout = forever) const {
    return ask(amochats_outbox_enqueue, call.raw(), key, detail::unsigned_ms(expires_in), timeout);
  }
  token enqueue_async(const call &call, completion done, std::string_view key = {},
                      std::chrono::milliseconds expires_in = {}) const {
    return detail::begin(std::move(done), amochats_outbox_enqueue_async, raw_.get(), call.raw(), key,
                         detail::unsigned_ms(expires_in));
  }
  // Those in these states, of this scope and after this item, where they are not empty.
  value outbox_items(std::string_view states = {}, std::string_view scope_id = {}, std::string_view after = {},
                     std::uint32_t limit = 100, timeout timeout = forever) const {
    return ask(amochats_outbox_list, states, scope_id, after, limit, timeout);
  }
  value outbox_item(std::string_view item_id, timeout timeout = forever) const {
    return ask(amochats_outbox_get, item_id, timeout);
  }
  value cancel(std::string_view item_id, timeout timeout = forever) const {
    return ask(amochats_outbox_cancel, item_id, timeout);
  }

  value accounts() const {
    return ask(amochats_channel_accounts);
  }
  // Whether it is new; one that is there stays as it is.
  bool create_subscription(std::string_view name, const filter &filter = {}, timeout timeout = forever) const {
    bool created = false;
    tell(amochats_subscription_create, name, filter.raw(), timeout, &created);
    return created;
  }
  void delete_subscription(std::string_view name, timeout timeout = forever) const {
    tell(amochats_subscription_delete, name, timeout);
  }
  value subscriptions(timeout timeout = forever) const {
    return ask(amochats_subscription_list, timeout);
  }
  value dead_letters(std::string_view subscription, std::int64_t after = 0, std::uint32_t limit = 100,
                     timeout timeout = forever) const {
    return ask(amochats_dead_letters_list, subscription, after, limit, timeout);
  }
  // Those at these places, or all; both say how many.
  using places = std::optional<std::vector<std::int64_t>>;
  std::uint64_t requeue_dead_letters(std::string_view subscription, const places &places = std::nullopt,
                                     timeout timeout = forever) const {
    return bury(amochats_dead_letters_requeue, subscription, places, timeout);
  }
  std::uint64_t drop_dead_letters(std::string_view subscription, const places &places = std::nullopt,
                                  timeout timeout = forever) const {
    return bury(amochats_dead_letters_drop, subscription, places, timeout);
  }
  void check_health(timeout timeout = forever) const {
    tell(amochats_channel_health, timeout);
  }
  std::string metrics(timeout timeout = forever) const {
    return detail::text(amochats_channel_metrics, raw_.get(), timeout);
  }

  // Waits for the end of an item of the outbox.
  value wait_for(std::string_view item_id, timeout timeout = forever) const {
    return ask(amochats_outbox_wait, item_id, timeout);
  }

  // Events that are kept, without their bodies.
  value summaries(const summary_query &query = {}, timeout timeout = forever) const {
    return ask(amochats_inbox_list_summaries, query.raw(), timeout);
  }
  // With their bodies, oldest first; of one scope and after one event, where these are not empty.
  value events(std::string_view after = {}, std::string_view scope_id = {}, std::uint32_t limit = 100,
               timeout timeout = forever) const {
    return ask(amochats_inbox_list_events, after, scope_id, limit, timeout);
  }
  std::optional<amochats::event> event(std::string_view event_id, timeout timeout = forever) const {
    auto *raw = detail::made<amochats_event>(amochats_inbox_get_event, raw_.get(), event_id, timeout);
    if (raw == nullptr) return std::nullopt;
    return amochats::event(raw);
  }
  // Hands events out again, from where the filter begins and of one scope, if it names one; says how many at most.
  std::uint64_t replay(std::string_view subscription, const filter &from = {}, timeout timeout = forever) const {
    return count(amochats_inbox_replay, subscription, from.raw(), timeout);
  }
  // Deletes the events of a conversation, by either id, for good.
  std::uint64_t purge(std::string_view scope_id, std::string_view conversation, timeout timeout = forever) const {
    return count(amochats_inbox_purge, scope_id, conversation, timeout);
  }
  value event_life(std::string_view event_id, timeout timeout = forever) const {
    return ask(amochats_inbox_event_life, event_id, timeout);
  }
  value backfill(timeout timeout = forever) const { return ask(amochats_backfill_start, timeout); }
  value backfill_progress(timeout timeout = forever) const { return ask(amochats_backfill_progress, timeout); }
  value unreported(std::string_view after = {}, std::uint32_t limit = 100, timeout timeout = forever) const {
    return ask(amochats_backfill_unreported, after, limit, timeout);
  }

  // A link to a file, to be sent as the media of a message; without a time it expires as configured.
  value attach(std::string_view file_name, std::string_view content_type, std::string_view bytes,
               std::chrono::milliseconds expires_in = {}, timeout timeout = forever) const {
    return ask(amochats_media_attach, file_name, content_type, bytes, detail::unsigned_ms(expires_in), timeout);
  }
  value attach_file(std::string_view path, std::string_view content_type, std::string_view file_name = {},
                    std::chrono::milliseconds expires_in = {}, timeout timeout = forever) const {
    return ask(amochats_media_attach_file, path, file_name, content_type, detail::unsigned_ms(expires_in), timeout);
  }
  value attachment(std::string_view event_id, timeout timeout = forever) const {
    return ask(amochats_media_attachment, event_id, timeout);
  }
  // Waits until it is fetched or given up.
  value wait_for_attachment(std::string_view event_id, timeout timeout = forever) const {
    return ask(amochats_media_wait, event_id, timeout);
  }

  // Decides who may connect an account with the widget, on threads of the library, several at once. After an
  // exception the widget is told to try again.
  using authorizer = std::function<amochats_decision(value_view attempt)>;
  void set_authorizer(authorizer decide) {
    auto state = std::make_unique<authorizer>(std::move(decide));
    tell(amochats_channel_set_authorizer, amochats_authorizer{detail::decide}, static_cast<void *>(state.get()));
    // The one before may be at work until the channel is closed.
    authorizers_.push_back(std::move(state));
  }
  // Answers a call of the widget that another HTTP server received; `headers` is an object in JSON.
  value widget_handle(std::string_view method, std::string_view path, std::string_view headers, std::string_view body,
                      std::string_view peer, timeout timeout = forever) const {
    return ask(amochats_channel_widget_handle, method, path, headers, body, peer, timeout);
  }
  bool widget_serves(std::string_view path) const noexcept {
    return amochats_channel_widget_serves(raw_.get(), detail::slice(path));
  }

  // Channels and accounts while everything runs, until the channel is closed or reload() sets all of them anew.
  // `channel_id` may be empty where there is one; `json` is what the configuration says of it.
  void set_channel(std::string_view json, timeout timeout = forever) const {
    tell(amochats_channel_set_channel, json, timeout);
  }
  void remove_channel(std::string_view channel_id, timeout timeout = forever) const {
    tell(amochats_channel_remove_channel, channel_id, timeout);
  }
  // Until a time such as "2026-12-01T00:00:00Z" webhooks under the secret before are accepted.
  void rotate_secret(std::string_view secret, std::string_view until = {}, std::string_view channel_id = {},
                     timeout timeout = forever) const {
    tell(amochats_channel_rotate_secret, channel_id, secret, until, timeout);
  }
  void set_account(std::string_view json, std::string_view channel_id = {}, timeout timeout = forever) const {
    tell(amochats_channel_set_account, channel_id, json, timeout);
  }
  void remove_account(std::string_view account_id, std::string_view channel_id = {}, timeout timeout = forever) const {
    tell(amochats_channel_remove_account, channel_id, account_id, timeout);
  }
  void forget_account(std::string_view scope_id, timeout timeout = forever) const {
    tell(amochats_channel_forget_account, scope_id, timeout);
  }
  // The keys whose change needs a restart.
  value reload(const config &config, timeout timeout = forever) const {
    return ask(amochats_channel_reload, config.raw(), timeout);
  }

  // For the functions of amochats.h that have none here.
  const amochats_channel *raw() const noexcept { return raw_.get(); }

 private:
  template <typename Function, typename... Arguments>
  value ask(Function function, Arguments... arguments) const {
    return value(detail::made<amochats_value>(function, raw_.get(), arguments...));
  }
  template <typename Function, typename... Arguments>
  void tell(Function function, Arguments... arguments) const {
    detail::call(function, raw_.get(), arguments...);
  }
  template <typename Function, typename... Arguments>
  std::uint64_t count(Function function, Arguments... arguments) const {
    std::uint64_t count = 0;
    tell(function, arguments..., &count);
    return count;
  }
  template <typename Function>
  std::uint64_t bury(Function function, std::string_view subscription, const places &places, timeout timeout) const {
    // To C nowhere is everywhere, and so may be the data of an empty vector.
    const std::int64_t nothing = 0;
    const auto *data = !places ? nullptr : places->empty() ? &nothing : places->data();
    return count(function, subscription, data, places ? places->size() : 0, timeout);
  }

  // Freed after the channel, which calls them.
  std::shared_ptr<config::log> log_;
  std::vector<std::unique_ptr<authorizer>> authorizers_;
  detail::handle<amochats_channel, amochats_channel_free> raw_;
};

// Reads the answer to the call that connects an account, for another HTTP stack.
inline value parse_connected(std::string_view answer) {
  return value(detail::made<amochats_value>(amochats_connected_parse, answer));
}

// The CRM's own API, as far as a channel needs it.
namespace crm {

// An integration, as OAuth knows it.
class integration {
 public:
  integration(std::string_view client_id, std::string_view client_secret, std::string_view redirect_uri)
      : raw_(detail::made<amochats_crm_integration>(amochats_crm_integration_new, client_id, client_secret,
                                                    redirect_uri)) {}

  // What a genuine one-time token says. Whether its "jti" was seen before is the caller's to check.
  value verify_one_time_token(std::string_view token, optional_text origin = std::nullopt,
                              std::string_view issuer = {}, std::chrono::seconds now = {}) const {
    return value(detail::made<amochats_value>(amochats_crm_verify_one_time_token, raw(), token, origin, issuer,
                                              static_cast<std::uint64_t>(now.count())));
  }
  // Throws where the hook is not genuine.
  void verify_disable_hook(std::string_view account_id, optional_text signature) const {
    detail::call(amochats_crm_verify_disable_hook, raw(), account_id, signature);
  }

  const amochats_crm_integration *raw() const noexcept { return raw_.get(); }

 private:
  detail::handle<amochats_crm_integration, amochats_crm_integration_free> raw_;
};

// A webhook of the CRM itself.
inline value parse_webhook(std::string_view body) {
  return value(detail::made<amochats_value>(amochats_crm_webhook_parse, body));
}

// What the CRM says where it refuses a call; empty where it says something else.
inline value parse_problem(std::string_view body) {
  return value(detail::made<amochats_value>(amochats_crm_problem_parse, body));
}

// A call of the CRM's API, to be made by a client or by another HTTP stack. Lists go in as JSON.
class call {
 public:
  using ids = std::vector<std::int64_t>;

  static call account() { return make(amochats_crm_call_account); }
  static call legacy_account(std::string_view login, std::string_view api_key) {
    return make(amochats_crm_call_legacy_account, login, api_key);
  }
  static call users(std::uint32_t page) { return make(amochats_crm_call_users, page); }
  static call user(std::int64_t id) { return make(amochats_crm_call_user, id); }
  static call link_chats(std::string_view links) { return make(amochats_crm_call_link_chats, links); }
  static call linked_chats(const ids &contacts) {
    return make(amochats_crm_call_linked_chats, contacts.data(), contacts.size(), std::string_view());
  }
  static call linked_chats(std::string_view chats) {
    return make(amochats_crm_call_linked_chats, static_cast<const std::int64_t *>(nullptr), std::size_t{0}, chats);
  }
  static call add_contacts(std::string_view contacts) { return make(amochats_crm_call_add_contacts, contacts); }
  static call sources(std::string_view external_ids = {}) { return make(amochats_crm_call_sources, external_ids); }
  static call source(std::int64_t id) { return make(amochats_crm_call_source, id); }
  static call add_sources(std::string_view sources) { return make(amochats_crm_call_add_sources, sources); }
  static call update_sources(std::string_view changes) { return make(amochats_crm_call_update_sources, changes); }
  static call delete_sources(const ids &sources) {
    return make(amochats_crm_call_delete_sources, sources.data(), sources.size());
  }
  static call templates(std::uint32_t page, std::string_view external_id = {}) {
    return make(amochats_crm_call_templates, page, external_id);
  }
  // `template` is a word of C++.
  static call template_of(std::int64_t id) { return make(amochats_crm_call_template, id); }
  static call add_templates(std::string_view templates) { return make(amochats_crm_call_add_templates, templates); }
  static call update_templates(std::string_view changes) { return make(amochats_crm_call_update_templates, changes); }
  static call delete_templates(const ids &templates) {
    return make(amochats_crm_call_delete_templates, templates.data(), templates.size());
  }
  static call submit_template(std::int64_t id) { return make(amochats_crm_call_submit_template, id); }
  static call set_review_status(std::int64_t template_id, std::int64_t review_id, std::string_view status,
                                std::string_view reject_reason = {}) {
    return make(amochats_crm_call_set_review_status, template_id, review_id, status, reject_reason);
  }
  static call talk(std::int64_t id) { return make(amochats_crm_call_talk, id); }
  static call close_talk(std::int64_t id, bool force = false) { return make(amochats_crm_call_close_talk, id, force); }
  static call subscribe(std::string_view subscription) { return make(amochats_crm_call_subscribe, subscription); }
  static call subscriptions() { return make(amochats_crm_call_subscriptions); }
  static call unsubscribe(std::string_view destination) { return make(amochats_crm_call_unsubscribe, destination); }
  static call exchange_code(const integration &integration, std::string_view code) {
    return make(amochats_crm_call_exchange_code, integration.raw(), code);
  }
  static call refresh_tokens(const integration &integration, std::string_view refresh_token) {
    return make(amochats_crm_call_refresh_tokens, integration.raw(), refresh_token);
  }
  static call exchange_api_key(const integration &integration, std::string_view login, std::string_view api_key,
                               std::string_view state = {}) {
    return make(amochats_crm_call_exchange_api_key, integration.raw(), login, api_key, state);
  }
  static call current_domain(std::string_view refresh_token) {
    return make(amochats_crm_call_current_domain, refresh_token);
  }

  // In the name of another user.
  call &as_user(std::int64_t user_id) {
    amochats_crm_call_as_user(raw_.get(), user_id);
    return *this;
  }

  // For another HTTP stack.
  std::string_view method() const noexcept { return detail::view(amochats_crm_call_method(raw())); }
  std::string_view path() const noexcept { return detail::view(amochats_crm_call_path(raw())); }
  std::string_view body() const noexcept { return detail::view(amochats_crm_call_body(raw())); }
  value_view headers() const noexcept { return value_view(amochats_crm_call_headers(raw())); }
  bool needs_token() const noexcept { return amochats_crm_call_needs_token(raw()); }
  value parse(std::string_view body) const {
    return value(detail::made<amochats_value>(amochats_crm_call_parse, raw(), body));
  }

  const amochats_crm_call *raw() const noexcept { return raw_.get(); }

 private:
  explicit call(amochats_crm_call *raw) noexcept : raw_(raw) {}

  template <typename Function, typename... Arguments>
  static call make(Function function, Arguments... arguments) {
    return call(detail::made<amochats_crm_call>(function, arguments...));
  }

  detail::handle<amochats_crm_call, amochats_crm_call_free> raw_;
};

// Where tokens are kept: `load` gives the JSON that `store` got last, or nothing. Both are called on threads of
// the library; an exception is a failure.
struct token_store {
  std::function<std::optional<std::string>()> load;
  std::function<void(std::string_view tokens)> store;
};

// Where an account is and how to call it.
class options {
 public:
  options() : raw_(amochats_crm_options_new()) {}

  options &account(std::string_view region, std::string_view subdomain) {
    return call(amochats_crm_options_set_account, region, subdomain);
  }
  options &base_url(std::string_view url) { return call(amochats_crm_options_set_base_url, url); }
  options &token(std::string_view token) { return call(amochats_crm_options_set_token, token); }
  options &tokens(const integration &integration, token_store store) {
    store_ = std::make_shared<token_store>(std::move(store));
    return call(amochats_crm_options_set_token_store, integration.raw(), amochats_crm_load{load},
                amochats_crm_store{keep}, static_cast<void *>(store_.get()));
  }
  options &request_timeout(std::chrono::milliseconds timeout) {
    return set(amochats_crm_options_set_timeout_ms, timeout);
  }
  options &deadline(std::chrono::milliseconds deadline) { return set(amochats_crm_options_set_deadline_ms, deadline); }
  options &request_interval(std::chrono::milliseconds interval) {
    return set(amochats_crm_options_set_request_interval_ms, interval);
  }
  options &add_root_certificate(std::string_view pem) { return call(amochats_crm_options_add_root_certificate, pem); }
  options &threads(std::uint32_t threads) { return call(amochats_crm_options_set_threads, threads); }
  options &log_to(amochats_level level, log log) {
    log_ = std::make_shared<amochats::log>(std::move(log));
    amochats_crm_options_set_log(raw_.get(), level, detail::write_line, log_.get());
    return *this;
  }

  const amochats_crm_options *raw() const noexcept { return raw_.get(); }
  // What the client must keep alive.
  std::shared_ptr<token_store> store() const noexcept { return store_; }
  std::shared_ptr<log> log_function() const noexcept { return log_; }

 private:
  template <typename Function, typename... Arguments>
  options &call(Function function, Arguments... arguments) {
    detail::call(function, raw_.get(), arguments...);
    return *this;
  }
  template <typename Function>
  options &set(Function function, std::chrono::milliseconds to) {
    function(raw_.get(), detail::unsigned_ms(to));
    return *this;
  }
  // Exceptions cannot cross the library.
  static bool load(void *data, amochats_crm_tokens *tokens) {
    try {
      const auto kept = static_cast<token_store *>(data)->load();
      return kept && amochats_crm_tokens_give(tokens, detail::plain(std::string_view(*kept)), nullptr) == AMOCHATS_RESULT_OK;
    } catch (...) {
      return false;
    }
  }
  static bool keep(void *data, amochats_slice tokens) {
    try {
      static_cast<token_store *>(data)->store(detail::view(tokens));
      return true;
    } catch (...) {
      return false;
    }
  }

  std::shared_ptr<token_store> store_;
  std::shared_ptr<log> log_;
  detail::handle<amochats_crm_options, amochats_crm_options_free> raw_;
};

// Calls the CRM's API for one account. Its end closes it, within 5 s.
class client {
 public:
  explicit client(const options &options)
      : store_(options.store()),
        log_(options.log_function()),
        raw_(detail::made<amochats_crm_client>(amochats_crm_client_open, options.raw())) {}
  client(client &&) noexcept = default;
  client &operator=(client &&other) noexcept {
    raw_.reset(other.raw_.release());
    store_ = std::move(other.store_);
    log_ = std::move(other.log_);
    return *this;
  }

  value make(const call &call, timeout timeout = forever) const {
    return value(detail::made<amochats_value>(amochats_crm_client_call, raw_.get(), call.raw(), timeout));
  }
  token make_async(const call &call, completion done) const {
    return detail::begin(std::move(done), amochats_crm_client_call_async, raw_.get(), call.raw());
  }
  // Gives each item of a listing to `use`, page by page: each(call::users, [](value_view user) { ... });
  template <typename Page, typename Use>
  void each(Page page, Use use, timeout timeout = forever) const {
    for (std::uint32_t number = 1;; number++) {
      const auto answer = make(page(number), timeout);
      const auto items = answer["items"];
      for (std::size_t place = 0; place < items.size(); place++) use(items.at(place));
      if (items.size() == 0 || !answer["has_next"].boolean().value_or(false)) return;
    }
  }
  void set_dispatcher(const consumer &consumer) const {
    detail::call(amochats_crm_client_set_dispatcher, raw_.get(), consumer.raw());
  }
  void close(timeout timeout = forever) const { detail::call(amochats_crm_client_close, raw_.get(), timeout); }

 private:
  // Freed after the client, which calls them.
  std::shared_ptr<token_store> store_;
  std::shared_ptr<log> log_;
  detail::handle<amochats_crm_client, amochats_crm_client_free> raw_;
};

}  // namespace crm

}  // namespace amochats

#endif  // AMOCHATS_HPP
