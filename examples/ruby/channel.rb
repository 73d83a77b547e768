# A client's message to the CRM and the manager's answers out of it, in Ruby.
#
#   $ sudo apt-get install ruby ruby-grpc protobuf-compiler protobuf-compiler-grpc
#   $ mkdir -p lib
#   $ protoc -I ../../proto --ruby_out=lib --grpc_out=lib --plugin=protoc-gen-grpc=/usr/bin/grpc_ruby_plugin ../../proto/amochats/v1/*.proto
#   $ ruby -Ilib channel.rb "$ACCOUNT_ID" "Is my order ready?"
#
# Without Debian, `gem install grpc grpc-tools` has the same, as grpc_tools_ruby_protoc.
# AMOCHATS_SERVER is host:port of the server.

require "grpc"
require "securerandom"
require "amochats/v1/channel_services_pb"
require "amochats/v1/inbox_services_pb"
require "amochats/v1/outbox_services_pb"

include Amochats::V1

$stdout.sync = true

# Delays that grow, drawn at random so that clients do not come back all at once.
class Backoff
  FIRST = 0.1
  LONGEST = 10

  def initialize(stopped)
    @stopped = stopped
    reset
  end

  def reset
    @longest = FIRST
  end

  def wait
    delay = rand * @longest
    @longest = [@longest * 2, LONGEST].min
    # Ends early when the main thread is woken by a signal.
    sleep delay unless @stopped.call
  end
end

class Client
  # The server is away or busy: the same call may succeed later.
  PASSING = [GRPC::Unavailable, GRPC::ResourceExhausted].freeze
  # A dead connection is noticed, and made anew within seconds.
  OPTIONS = {
    channel_args: { "grpc.keepalive_time_ms" => 30_000, "grpc.max_reconnect_backoff_ms" => 5_000 }
  }.freeze

  def initialize(address, account_id)
    @channels = ChannelService::Stub.new(address, :this_channel_is_insecure, **OPTIONS)
    @inbox = InboxService::Stub.new(address, :this_channel_is_insecure, **OPTIONS)
    @outbox = OutboxService::Stub.new(address, :this_channel_is_insecure, **OPTIONS)
    @scope = Scope.new(account_id: account_id)
    @stopping = false
    @requests = Queue.new
    @backoff = Backoff.new(-> { @stopping })
  end

  # May be called by a signal handler.
  def stop
    @stopping = true
    @requests << nil # Ends the requests: what was acknowledged is still confirmed.
  end

  # Connects the channel to the account, unless it is.
  def connect_account
    accounts = call { |deadline| @channels.list_accounts(ListAccountsRequest.new, deadline: deadline) }.accounts
    found = accounts.find { |a| a.account_id == @scope.account_id && a.state == :ACCOUNT_STATE_CONNECTED }
    found ||= call do |deadline|
      @channels.connect(ConnectRequest.new(scope: @scope, title: "Shop"), deadline: deadline)
    end
    puts "connected #{found.scope_id}"
  end

  # Gives a client's message to the outbox, which sends it, if need be later and again.
  def send_message(text)
    message = Message.new(
      message_id: SecureRandom.uuid,
      conversation_id: "c-1",
      sender: Sender.new(user_id: "u-1", name: "Anna"),
      content: Content.new(text: TextContent.new(text: text))
    )
    call { |deadline| @outbox.enqueue(EnqueueRequest.new(scope: @scope, message: message), deadline: deadline) }
    puts "sent #{message.message_id}"
  end

  # Hands on the managers' answers until it is stopped, whatever becomes of the connection.
  def receive
    until @stopping
      begin
        stream
      rescue *PASSING
        @backoff.wait
      end
    end
  end

  private

  # A call that may be repeated, as each one here.
  def call
    yield Time.now + 30
  rescue *PASSING
    raise if @stopping

    @backoff.wait
    retry
  end

  def stream
    requests = @requests = Queue.new
    subscribe = Subscribe.new(subscription: "crm", create: CreateOptions.new(oldest: true))
    requests << StreamEventsRequest.new(subscribe: subscribe)
    until_nil = Enumerator.produce { requests.pop || raise(StopIteration) }
    @inbox.stream_events(until_nil).each do |response|
      if response.subscribed
        @backoff.reset
        puts "subscribed #{response.subscribed.subscription}"
      end
      response.deliveries.each { |delivery| handle(delivery) }
      response.settled.each { |s| puts "#{s.ok ? 'settled' : "not settled (#{s.reason})"} #{s.ack_id}" }
    end
  ensure
    requests << nil # Else the thread that reads them would wait for ever.
  end

  def handle(delivery)
    return if delivery.ack_id.empty? # Typing: it needs no settlement.

    ack = Ack.new(ack_id: delivery.ack_id)
    if (message = delivery.event.message)
      # Here it goes to the client's messenger. Only then it is acknowledged.
      puts "message #{delivery.ack_id} #{message.conversation_id} #{message.message_ref_id} #{message.text}"
      ack.delivery_status = DeliveryStatus.new(state: :DELIVERY_STATE_DELIVERED) if message.has_message_ref_id?
    end
    @requests << StreamEventsRequest.new(ack: ack)
  end
end

abort "usage: channel.rb ACCOUNT_ID TEXT" unless ARGV.size == 2
client = Client.new(ENV.fetch("AMOCHATS_SERVER", "127.0.0.1:50051"), ARGV[0])
%w[INT TERM].each { |name| trap(name) { client.stop } }
begin
  client.connect_account
  client.send_message(ARGV[1])
  client.receive
rescue GRPC::BadStatus => e
  abort "#{e.class.name.delete_prefix('GRPC::')}: #{e.details}"
end
