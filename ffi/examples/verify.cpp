// Checks a webhook and prints what it says: the body on stdin, the X-Signature header as the
// argument, the channel's secret in AMOCHATS_SECRET.
//
// Exit codes: 0 genuine, 1 refused or not readable as a webhook, 2 wrong usage.
#include <amochats.hpp>
#include <cstdlib>
#include <iostream>
#include <iterator>

int main(int argc, char **argv) {
  const char *secret = std::getenv("AMOCHATS_SECRET");
  if (argc != 2 || secret == nullptr) {
    std::cerr << "usage: AMOCHATS_SECRET=... " << argv[0] << " SIGNATURE < body\n";
    return 2;
  }
  const std::string body(std::istreambuf_iterator<char>(std::cin), {});
  try {
    amochats::verifier(secret).verify(body, argv[1]);
    const auto webhook = amochats::webhook::parse(body);
    std::cout << webhook.kind_name() << " in " << webhook.conversation_id().value_or("") << ": "
              << webhook.text().value_or("") << "\n";
  } catch (const amochats::error &error) {
    std::cerr << error.name() << ": " << error.what() << "\n";
    return error.code() == AMOCHATS_RESULT_INVALID_ARGUMENT ? 2 : 1;
  }
}
