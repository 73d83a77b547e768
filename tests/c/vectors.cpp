// Runs the vectors that all surfaces share through amochats.hpp.
//
// usage: vectors GROUP/CASE.json...   in the folder tests/vectors
#include "check.h"

#include <amochats.hpp>
#include <jansson.h>
#include <map>
#include <memory>

namespace {

namespace crm = amochats::crm;

struct decref {
  void operator()(json_t *json) const noexcept { json_decref(json); }
};
using json = std::unique_ptr<json_t, decref>;

// How JSON is read for a case: Jansson has no integers beyond 64 bits, so that a case with one is compared in
// floating point.
std::size_t flags;

json parsed(std::string_view text) {
  json_error_t why;
  json value(json_loadb(text.data(), text.size(), flags, &why));
  if (value == nullptr) check_fail("not JSON: %s", why.text);
  return value;
}

json loaded(const char *path) {
  json_error_t why;
  flags = JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
  json vector(json_load_file(path, flags, &why));
  if (vector == nullptr && json_error_code(&why) == json_error_numeric_overflow) {
    flags |= JSON_DECODE_INT_AS_REAL;
    vector.reset(json_load_file(path, flags, &why));
  }
  if (vector == nullptr) check_fail("%s at line %d", why.text, why.line);
  return vector;
}

std::string dumped(const json_t *value) {
  const std::unique_ptr<char, decltype(&std::free)> text(json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT), std::free);
  return text != nullptr ? text.get() : "";
}

std::string decoded(std::string_view text) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0, held = 0;
  for (const char digit : text.substr(0, text.find('='))) {
    bits = (bits << 6 | static_cast<unsigned>(alphabet.find(digit))) & 0xfff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<char>(bits >> held & 0xff));
    }
  }
  return bytes;
}

// What a case gives.
class input {
 public:
  explicit input(const json_t *object) : object_(object) {}

  const json_t *get(const char *key) const { return json_object_get(object_, key); }
  amochats::optional_text maybe(const char *key) const {
    const auto *text = get(key);
    if (!json_is_string(text)) return std::nullopt;
    return std::string_view(json_string_value(text), json_string_length(text));
  }
  std::string_view text(const char *key) const {
    const auto found = maybe(key);
    if (!found) check_fail("input.%s is not a string", key);
    return found.value_or("");
  }
  std::string body() const {
    if (const auto base64 = maybe("body_base64")) return decoded(*base64);
    return std::string(maybe("body").value_or(""));
  }
  std::string request() const { return dumped(get("request")); }
  input inside(const char *key) const { return input(get(key)); }
  // The vendor's form of a list of numbers: [{"id": 1}].
  std::vector<std::int64_t> ids() const {
    std::vector<std::int64_t> ids;
    const auto *list = get("request");
    for (std::size_t i = 0; i < json_array_size(list); i++) {
      ids.push_back(json_integer_value(json_object_get(json_array_get(list, i), "id")));
    }
    return ids;
  }

 private:
  const json_t *object_;
};

json with(const char *key, json value) { return json(json_pack("{s:o?}", key, value.release())); }

json text(std::string_view text) { return json(json_stringn(text.data(), text.size())); }

json valid() { return with("valid", json(json_true())); }

json answer(const char *key, const amochats::value &value) {
  return with(key, value ? parsed(value.json()) : json(json_null()));
}

json shown(const crm::call &call) {
  return json(json_pack("{s:o,s:o,s:o}", "method", text(call.method()).release(), "path", text(call.path()).release(),
                        "body", parsed(call.body()).release()));
}

crm::integration integration_of(const input &in, const char *id, const char *secret) {
  return {in.text(id), in.text(secret), in.maybe("redirect_uri").value_or("https://example.org")};
}

// A call whose answer a case is.
template <typename Make>
auto parses(Make make) {
  return [make](const input &in) { return answer("answer", make().parse(in.body())); };
}

const std::map<std::string, std::function<json(const input &)>> operations = {
    {"sign_body",
     [](const input &in) { return with("x_signature", text(amochats::sign_body(in.text("secret"), in.body()))); }},
    {"sign_request",
     [](const input &in) {
       const auto four = amochats::sign_request(in.text("secret"), in.text("method"), in.text("path"),
                                                in.text("content_type"), in.text("date"), in.body());
       return with("headers", json(json_pack("{s:o,s:o,s:o,s:o}", "Date", text(four.date).release(), "Content-Type",
                                             text(four.content_type).release(), "Content-MD5",
                                             text(four.content_md5).release(), "X-Signature",
                                             text(four.x_signature).release())));
     }},
    {"verify_webhook",
     [](const input &in) {
       amochats::verifier verifier(std::initializer_list<std::string_view>{});
       const auto *secrets = in.get("secrets");
       for (std::size_t i = 0; i < json_array_size(secrets); i++) {
         verifier.add_secret(json_string_value(json_array_get(secrets, i)));
       }
       verifier.verify(in.body(), in.maybe("signature"));
       return valid();
     }},
    {"parse_webhook",
     [](const input &in) { return with("event", parsed(amochats::webhook::parse(in.body()).json())); }},
    {"encode_message",
     [](const input &in) { return with("body", parsed(amochats::encode_message(dumped(in.get("message"))))); }},
    {"encode_request",
     [](const input &in) {
       return with("body", parsed(amochats::encode_request(in.text("call"), in.request())));
     }},
    {"parse_history", [](const input &in) { return with("page", parsed(amochats::parse_history(in.body()))); }},
    {"parse_connected", [](const input &in) { return answer("answer", amochats::parse_connected(in.body())); }},
    {"parse_crm_account", parses([] { return crm::call::account(); })},
    {"parse_crm_legacy_account", parses([] { return crm::call::legacy_account("a", "b"); })},
    {"parse_crm_user", parses([] { return crm::call::user(7); })},
    {"parse_crm_talk", parses([] { return crm::call::talk(7); })},
    {"parse_crm_linked_chats", parses([] { return crm::call::linked_chats(std::vector<std::int64_t>{7}); })},
    {"parse_crm_created_contacts", parses([] { return crm::call::add_contacts(R"([{"name":"A"}])"); })},
    {"parse_crm_sources", parses([] { return crm::call::sources(); })},
    {"parse_crm_templates", parses([] { return crm::call::templates(1); })},
    {"parse_crm_reviews", parses([] { return crm::call::submit_template(7); })},
    {"parse_crm_tokens", parses([] { return crm::call::exchange_code({"x", "x", "x"}, "x"); })},
    {"parse_crm_problem", [](const input &in) { return answer("answer", crm::parse_problem(in.body())); }},
    {"parse_crm_webhook", [](const input &in) { return answer("webhook", crm::parse_webhook(in.body())); }},
    {"encode_crm_link_chats", [](const input &in) { return shown(crm::call::link_chats(in.request())); }},
    {"encode_crm_add_contacts", [](const input &in) { return shown(crm::call::add_contacts(in.request())); }},
    {"encode_crm_add_sources", [](const input &in) { return shown(crm::call::add_sources(in.request())); }},
    {"encode_crm_update_sources", [](const input &in) { return shown(crm::call::update_sources(in.request())); }},
    {"encode_crm_delete_sources", [](const input &in) { return shown(crm::call::delete_sources(in.ids())); }},
    {"encode_crm_add_templates", [](const input &in) { return shown(crm::call::add_templates(in.request())); }},
    {"encode_crm_delete_templates", [](const input &in) { return shown(crm::call::delete_templates(in.ids())); }},
    {"encode_crm_set_review_status",
     [](const input &in) {
       const auto request = in.inside("request");
       return shown(crm::call::set_review_status(7351, 367, request.text("status"),
                                                 request.maybe("reject_reason").value_or("")));
     }},
    {"encode_crm_subscribe", [](const input &in) { return shown(crm::call::subscribe(in.request())); }},
    {"encode_crm_exchange_code",
     [](const input &in) {
       const auto request = in.inside("request");
       return shown(crm::call::exchange_code(integration_of(request, "client_id", "client_secret"), request.text("code")));
     }},
    {"verify_disable_hook",
     [](const input &in) {
       integration_of(in, "client_uuid", "secret").verify_disable_hook(in.text("account_id"), in.maybe("signature"));
       return valid();
     }},
    {"verify_one_time_token",
     [](const input &in) {
       const std::chrono::seconds now(json_integer_value(in.get("now")));
       const auto integration = integration_of(in, "client_uuid", "secret");
       return answer("claims", integration.verify_one_time_token(in.text("token"), std::nullopt, {}, now));
     }},
};

json said(const amochats::error &error, const json_t *expected) {
  json problem(json_pack("{s:s}", "kind", error.name()));
  // Where a case names a field it must be that.
  if (json_object_get(json_object_get(expected, "error"), "field") != nullptr) {
    json_object_set_new(problem.get(), "field", text(error.field()).release());
  }
  return with("error", std::move(problem));
}

std::map<std::string, int> ran;

void run_case(const char *path) {
  const auto vector = loaded(path);
  if (vector == nullptr) return;
  const auto *name = json_string_value(json_object_get(vector.get(), "operation"));
  const auto *expected = json_object_get(vector.get(), "expected");
  const auto found = operations.find(name != nullptr ? name : "");
  if (found == operations.end()) return check_fail("the operation is unknown");
  ran[found->first]++;
  const input in(json_object_get(vector.get(), "input"));
  const auto outcome = [&] {
    try {
      return found->second(in);
    } catch (const amochats::error &error) {
      return said(error, expected);
    }
  }();
  if (!json_equal(outcome.get(), expected)) check_fail("it is %s", dumped(outcome.get()).c_str());
}

}  // namespace

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    check_begin(argv[i]);
    run_case(argv[i]);
    check_end();
  }
  check_begin("every operation has a case");
  for (const auto &[name, run] : operations) {
    if (ran[name] == 0) check_fail("%s has none", name.c_str());
  }
  check_end();
  return check_result();
}
