// A client's message to the CRM and the manager's answers out of it, in C++17.
//
//   $ sudo apt-get install g++ libgrpc++-dev pkg-config protobuf-compiler protobuf-compiler-grpc
//   $ mkdir -p generated
//   $ protoc -I ../../proto --cpp_out=generated --grpc_out=generated --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin ../../proto/amochats/v1/{channel,event,inbox,message,outbox,outbox_item}.proto
//   $ g++ -std=c++17 -Wall -Wextra -Igenerated channel.cpp generated/amochats/v1/*.cc $(pkg-config --cflags --libs grpc++ protobuf) -o channel
//   $ ./channel "$ACCOUNT_ID" "Is my order ready?"
//
// AMOCHATS_SERVER is host:port of the server.

#include <grpcpp/grpcpp.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "amochats/v1/channel.grpc.pb.h"
#include "amochats/v1/inbox.grpc.pb.h"
#include "amochats/v1/outbox.grpc.pb.h"

namespace pb = amochats::v1;
using namespace std::chrono_literals;

class Client {
 public:
  Client(const std::shared_ptr<grpc::Channel>& channel, const std::string& account_id)
      : channels_(pb::ChannelService::NewStub(channel)),
        inbox_(pb::InboxService::NewStub(channel)),
        outbox_(pb::OutboxService::NewStub(channel)) {
    scope_.set_account_id(account_id);
  }

  // Ends receive(), from another thread: what was acknowledged is still confirmed.
  void stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (stream_ != nullptr) stream_->WritesDone();
    wake_.notify_all();
  }

  // Connects the channel to the account, unless it is.
  grpc::Status connect_account() {
    return call([this](grpc::ClientContext& context) {
      pb::ListAccountsResponse listed;
      if (auto status = channels_->ListAccounts(&context, {}, &listed); !status.ok()) return status;
      for (const auto& account : listed.accounts()) {
        if (account.account_id() == scope_.account_id() && account.state() == pb::ACCOUNT_STATE_CONNECTED) {
          std::cout << "connected " << account.scope_id() << std::endl;
          return grpc::Status::OK;
        }
      }
      pb::ConnectRequest request;
      *request.mutable_scope() = scope_;
      request.set_title("Shop");
      pb::ConnectResponse connected;
      grpc::ClientContext another;
      another.set_deadline(context.deadline());
      auto status = channels_->Connect(&another, request, &connected);
      if (status.ok()) std::cout << "connected " << connected.scope_id() << std::endl;
      return status;
    });
  }

  // Gives a client's message to the outbox, which sends it, if need be later and again.
  grpc::Status send(const std::string& text) {
    pb::EnqueueRequest request;
    *request.mutable_scope() = scope_;
    auto& message = *request.mutable_message();
    message.set_message_id("m-" + std::to_string(random_()) + "-" + std::to_string(random_()));
    message.set_conversation_id("c-1");
    message.mutable_sender()->set_user_id("u-1");
    message.mutable_sender()->set_name("Anna");
    message.mutable_content()->mutable_text()->set_text(text);
    return call([&](grpc::ClientContext& context) {
      pb::EnqueueResponse response;
      auto status = outbox_->Enqueue(&context, request, &response);
      if (status.ok()) std::cout << "sent " << message.message_id() << std::endl;
      return status;
    });
  }

  // Hands on the managers' answers until it is stopped, whatever becomes of the connection.
  grpc::Status receive() {
    while (true) {
      const auto status = stream();
      if (stopping()) return grpc::Status::OK;
      if (!status.ok() && !backoff(status)) return status;
    }
  }

 private:
  using Stream = grpc::ClientReaderWriter<pb::StreamEventsRequest, pb::StreamEventsResponse>;

  bool stopping() {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  // A call that may be repeated, as each one here.
  grpc::Status call(const std::function<grpc::Status(grpc::ClientContext&)>& make) {
    while (true) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + 30s);
      auto status = make(context);
      if (status.ok() || stopping() || !backoff(status)) return status;
    }
  }

  // Waits where the same call may succeed later. Delays grow, and are drawn at random so that
  // clients do not come back all at once.
  bool backoff(const grpc::Status& status) {
    const auto code = status.error_code();
    if (code != grpc::UNAVAILABLE && code != grpc::RESOURCE_EXHAUSTED) return false;
    std::uniform_int_distribution<std::int64_t> draw(0, longest_.count());
    const std::chrono::milliseconds delay(draw(random_));
    longest_ = std::min<std::chrono::milliseconds>(longest_ * 2, 10s);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, delay, [this] { return stopping_; });
    return true;
  }

  // Hands on what comes over one stream, and acknowledges it.
  grpc::Status stream() {
    grpc::ClientContext context;
    const auto stream = inbox_->StreamEvents(&context);
    pb::StreamEventsRequest request;
    request.mutable_subscribe()->set_subscription("crm");
    request.mutable_subscribe()->mutable_create()->set_oldest(true);
    {
      const std::lock_guard lock(mutex_);
      stream->Write(request);
      if (stopping_) stream->WritesDone();
      stream_ = stream.get();
    }
    pb::StreamEventsResponse response;
    while (stream->Read(&response)) {
      if (response.has_subscribed()) {
        longest_ = 100ms;
        std::cout << "subscribed " << response.subscribed().subscription() << std::endl;
      }
      for (const auto& delivery : response.deliveries()) handle(delivery);
      for (const auto& settled : response.settled()) {
        std::cout << (settled.ok() ? "settled" : "not settled (" + settled.reason() + ")") << " "
                  << settled.ack_id() << std::endl;
      }
    }
    {
      const std::lock_guard lock(mutex_);
      stream_ = nullptr;
    }
    return stream->Finish();
  }

  void handle(const pb::Delivery& delivery) {
    if (delivery.ack_id().empty()) return;  // Typing: it needs no settlement.
    pb::StreamEventsRequest request;
    auto& ack = *request.mutable_ack();
    ack.set_ack_id(delivery.ack_id());
    if (delivery.event().has_message()) {
      const auto& message = delivery.event().message();
      // Here it goes to the client's messenger. Only then it is acknowledged.
      std::cout << "message " << ack.ack_id() << " " << message.conversation_id() << " "
                << message.message_ref_id() << " " << message.text() << std::endl;
      if (message.has_message_ref_id()) {
        ack.mutable_delivery_status()->set_state(pb::DELIVERY_STATE_DELIVERED);
      }
    }
    const std::lock_guard lock(mutex_);
    // A write that fails is told by the next read.
    if (!stopping_) stream_->Write(request);
  }

  const std::unique_ptr<pb::ChannelService::Stub> channels_;
  const std::unique_ptr<pb::InboxService::Stub> inbox_;
  const std::unique_ptr<pb::OutboxService::Stub> outbox_;
  pb::Scope scope_;
  std::mt19937_64 random_{std::random_device{}()};
  std::chrono::milliseconds longest_{100};

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  Stream* stream_ = nullptr;
};

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: channel ACCOUNT_ID TEXT" << std::endl;
    return 2;
  }
  // Before the first thread, so that the signals come to the one that waits for them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const char* address = std::getenv("AMOCHATS_SERVER");
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);        // A dead connection is noticed, and
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);  // made anew within seconds.
  Client client(grpc::CreateCustomChannel(address != nullptr ? address : "127.0.0.1:50051",
                                          grpc::InsecureChannelCredentials(), arguments),
                argv[1]);
  std::thread([&client, signals] {
    int number = 0;
    sigwait(&signals, &number);
    client.stop();
  }).detach();

  auto status = client.connect_account();
  if (status.ok()) status = client.send(argv[2]);
  if (status.ok()) status = client.receive();
  if (!status.ok()) std::cerr << status.error_message() << std::endl;
  // The thread that waits for signals refers to the client.
  std::_Exit(status.ok() ? 0 : 1);
}
