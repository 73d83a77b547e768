// Every part of amochats.hpp.
#include "check.h"

#include <amochats.hpp>
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
  RUN(version);
  return check_result();
}
