// Every part of amochats.hpp.
#include "check.h"
#include "recorded.hpp"

#include <amochats.hpp>
#include <filesystem>
#include <mutex>
#include <poll.h>
#include <stdlib.h>
#include <type_traits>

namespace {

constexpr std::string_view secret = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
constexpr std::string_view date = "Mon, 01 Jan 2024 00:00:00 +0000";

// What `call` throws; the test fails where it throws nothing.
template <typename Call>
amochats::error thrown(Call call) {
  try {
    call();
  } catch (const amochats::error &error) {
    return error;
  }
  REQUIRE(!"nothing was thrown");
  std::abort();
}

void signatures() {
  // A request of the vendor's pages.
  const auto body = R"({"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c"})";
  CHECK(amochats::sign_body(secret, body) == "c5a129044c7c85ee3685873158551599b923002c");
  const auto path = "/v2/origin/custom/a4490ccc-5d7f-11e7-907b-a6006ad3dba0/disconnect";
  const auto headers = amochats::sign_request(secret, "DELETE", path, "application/json", date, body);
  CHECK(headers.date == date);
  CHECK(headers.content_type == "application/json");
  CHECK(headers.content_md5.size() == 32);
  CHECK(headers.x_signature == "62efa5f09a7087abcf8becba15570b1805560aef");
}

void errors() {
  const auto error = thrown([] { amochats::sign_request(secret, "GET", "no slash", "", date, ""); });
  CHECK(error.code() == AMOCHATS_RESULT_INVALID_ARGUMENT);
  CHECK(std::string_view(error.name()) == "INVALID_ARGUMENT");
  CHECK(error.field() == "path");
  CHECK(std::string_view(error.what()).find("path") != std::string_view::npos);
  CHECK(error.http_status() == 0);
  CHECK(error.retry_after() == std::chrono::milliseconds(0));
  CHECK(thrown([] { amochats::sign_body("", ""); }).field() == "secret");
}

void verifying() {
  amochats::verifier verifier("old-secret");
  const auto signature = amochats::sign_body(secret, "{}");
  CHECK(thrown([&] { verifier.verify("{}", signature); }).code() == AMOCHATS_RESULT_SIGNATURE_MISMATCH);
  verifier.add_secret(secret);
  verifier.verify("{}\n", signature);
  CHECK(thrown([&] { verifier.verify("{}", std::nullopt); }).code() == AMOCHATS_RESULT_SIGNATURE_MISSING);
  CHECK(thrown([&] { verifier.verify("{}", ""); }).code() == AMOCHATS_RESULT_SIGNATURE_MISSING);
  CHECK(thrown([&] { verifier.add_secret("with blank"); }).field() == "secret");

  const amochats::verifier both{"old-secret", secret};
  CHECK(both.diagnose("{}", signature) == "valid");
  CHECK(both.diagnose("{}", std::nullopt) == "missing");
  CHECK(both.diagnose("{}", std::string_view()) == "not_hex");
}

void messages() {
  const auto webhook = amochats::webhook::parse(R"({
    "account_id": "A", "time": 1704067201, "message": {
      "conversation": {"id": "C", "client_id": "c"}, "source": {"external_id": "shop"},
      "sender": {"id": "S", "name": "Olga"},
      "receiver": {"id": "R", "client_id": "u", "name": "Anna", "phone": "+15550100", "email": "a@example.com"},
      "timestamp": 1704067200, "msec_timestamp": 1704067200123,
      "message": {"id": "M", "client_id": "m", "type": "picture", "text": "", "media": "https://example.com/p.png",
        "thumbnail": "https://example.com/t.png", "file_name": "p.png", "file_size": 12, "media_group_id": "G"}}})");
  CHECK(webhook.kind() == AMOCHATS_KIND_MESSAGE);
  CHECK(webhook.kind_name() == "message");
  CHECK(webhook.api_version() == "v2");
  CHECK(webhook.account_id() == "A");
  CHECK(webhook.time() == 1704067201);
  CHECK(webhook.conversation_id() == "c");
  CHECK(webhook.conversation_ref_id() == "C");
  CHECK(webhook.message_id() == "m");
  CHECK(webhook.message_ref_id() == "M");
  CHECK(webhook.timestamp() == 1704067200);
  CHECK(webhook.msec_timestamp() == 1704067200123);
  CHECK(webhook.type() == "picture");
  CHECK(webhook.text() == "");
  CHECK(webhook.media() == "https://example.com/p.png");
  CHECK(webhook.thumbnail() == "https://example.com/t.png");
  CHECK(webhook.file_name() == "p.png");
  CHECK(webhook.file_size() == 12);
  CHECK(webhook.media_group_id() == "G");
  CHECK(webhook.source_external_id() == "shop");
  CHECK(webhook.sender() && webhook.sender()->user_ref_id() == "S" && webhook.sender()->name() == "Olga");
  CHECK(webhook.sender() && !webhook.sender()->user_id());
  REQUIRE(webhook.receiver());
  CHECK(webhook.receiver()->user_id() == "u");
  CHECK(webhook.receiver()->user_ref_id() == "R");
  CHECK(webhook.receiver()->phone() == "+15550100");
  CHECK(webhook.receiver()->email() == "a@example.com");
  CHECK(!webhook.user_ref_id() && !webhook.emoji() && !webhook.expired_at() && !webhook.post_id());
  CHECK(webhook.json().substr(0, 18) == R"({"kind":"message",)");
}

void typing_and_reactions() {
  const auto typing = amochats::webhook::parse(
      R"({"action":{"typing":{"user":{"id":"U"},"expired_at":5,"post_id":"p","conversation":{"id":"C"}}}})");
  CHECK(typing.kind() == AMOCHATS_KIND_TYPING);
  CHECK(typing.user_ref_id() == "U" && typing.expired_at() == 5 && typing.post_id() == "p");
  CHECK(!typing.text() && !typing.type() && !typing.sender() && !typing.timestamp());
  const auto reaction =
      amochats::webhook::parse(R"({"action":{"reaction":{"type":"react","emoji":"+1","msgid":"M"}}})");
  CHECK(reaction.kind() == AMOCHATS_KIND_REACTION);
  CHECK(reaction.type() == "react" && reaction.emoji() == "+1" && reaction.message_ref_id() == "M");
  CHECK(thrown([] { amochats::webhook::parse(""); }).code() == AMOCHATS_RESULT_MALFORMED_WEBHOOK);
}

void encoding() {
  const auto body = amochats::encode_message(
      R"({"event_type": "new_message", "payload": {"timestamp": 1, "msec_timestamp": 1000, "msgid": "m",
          "conversation_id": "c", "sender": {"id": "u", "name": "Anna"},
          "message": {"type": "text", "text": "hello"}, "silent": false}})");
  CHECK(body.find(R"("text":"hello")") != std::string::npos);
  CHECK(amochats::encode_message(body) == body);
  CHECK(thrown([] { amochats::encode_message("{}"); }).field() == "event_type");
  const auto typing = amochats::encode_request("send_typing", R"({"conversation_id": "c", "sender": {"id": "u"}})");
  CHECK(typing == R"({"conversation_id":"c","sender":{"id":"u"}})");
  CHECK(thrown([] { amochats::encode_request("send_typing", "{}"); }).field() == "conversation_id");
  CHECK(thrown([] { amochats::encode_request("send_flowers", "{}"); }).field() == "call");
  CHECK(amochats::parse_history("") == R"({"messages":[]})");
}

void objects_move() {
  static_assert(!std::is_copy_constructible_v<amochats::webhook> && std::is_nothrow_move_constructible_v<amochats::webhook>);
  auto first = amochats::webhook::parse(R"({"receiver":"u","type":"text","text":"moved"})");
  auto second = std::move(first);
  CHECK(second.text() == "moved");
  first = amochats::webhook::parse("[]");
  CHECK(first.kind() == AMOCHATS_KIND_UNKNOWN);
  amochats::verifier verifier(secret);
  const auto moved = std::move(verifier);
  moved.verify("{}", amochats::sign_body(secret, "{}"));
}

// A folder that ends with its test.
struct folder {
  folder() : path(std::filesystem::temp_directory_path() / "amochats-XXXXXX") {
    std::string name = path.string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

constexpr std::string_view scope = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0_13fa84f7-6b61-4086-98ed-0a9de19ee15c";
constexpr std::chrono::minutes patience(1);

amochats::config configured(const folder &in) {
  amochats::config config;
  config.set("store.path", (in.path / "store.db").string())
      .set("listener.address", "127.0.0.1:0")
      .set("admin.address", "127.0.0.1:0")
      .add_channel(scope.substr(0, scope.find('_')), secret, "http://127.0.0.1:9")
      .log_to(AMOCHATS_LEVEL_DEBUG, record)
      .threads(1);
  return config;
}

std::string hook(int number) {
  return R"({"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c","message":{"conversation":{"id":"C","client_id":"c"},)"
         R"("receiver":{"id":"R","client_id":"u","name":"Anna","phone":"+79160004242","email":"planted@secret.example"},)"
         R"("message":{"id":"M)" +
         std::to_string(number) + R"(","type":"text","text":"PLANTED-TEXT number )" + std::to_string(number) +
         R"(","markup":{"mode":"inline","buttons":[[{"text":"Yes"}]]}}}})";
}

void ingest(const amochats::channel &channel, int number) {
  const auto body = hook(number);
  CHECK(channel.ingest(scope, amochats::sign_body(secret, body), body, patience) == AMOCHATS_INGESTED_KEPT);
}

void builders() {
  const auto at = std::chrono::system_clock::time_point(std::chrono::milliseconds(1704067200123));
  const auto anna = amochats::user("u", "Anna").phone("+79160004242").email("planted@secret.example").profile_link("https://a.example").avatar("https://a.example/a.png").raw();
  CHECK(anna != nullptr);
  amochats::user client("u", "Anna"), manager("m", "Olga");
  manager.ref_id("M");
  const auto with = [&] {
    amochats::message message("c", "m-1");
    message.sender(client).sent_at(at);
    return message;
  };
  const auto json = [](const amochats::message &message) { return amochats::attempt([&] { return message.json(); }); };
  const auto says = [&](amochats::message message, std::string_view part) {
    auto found = json(message);
    if (!found) {
      check_fail("%s", found.error().what());
    } else if (found->find(part) == std::string::npos) {
      check_fail("%s is not in %s", std::string(part).c_str(), found->c_str());
    }
  };
  const auto file = "https://example.com/f";
  auto text = with();
  says(std::move(text.text("hi").silent().source("shop").callback_data("row").conversation_ref_id("C")), R"("callback_data":"row")");
  constexpr std::pair<amochats_media, std::string_view> kinds[] = {
      {AMOCHATS_MEDIA_FILE, "file"},   {AMOCHATS_MEDIA_VIDEO, "video"}, {AMOCHATS_MEDIA_PICTURE, "picture"},
      {AMOCHATS_MEDIA_VOICE, "voice"}, {AMOCHATS_MEDIA_AUDIO, "audio"}, {AMOCHATS_MEDIA_STICKER, "sticker"}};
  for (const auto &[kind, name] : kinds) {
    auto media = with();
    media.media(kind, file).file_name("f").file_size(7).duration(std::chrono::seconds(3)).caption("see");
    says(std::move(media), R"("type":")" + std::string(name) + R"(",)");
  }
  auto sticker = with();
  says(std::move(sticker.media(AMOCHATS_MEDIA_STICKER, file).sticker_id("s-1")), R"("sticker_id":"s-1")");
  auto place = with();
  says(std::move(place.location(30.5, 59.5).caption("here")), R"("lon":30.5)");
  auto contact = with();
  says(std::move(contact.contact("Boris", "+15550101")), R"("phone":"+15550101")");
  auto reply = with();
  says(std::move(reply.text("yes").reply_to("m-0")), R"("reply_to":{"message":{"msgid":"m-0"}})");
  auto reply_ref = with();
  says(std::move(reply_ref.text("yes").reply_to("", "M0")), R"("reply_to":{"message":{"id":"M0"}})");
  amochats::message quoted("", "");
  quoted.sender(client).sent_at(at).text("before");
  auto described = with();
  says(std::move(described.text("yes").reply_to(quoted)), R"("text":"before")");
  auto forwarded = with();
  says(std::move(forwarded.text("look").forward("m-0", "", "c-0")), R"("forwards":{"messages":[{"msgid":"m-0"}])");
  auto forwarded_described = with();
  says(std::move(forwarded_described.text("look").forward(quoted)), R"("forwards")");
  auto post = with();
  says(std::move(post.text("nice").post("p", "https://example.com/p", "", "", "anna")), R"("username":"anna")");
  auto shared = with();
  says(std::move(shared.text("see").shared_post("https://example.com/p")), R"("shared_post")");
  amochats::message outgoing("c", "m-2");
  says(std::move(outgoing.sender(manager).receiver(client).text("hi").sent_at(at)), R"("receiver")");

  // What is missing or does not go together is told with its field.
  CHECK(thrown([] { amochats::message("c", "m").text("x").json(); }).field() == "payload.sender");
  CHECK(thrown([&] { with().json(); }).field() == "payload.message");
  CHECK(thrown([&] { with().text("x").file_name("f"); }).field() == "message");
  CHECK(thrown([&] { with().text("x").sticker_id("s"); }).field() == "sticker_id");
  CHECK(thrown([&] { with().media(static_cast<amochats_media>(9), file); }).field() == "media");
  CHECK(thrown([&] { with().location(181, 0).json(); }).field() == "payload.message.location.lon");
  CHECK(thrown([&] { with().text("x").reply_to("", ""); }).field() == "message_id");
  CHECK(thrown([&] { with().text("\xff"); }).code() == AMOCHATS_RESULT_INVALID_UTF8);
  CHECK(thrown([&] { amochats::call::send_message(scope, with()); }).field() == "payload.message");
  CHECK(thrown([&] { amochats::call::set_delivery_status(scope, "M", 7); }).field() == "status");
  CHECK(thrown([&] { amochats::call::set_delivery_status(scope, "M", -1, 905); }).field() == "error");
  CHECK(thrown([&] { amochats::call::react(scope, "", "m", "u", "+1"); }).field() == "conversation_id");
  CHECK(thrown([&] { amochats::call::from_json("send_flowers", scope, "{}"); }).field() == "call");
  CHECK(thrown([&] { amochats::call::connect("a", "", "v3"); }).field() == "hook_version");
}

void a_channel() {
  const folder in;
  int lines = 0;
  std::mutex counting;
  auto config = configured(in);
  config.log_to(AMOCHATS_LEVEL_DEBUG, [&](amochats_level level, std::string_view target, std::string_view line) {
    record(level, target, line);
    const std::lock_guard lock(counting);
    lines += target.substr(0, 8) == "amochats";
    throw std::runtime_error("does not cross the library");
  });
  const amochats::channel channel(config, patience);
  CHECK(channel.listener_address().substr(0, 10) == "127.0.0.1:");
  CHECK(channel.metrics(patience).find("amochats_webhook_answers") != std::string::npos);
  channel.check_health(patience);
  amochats::consumer_options options;
  options.create = true;
  const auto consumer = channel.open_consumer("crm", options, patience);
  CHECK(!consumer.next(amochats::timeout(0)));
  for (int number = 0; number < 3; number++) ingest(channel, number);
  CHECK(lines > 0);
  CHECK(*channel.accounts().at(0)["state"].text() == "discovered");

  int number = 0;
  for (auto &delivery : consumer) {
    const auto event = delivery.event();
    CHECK(delivery.attempt() == 1 && !delivery.is_again() && !delivery.is_live());
    CHECK(event.scope_id() == scope && event.origin() == "webhook" && event.kind_name() == "message");
    CHECK(event.raw_body() == hook(number));
    CHECK(event.received_at() > std::chrono::system_clock::time_point(std::chrono::hours(24 * 365 * 50)));
    CHECK(!event.item() && event.event_id().size() > 0 && event.json().size() > 0);
    CHECK(event.webhook().text() == "PLANTED-TEXT number " + std::to_string(number));
    const auto buttons = event.webhook().fields()["markup"]["buttons"];
    CHECK(buttons.size() == 1 && buttons.at(0).at(0)["text"].text() == "Yes");
    CHECK(!buttons["nothing"]["at all"] && !buttons.at(1).text() && !buttons.integer());
    delivery.extend(std::chrono::minutes(2));
    if (number < 2) delivery.ack();
    if (number == 2) delivery.dead(patience);
    CHECK(thrown([&] { delivery.ack(); }).code() == AMOCHATS_RESULT_MISUSE);
    if (++number == 3) consumer.close(patience);
  }
  CHECK(number == 3);
  CHECK(channel.dead_letters("crm").size() == 1);
  CHECK(channel.subscriptions().at(0)["dead"].integer() == 1);

  amochats::message message("c", "m-1");
  message.sender(amochats::user("u", "Anna").phone("+79160004242").email("planted@secret.example"))
      .text("PLANTED-TEXT");
  const auto item = channel.enqueue(amochats::call::send_message(scope, message));
  CHECK(channel.outbox_item(*item["item_id"].text())["call"].text() == "send_message");
  CHECK(thrown([&] { channel.outbox_item("none"); }).code() == AMOCHATS_RESULT_NOT_FOUND);
  CHECK(thrown([&] { channel.open_client().send_message(scope, message); }).code() == AMOCHATS_RESULT_TRANSPORT);
  auto refused = amochats::attempt([&] { channel.open_consumer("none"); });
  CHECK(!refused && refused.error().code() == AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND);
  CHECK(amochats::attempt([&] { return channel.accounts().size(); }).value() == 1);
  channel.close(patience);
  CHECK(thrown([&] { channel.check_health(); }).code() == AMOCHATS_RESULT_CLOSED);
}

void handlers_and_completions() {
  const folder in;
  const amochats::channel channel(configured(in), patience);
  amochats::consumer_options options;
  options.create = true;
  options.dispatch = true;
  auto consumer = channel.open_consumer("crm", options, patience);
  channel.set_dispatcher(consumer);
  const auto until = [&](const auto &happened) {
    while (!happened()) {
      pollfd waiting{consumer.fd(), POLLIN, 0};
      REQUIRE(poll(&waiting, 1, 60000) == 1);
      consumer.dispatch();
    }
  };
  int kept = 0, seen = 0, acked = 0;
  for (int number = 0; number < 3; number++) {
    const auto body = hook(number);
    channel.ingest_async(scope, amochats::sign_body(secret, body), body,
                         [&](amochats::value_view answer, const amochats::error *failure) {
                           CHECK(failure == nullptr && answer["ingested"].text() == "kept");
                           kept++;
                           throw std::runtime_error("does not cross the library");
                         });
  }
  until([&] { return kept == 3; });
  channel.ingest_async(scope, std::nullopt, "{}", [&](amochats::value_view answer, const amochats::error *failure) {
    CHECK(!answer && failure != nullptr && failure->code() == AMOCHATS_RESULT_SIGNATURE_MISSING);
    kept++;
  });
  until([&] { return kept == 4; });
  std::optional<amochats::delivery> mine;
  consumer.on_delivery([&](amochats::delivery &delivery) {
    seen++;
    if (seen == 1) throw std::runtime_error("handed out again");
    if (seen == 2) {
      CHECK(delivery.attempt() == 2);
      mine = std::move(delivery);
      return AMOCHATS_VERDICT_KEEP;
    }
    return AMOCHATS_VERDICT_ACK;
  });
  until([&] { return seen == 2; });
  REQUIRE(mine);
  mine->ack_async([&](amochats::value_view, const amochats::error *failure) {
    CHECK(failure == nullptr);
    acked++;
  });
  mine.reset();
  until([&] { return seen == 4 && acked == 1; });
  CHECK(thrown([&] { consumer.next(); }).code() == AMOCHATS_RESULT_MISUSE);
  CHECK(thrown([&] { consumer.on_delivery([](amochats::delivery &) { return AMOCHATS_VERDICT_ACK; }); }).code() ==
        AMOCHATS_RESULT_MISUSE);
}

void version() { CHECK(std::string_view(amochats::version()) == AMOCHATS_VERSION); }

}  // namespace

int main() {
  RUN(signatures);
  RUN(errors);
  RUN(verifying);
  RUN(messages);
  RUN(typing_and_reactions);
  RUN(encoding);
  RUN(objects_move);
  RUN(builders);
  RUN(a_channel);
  RUN(handlers_and_completions);
  RUN(version);
  return check_result();
}
