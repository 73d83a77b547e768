// A messenger with the whole channel in it: the client Anna writes, and what the manager answers in the CRM
// is shown here and reported as delivered. Stop it, or kill it: what was answered meanwhile is shown after
// the next start.
//
// usage: channel CONFIG ACCOUNT_ID
//
// CONFIG is what `amochats config example` prints, with a [[channel]]; ACCOUNT_ID the account's amojo id.
// Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not be done, 2 wrong usage.
#include <amochats.hpp>
#include <csignal>
#include <iostream>
#include <mutex>

namespace {

volatile std::sig_atomic_t stopped = 0;

// Connects the account and writes as Anna. Both may be repeated: the message has its id.
void greet(const amochats::channel &channel, std::string_view account_id) {
  const auto connected = channel.open_client().connect(account_id, "Example");
  amochats::message message("chat-with-anna", "greeting");
  message.sender(amochats::user("anna", "Anna")).text("Is my order ready?");
  // Kept by the outbox, so it is sent also where the service is out of order now.
  channel.enqueue(amochats::call::send_message(*connected["scope_id"].text(), message));
}

// Shows a delivery; only then it is acknowledged, so none is lost.
void show(const amochats::delivery &delivery) {
  const auto webhook = delivery.event().webhook();
  const bool is_message = webhook.kind() == AMOCHATS_KIND_MESSAGE;
  if (is_message) std::cout << "manager: " << webhook.text().value_or("") << std::endl;
  // 1 tells the CRM that the message was delivered; 0 tells it nothing.
  const auto acked = amochats::attempt([&] { delivery.ack(is_message ? 1 : 0); });
  // Where it took too long it comes again.
  if (!acked && acked.error().code() != AMOCHATS_RESULT_LEASE_LOST) throw acked.error();
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " CONFIG ACCOUNT_ID\n";
    return 2;
  }
  std::signal(SIGTERM, [](int) { stopped = 1; });
  std::signal(SIGINT, [](int) { stopped = 1; });
  try {
    std::mutex writing;
    amochats::config config;
    config.load(argv[1]).log_to(AMOCHATS_LEVEL_WARN, [&](amochats_level, std::string_view target, std::string_view line) {
      const std::lock_guard lock(writing);
      std::cerr << target << ": " << line << "\n";
    });
    const amochats::channel channel(config);
    std::cout << "listening on " << channel.listener_address() << std::endl;

    amochats::consumer_options options;
    options.create = true;
    const auto consumer = channel.open_consumer("messenger", options);
    greet(channel, argv[2]);
    while (!stopped) {
      if (const auto delivery = consumer.next(std::chrono::milliseconds(200))) show(*delivery);
    }
    consumer.close();
    channel.close();
  } catch (const amochats::error &error) {
    std::cerr << error.name() << ": " << error.what() << "\n";
    return 1;
  }
}
