// What amochats.hpp has for files, the widget, administration and the CRM, against a sandbox (sandbox.py). What the
// calls mean is tested in C; here it is that each reaches its function, and what C++ adds.
#include "check.h"
#include "recorded.hpp"

#include <amochats.hpp>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <stdlib.h>

namespace {

namespace crm = amochats::crm;
using namespace std::string_literals;

constexpr std::chrono::minutes patience(1);
constexpr std::string_view other = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
constexpr std::string_view other_channel =
    R"({"id":"a4490ccc-5d7f-11e7-907b-a6006ad3dba0","secret":"PLANTEDSECRET0123456789","base_url":"http://127.0.0.1:9"})";

template <typename Call>
amochats_result code(Call call) {
  try {
    call();
  } catch (const amochats::error &error) {
    return error.code();
  }
  return AMOCHATS_RESULT_OK;
}

std::string sandbox(const char *name) {
  const char *found = std::getenv(name);
  REQUIRE(found != nullptr);
  return found;
}

// A folder that ends with its test.
struct folder {
  folder() {
    auto name = (std::filesystem::temp_directory_path() / "amochats-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

amochats::config configured(const folder &in) {
  amochats::config config;
  config.toml("store.path = '" + (in.path / "store.db").string() +
              "'\nlistener.address = '127.0.0.1:0'\nadmin.address = '127.0.0.1:0'\n"
              "media.public_url = 'https://chat.example.org'\n"
              "widget.redirect_uri = 'https://chat.example.org/oauth'\n"
              "widget.key = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE='\n"
              "[[channel]]\nid = '" +
              sandbox("SANDBOX_CHANNEL") + "'\nsecret = '" + sandbox("SANDBOX_SECRET") + "'\nbase_url = '" +
              sandbox("SANDBOX_API") + "'\nclient_id = 'the-integration'\nclient_secret = 'integration-secret'\n");
  config.log_to(AMOCHATS_LEVEL_DEBUG, record);
  return config;
}

std::string hook(int number) {
  return R"({"account_id":"a","message":{"conversation":{"id":"C","client_id":"c"},"receiver":{"id":"R","client_id":"u",)"
         R"("name":"Anna","phone":"+79160004242","email":"planted@secret.example"},"message":{"id":"M)" +
         std::to_string(number) + R"(","type":"text","text":"PLANTED-TEXT"}}})";
}

void files_have_links() {
  const folder in;
  const amochats::channel channel(configured(in), patience);
  const auto attached = channel.attach("a.png", "image/png", "\x89PNG", std::chrono::hours(1), patience);
  CHECK(attached["url"].text()->substr(0, 25) == "https://chat.example.org/" && attached["size"].integer() == 4);
  std::ofstream(in.path / "b.txt") << "hello";
  const auto copied = channel.attach_file((in.path / "b.txt").string(), "text/plain");
  CHECK(copied["size"].integer() == 5 && copied["url"].text()->find("/b.txt") != std::string_view::npos);
  CHECK(code([&] { channel.attachment("none"); }) == AMOCHATS_RESULT_NOT_FOUND);
}

void the_widget_is_answered() {
  const folder in;
  amochats::channel channel(configured(in), patience);
  CHECK(channel.widget_serves("/widget/connect") && !channel.widget_serves("/elsewhere"));
  const auto asked = [&](std::string_view method, std::string_view headers) {
    const auto body = R"({"login":"anna","password":"her password","amojo_id":"13fa84f7"})";
    const auto answer = channel.widget_handle(method, "/widget/connect", headers, body, "127.0.0.1", patience);
    return *answer["status"].integer();
  };
  // The CRM's token of linking.c, which works once.
  const auto proof = [](const char *name) {
    return R"({"origin":"https://demo.amocrm.ru","x-auth-token":")" + sandbox(name) + "\"}";
  };
  CHECK(asked("OPTIONS", R"({"origin":"https://demo.amocrm.ru"})") / 100 == 2);
  CHECK(asked("POST", R"({"origin":"https://demo.example.org"})") == 403);
  channel.set_authorizer([](amochats::value_view) -> amochats_decision { throw std::runtime_error("stays here"); });
  CHECK(asked("POST", proof("LINKING_TOKEN_1")) == 503);
  channel.set_authorizer([](amochats::value_view attempt) {
    return attempt["login"].text() == "anna" ? AMOCHATS_DECISION_REFUSE : AMOCHATS_DECISION_ALLOW;
  });
  CHECK(asked("POST", proof("LINKING_TOKEN_2")) == 403);
  auto moved = std::move(channel);
  CHECK(moved.widget_serves("/widget/connect"));
}

void channels_secrets_and_accounts_change() {
  const folder in;
  const amochats::channel channel(configured(in), patience);
  const auto scope = std::string(other) + "_a";
  const auto ingest = [&](std::string_view secret, int number) {
    const auto body = hook(number);
    return code([&] { channel.ingest(scope, amochats::sign_body(secret, body), body, patience); });
  };
  CHECK(ingest("PLANTEDSECRET0123456789", 1) == AMOCHATS_RESULT_UNKNOWN_CHANNEL);
  channel.set_channel(other_channel);
  CHECK(ingest("PLANTEDSECRET0123456789", 1) == AMOCHATS_RESULT_OK);
  channel.rotate_secret("PLANTEDSECRET0123456789-2", "2020-01-01T00:00:00Z", other);
  CHECK(ingest("PLANTEDSECRET0123456789", 2) == AMOCHATS_RESULT_SIGNATURE_MISMATCH);
  CHECK(ingest("PLANTEDSECRET0123456789-2", 2) == AMOCHATS_RESULT_OK);
  channel.set_account(R"({"id":"a","title":"Shop"})", other);
  channel.remove_account("a", other);
  CHECK(code([&] { channel.remove_account("a", other); }) == AMOCHATS_RESULT_NOT_FOUND);
  CHECK(code([&] { channel.forget_account("none"); }) == AMOCHATS_RESULT_NOT_FOUND);

  const auto now = std::chrono::system_clock::now();
  const auto days = std::chrono::hours(48);
  amochats::summary_query query;
  query.newest_first().since(now - days).until(now + days).only(amochats::filter().add_account("a").add_kind("message"));
  const auto summaries = channel.summaries(query);
  REQUIRE(summaries.size() == 2);
  CHECK(channel.summaries(query.after(*summaries.at(0)["event_id"].text())).size() == 1);
  CHECK(channel.summaries(query.limit(0)).size() == 0 && channel.summaries().size() == 2);
  CHECK(channel.summaries(amochats::summary_query().until(now - days)).size() == 0);
  CHECK(channel.summaries(amochats::summary_query().message_ref_id("none")).size() == 0);
  CHECK(channel.summaries(amochats::summary_query().since(now + days)).size() == 0);
  CHECK(code([&] { query.only(amochats::filter().start_now()); }) == AMOCHATS_RESULT_INVALID_ARGUMENT);
  CHECK(summaries.at(0)["message_ref_id"].text() == "M2");
  const auto life = channel.event_life(*summaries.at(0)["event_id"].text());
  CHECK(life["summary"]["scope_id"].text() == scope && life["deliveries"].size() == 0);
  CHECK(channel.unreported("", 1).size() == 1);
  CHECK(channel.backfill()["failed"].integer() && channel.backfill_progress()["pending"].integer());
  CHECK(code([&] { channel.wait_for("none"); }) == AMOCHATS_RESULT_NOT_FOUND);
  CHECK(code([&] { channel.wait_for_attachment("none"); }) == AMOCHATS_RESULT_NOT_FOUND);

  channel.remove_channel(other);
  CHECK(ingest("PLANTEDSECRET0123456789-2", 3) == AMOCHATS_RESULT_UNKNOWN_CHANNEL);
  auto config = configured(in);
  config.set("inbox.max_attempts", "3");
  CHECK(channel.reload(config).at(0).text() == "inbox");
}

// Begins a call and waits for its end; whether it succeeded.
template <typename Begin>
bool told(Begin begin) {
  const auto end = std::make_shared<std::promise<bool>>();
  begin(amochats::completion([end](amochats::value_view, const amochats::error *error) { end->set_value(error == nullptr); }));
  return end->get_future().get();
}

void subscriptions_and_what_is_kept_are_managed() {
  const folder in;
  const amochats::channel channel(configured(in), patience);
  const auto scope = sandbox("SANDBOX_CHANNEL") + "_a";
  for (int number = 0; number < 3; number++) {
    const auto body = hook(number);
    channel.ingest(scope, amochats::sign_body(sandbox("SANDBOX_SECRET"), body), body, patience);
  }
  const auto events = channel.events();
  REQUIRE(events.size() == 3);
  const auto first = std::string(*events.at(0)["event_id"].text());
  CHECK(channel.events(first, scope, 1).at(0)["event_id"].text() == events.at(1)["event_id"].text());
  const auto event = channel.event(first);
  CHECK(event && event->event_id() == first && event->webhook().text() == "PLANTED-TEXT" && !channel.event(first + "0"));

  // One for each way to begin and each thing to look at; a name that is there stays as it is.
  CHECK(channel.create_subscription("all") && !channel.create_subscription("all"));
  CHECK(channel.create_subscription("later", amochats::filter().start_now().add_scope(scope).add_conversation("c")));
  CHECK(channel.create_subscription("rest", amochats::filter().start_after(first)));
  CHECK(channel.create_subscription("old", amochats::filter().start_since({}).add_account("none")));
  const auto unsettled = [&](std::string_view name) -> std::int64_t {
    const auto list = channel.subscriptions();
    for (std::size_t place = 0; place < list.size(); place++) {
      if (list.at(place)["name"].text() == name) return *list.at(place)["unsettled"].integer();
    }
    return -1;
  };
  CHECK(unsettled("all") == 3 && unsettled("later") == 0 && unsettled("rest") == 2 && unsettled("old") == 0);
  CHECK(channel.subscriptions().at(2)["filter"].json() == R"({"accounts":["none"]})");
  CHECK(channel.replay("later", amochats::filter().start_after(first).add_scope(scope)) == 2 && unsettled("later") == 2);
  channel.delete_subscription("later");
  CHECK(unsettled("later") == -1);
  CHECK(code([&] { channel.delete_subscription("later"); }) == AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND);

  // Given up and back again, each told once.
  const auto consumer = channel.open_consumer("all");
  const auto give_up = [&](int number) {
    for (; number > 0; number--) {
      const auto delivery = consumer.next(patience);
      REQUIRE(delivery);
      delivery->dead(patience);
    }
  };
  give_up(3);
  const auto dead = channel.dead_letters("all");
  REQUIRE(dead.size() == 3);
  const std::vector<std::int64_t> place{*dead.at(1)["place"].integer()}, nowhere;
  CHECK(channel.requeue_dead_letters("all", nowhere) == 0 && channel.drop_dead_letters("all", nowhere) == 0);
  CHECK(channel.requeue_dead_letters("all", place) == 1 && channel.requeue_dead_letters("all") == 2);
  give_up(1);
  const auto second = consumer.next(patience);
  REQUIRE(second);
  CHECK(told([&](auto done) { second->dead_async(done); }));
  const auto last = consumer.next(patience);
  REQUIRE(last);
  CHECK(told([&](auto done) { last->nack_async(done, std::chrono::hours(1)); }));
  CHECK(channel.dead_letters("all").size() == 2 && unsettled("all") == 1);
  const std::vector<std::int64_t> one{*channel.dead_letters("all").at(0)["place"].integer()};
  CHECK(channel.drop_dead_letters("all", one) == 1 && channel.drop_dead_letters("all") == 1);

  CHECK(channel.purge(scope, "c") == 3 && channel.events().size() == 0);
  const auto call = amochats::call::react(scope, "c", "m", "u", "");
  CHECK(told([&](auto done) { channel.enqueue_async(call, done, "key"); }));
  const auto item = channel.enqueue(call, "key");
  CHECK(channel.outbox_items().size() == 1 && channel.outbox_items("cancelled").size() == 0);
  CHECK(channel.outbox_items({}, {}, *item["item_id"].text()).size() == 0);
}

// Counts and records lines of the log, and knows when the function which takes them has ended.
struct listener {
  std::shared_ptr<std::atomic<bool>> ended = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<std::atomic<int>> lines = std::make_shared<std::atomic<int>>(0);

  amochats::log function() const {
    const std::shared_ptr<void> end(nullptr, [ended = ended](void *) { *ended = true; });
    return [end, lines = lines](amochats_level level, std::string_view target, std::string_view line) {
      ++*lines;
      record(level, target, line);
    };
  }
};

// Ends with the function that captured it, and notes whether `object` is another than before by then.
template <typename Object>
std::shared_ptr<void> notes_its_end(const Object &object, const void *before, bool &replaced) {
  return {nullptr, [&object, before, &replaced](void *) { replaced = object.raw() != before; }};
}

void what_is_replaced_ends_before_what_it_calls() {
  const folder in;
  bool replaced = false;
  amochats::channel channel(configured(in), patience);
  channel.set_authorizer([end = notes_its_end(channel, channel.raw(), replaced)](amochats::value_view) {
    return AMOCHATS_DECISION_REFUSE;
  });
  const folder elsewhere;
  channel = amochats::channel(configured(elsewhere), patience);
  CHECK(replaced);

  replaced = false;
  channel.create_subscription("crm");
  auto consumer = channel.open_consumer("crm");
  consumer.on_delivery([end = notes_its_end(consumer, consumer.raw(), replaced)](amochats::delivery &) {
    return AMOCHATS_VERDICT_ACK;
  });
  consumer = channel.open_consumer("crm");
  CHECK(replaced);
}

void a_client_is_set_up() {
  const listener heard;
  amochats::client_options options;
  options.service(sandbox("SANDBOX_API")).request_timeout(patience).deadline(patience).requests_per_second(0);
  options.threads(2).send_once().body_signature_only(false).log_to(AMOCHATS_LEVEL_TRACE, heard.function());
  CHECK(code([&] { options.threads(0); }) == AMOCHATS_RESULT_INVALID_ARGUMENT);
  amochats::client client(sandbox("SANDBOX_CHANNEL"), sandbox("SANDBOX_SECRET"), options);
  options = {};
  CHECK(client.connect(sandbox("SANDBOX_ACCOUNT"), "Shop", patience)["scope_id"].text());
  CHECK(!*heard.ended);
  client = amochats::client("c", "s", sandbox("SANDBOX_API"));
  CHECK(*heard.ended);
  CHECK(code([&] { client.connect("none", {}, patience); }) != AMOCHATS_RESULT_OK);
  options.add_root_certificate("no certificate");
  CHECK(code([&] { amochats::client("c", "s", options); }) != AMOCHATS_RESULT_OK);
}

crm::options to_sandbox() {
  crm::options options;
  options.base_url(sandbox("SANDBOX_API")).request_interval(std::chrono::milliseconds(1));
  return options;
}

void the_crm_is_called() {
  auto options = to_sandbox();
  options.token(sandbox("SANDBOX_TOKEN")).deadline(patience).request_timeout(patience).threads(2);
  const listener heard;
  options.log_to(AMOCHATS_LEVEL_TRACE, heard.function());
  const crm::client client(options);
  options = {};
  CHECK(!*heard.ended);
  CHECK(client.make(crm::call::account())["amojo_id"].text() == sandbox("SANDBOX_ACCOUNT"));
  std::vector<std::int64_t> users;
  client.each(crm::call::users, [&](amochats::value_view user) { users.push_back(*user["id"].integer()); });
  REQUIRE(users.size() == 1);
  CHECK(client.make(crm::call::user(users[0]))["name"].text());
  CHECK(client.make(crm::call::account().as_user(users[0]))["id"].integer());
  const auto added = client.make(crm::call::add_sources(R"([{"name":"Sales","external_id":"cpp-1"}])"));
  const auto id = *added["items"].at(0)["id"].integer();
  const auto changes = R"([{"id":)" + std::to_string(id) + R"(,"name":"Support"}])";
  CHECK(client.make(crm::call::update_sources(changes))["items"].at(0)["name"].text() == "Support");
  CHECK(client.make(crm::call::sources(R"(["cpp-1"])"))["items"].size() == 1);
  CHECK(!client.make(crm::call::delete_sources({id})));
  CHECK(!client.make(crm::call::source(id)));
  int templates = 0;
  client.make(crm::call::add_templates(R"([{"name":"Hello","content":"Hi","external_id":"cpp-2"}])"));
  client.each([](std::uint32_t page) { return crm::call::templates(page, "cpp-2"); },
              [&](amochats::value_view) { templates++; });
  CHECK(templates == 1);
  CHECK(code([&] { client.make(crm::call::talk(7)); }) == AMOCHATS_RESULT_NOT_FOUND);
  CHECK(code([&] { crm::call::add_sources("[]"); }) == AMOCHATS_RESULT_INVALID_ARGUMENT);
  CHECK(code([] { crm::client{crm::options()}; }) == AMOCHATS_RESULT_INVALID_ARGUMENT);
  static_assert(!std::is_copy_constructible_v<crm::client> && std::is_nothrow_move_constructible_v<crm::client>);
  static_assert(!std::is_copy_constructible_v<crm::call> && std::is_nothrow_move_constructible_v<crm::call>);

  int called = 0;
  client.make_async(crm::call::account(), [&](amochats::value_view, const amochats::error *) { called++; });
  client.close(patience);
  CHECK(called == 1);
  CHECK(code([&] { client.make(crm::call::account()); }) == AMOCHATS_RESULT_CLOSED);
}

void who_asks_is_proved() {
  const crm::integration integration(sandbox("SANDBOX_CLIENT_ID"), sandbox("SANDBOX_CLIENT_SECRET"),
                                     sandbox("SANDBOX_REDIRECT_URI"));
  const auto token = sandbox("SANDBOX_ONE_TIME_TOKEN"), api = sandbox("SANDBOX_API");
  CHECK(integration.verify_one_time_token(token, api, api)["jti"].text());
  CHECK(code([&] { integration.verify_one_time_token(token); }) == AMOCHATS_RESULT_UNAUTHENTICATED);
  CHECK(code([&] { integration.verify_disable_hook("1", std::nullopt); }) == AMOCHATS_RESULT_SIGNATURE_MISSING);
}

void tokens_are_kept() {
  const crm::integration integration(sandbox("SANDBOX_CLIENT_ID"), sandbox("SANDBOX_CLIENT_SECRET"),
                                     sandbox("SANDBOX_REDIRECT_URI"));
  const crm::client anybody(to_sandbox());
  const auto first = anybody.make(crm::call::exchange_code(integration, sandbox("SANDBOX_CODE")));
  std::mutex lock;
  std::string kept = R"({"access_token":"stale","refresh_token":")" + std::string(*first["refresh_token"].text()) + "\"}";
  int stores = 0;
  auto options = to_sandbox();
  options.tokens(integration, {[&]() -> std::optional<std::string> {
                                 const std::lock_guard guard(lock);
                                 return kept;
                               },
                               [&](std::string_view tokens) {
                                 const std::lock_guard guard(lock);
                                 if (++stores == 1) throw std::runtime_error("does not cross the library");
                                 kept = tokens;
                               }});
  crm::client client(options);
  CHECK(code([&] { client.make(crm::call::account()); }) == AMOCHATS_RESULT_STORE_FAILED);
  auto moved = std::move(client);
  CHECK(moved.make(crm::call::account())["amojo_id"].text() == sandbox("SANDBOX_ACCOUNT"));
  CHECK(stores == 2 && kept.find("stale") == std::string::npos);

  auto without = to_sandbox();
  without.tokens(integration, {[]() -> std::optional<std::string> { return std::nullopt; }, [](std::string_view) {}});
  CHECK(code([&] { crm::client(without).make(crm::call::account()); }) == AMOCHATS_RESULT_STORE_FAILED);
}

}  // namespace

int main() {
  RUN(files_have_links);
  RUN(the_widget_is_answered);
  RUN(channels_secrets_and_accounts_change);
  RUN(subscriptions_and_what_is_kept_are_managed);
  RUN(what_is_replaced_ends_before_what_it_calls);
  RUN(a_client_is_set_up);
  RUN(the_crm_is_called);
  RUN(who_asks_is_proved);
  // Last: it ends the tokens of before.
  RUN(tokens_are_kept);
  return check_result();
}
