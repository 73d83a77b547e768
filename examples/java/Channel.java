// A client's message to the CRM and the manager's answers out of it, in Java, with Debian's packages.
//
//   $ sudo apt-get install default-jdk-headless libgrpc-java libguava-java libnetty-java libperfmark-java libprotobuf-java libgeronimo-annotation-1.3-spec-java protobuf-compiler protobuf-compiler-grpc-java-plugin
//   $ mkdir -p generated classes
//   $ protoc -I ../../proto --java_out=generated --grpc_out=generated --plugin=protoc-gen-grpc=/usr/bin/grpc_java_plugin ../../proto/amochats/v1/*.proto
//   $ echo "-cp classes$(printf ':%s' /usr/share/java/{grpc-*,netty-*,geronimo-annotation-1.3-spec,guava,perfmark-api,protobuf}.jar)" > classpath
//   $ javac @classpath -d classes Channel.java $(find generated -name '*.java')
//   $ java @classpath Channel "$ACCOUNT_ID" "Is my order ready?"
//
// With Maven or Gradle: io.grpc:grpc-netty-shaded, grpc-protobuf, grpc-stub and the protobuf plugin.
// AMOCHATS_SERVER is host:port of the server.

import static amochats.v1.AccountState.ACCOUNT_STATE_CONNECTED;
import static amochats.v1.DeliveryState.DELIVERY_STATE_DELIVERED;

import amochats.v1.Ack;
import amochats.v1.ChannelServiceGrpc;
import amochats.v1.ConnectRequest;
import amochats.v1.Content;
import amochats.v1.CreateOptions;
import amochats.v1.Delivery;
import amochats.v1.DeliveryStatus;
import amochats.v1.EnqueueRequest;
import amochats.v1.InboxServiceGrpc;
import amochats.v1.ListAccountsRequest;
import amochats.v1.Message;
import amochats.v1.MessageEvent;
import amochats.v1.OutboxServiceGrpc;
import amochats.v1.Scope;
import amochats.v1.Sender;
import amochats.v1.SettleResult;
import amochats.v1.StreamEventsRequest;
import amochats.v1.StreamEventsResponse;
import amochats.v1.Subscribe;
import amochats.v1.TextContent;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.StreamObserver;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

public final class Channel {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final ManagedChannel connection;
    private final Scope scope;
    private final Backoff backoff = new Backoff();
    private final CountDownLatch stopped = new CountDownLatch(1);
    private volatile Stream stream;

    private Channel(String address, String accountId) {
        connection = NettyChannelBuilder.forTarget(address)
                .usePlaintext()
                .keepAliveTime(30, TimeUnit.SECONDS) // A dead connection is noticed, and made anew.
                .build();
        scope = Scope.newBuilder().setAccountId(accountId).build();
    }

    private boolean stopping() {
        return stopped.getCount() == 0;
    }

    private void stop() {
        stopped.countDown();
        Stream current = stream;
        if (current != null) {
            current.end();
        }
    }

    /** Connects the channel to the account, unless it is. */
    private void connectAccount() throws InterruptedException {
        String scopeId = call(() -> channels().listAccounts(ListAccountsRequest.getDefaultInstance()))
                .getAccountsList().stream()
                .filter(account -> account.getAccountId().equals(scope.getAccountId()))
                .filter(account -> account.getState() == ACCOUNT_STATE_CONNECTED)
                .map(account -> account.getScopeId())
                .findAny().orElse(null);
        if (scopeId == null) {
            ConnectRequest request = ConnectRequest.newBuilder().setScope(scope).setTitle("Shop").build();
            scopeId = call(() -> channels().connect(request)).getScopeId();
        }
        OUT.println("connected " + scopeId);
    }

    private ChannelServiceGrpc.ChannelServiceBlockingStub channels() {
        return ChannelServiceGrpc.newBlockingStub(connection).withDeadlineAfter(30, TimeUnit.SECONDS);
    }

    /** Gives a client's message to the outbox, which sends it, if need be later and again. */
    private void send(String text) throws InterruptedException {
        Message message = Message.newBuilder()
                .setMessageId(UUID.randomUUID().toString())
                .setConversationId("c-1")
                .setSender(Sender.newBuilder().setUserId("u-1").setName("Anna"))
                .setContent(Content.newBuilder().setText(TextContent.newBuilder().setText(text)))
                .build();
        EnqueueRequest request = EnqueueRequest.newBuilder().setScope(scope).setMessage(message).build();
        call(() -> OutboxServiceGrpc.newBlockingStub(connection)
                .withDeadlineAfter(30, TimeUnit.SECONDS)
                .enqueue(request));
        OUT.println("sent " + message.getMessageId());
    }

    /** A call that may be repeated, as each one here. */
    private <T> T call(Supplier<T> call) throws InterruptedException {
        while (true) {
            try {
                return call.get();
            } catch (StatusRuntimeException e) {
                if (stopping()) {
                    throw e;
                }
                backoff.await(e.getStatus());
            }
        }
    }

    /** Hands on the managers' answers until it is stopped, whatever becomes of the connection. */
    private void receive() throws InterruptedException {
        while (!stopping()) {
            stream = new Stream();
            if (stopping()) {
                stream.end();
            }
            Status status = stream.ended.join();
            if (!stopping() && !status.isOk()) {
                backoff.await(status);
            }
        }
    }

    /** Delays that grow, drawn at random so that clients do not come back all at once. */
    private final class Backoff {
        private long longest = 100;

        void reset() {
            longest = 100;
        }

        /** Waits where the server is away or busy: the same call may succeed later. */
        void await(Status status) throws InterruptedException {
            switch (status.getCode()) {
                case UNAVAILABLE:
                case RESOURCE_EXHAUSTED:
                    long delay = ThreadLocalRandom.current().nextLong(longest);
                    longest = Math.min(longest * 2, 10_000);
                    stopped.await(delay, TimeUnit.MILLISECONDS);
                    break;
                default:
                    throw status.asRuntimeException();
            }
        }
    }

    /** One stream: hands on what comes, and acknowledges it. */
    private final class Stream implements StreamObserver<StreamEventsResponse> {
        final CompletableFuture<Status> ended = new CompletableFuture<>();
        private final StreamObserver<StreamEventsRequest> requests;
        private boolean requestsEnded;

        Stream() {
            requests = InboxServiceGrpc.newStub(connection).streamEvents(this);
            Subscribe.Builder subscribe = Subscribe.newBuilder()
                    .setSubscription("crm")
                    .setCreate(CreateOptions.newBuilder().setOldest(true));
            request(StreamEventsRequest.newBuilder().setSubscribe(subscribe).build());
        }

        // Requests come from the stream's thread, the end from the one that handles signals.
        private synchronized void request(StreamEventsRequest request) {
            if (!requestsEnded) {
                requests.onNext(request);
            }
        }

        /** Ends the requests: what was acknowledged is still confirmed. */
        synchronized void end() {
            if (!requestsEnded) {
                requestsEnded = true;
                requests.onCompleted();
            }
        }

        @Override
        public void onNext(StreamEventsResponse response) {
            if (response.hasSubscribed()) {
                backoff.reset();
                OUT.println("subscribed " + response.getSubscribed().getSubscription());
            }
            response.getDeliveriesList().forEach(this::handle);
            for (SettleResult settled : response.getSettledList()) {
                String what = settled.getOk() ? "settled" : "not settled (" + settled.getReason() + ")";
                OUT.println(what + " " + settled.getAckId());
            }
        }

        private void handle(Delivery delivery) {
            if (delivery.getAckId().isEmpty()) {
                return; // Typing: it needs no settlement.
            }
            Ack.Builder ack = Ack.newBuilder().setAckId(delivery.getAckId());
            if (delivery.getEvent().hasMessage()) {
                MessageEvent message = delivery.getEvent().getMessage();
                // Here it goes to the client's messenger. Only then it is acknowledged.
                OUT.println(String.join(" ", "message", delivery.getAckId(), message.getConversationId(),
                        message.getMessageRefId(), message.getText()));
                if (message.hasMessageRefId()) {
                    ack.setDeliveryStatus(DeliveryStatus.newBuilder().setState(DELIVERY_STATE_DELIVERED));
                }
            }
            request(StreamEventsRequest.newBuilder().setAck(ack).build());
        }

        @Override
        public void onError(Throwable error) {
            ended.complete(Status.fromThrowable(error));
        }

        @Override
        public void onCompleted() {
            ended.complete(Status.OK);
        }
    }

    public static void main(String[] args) throws InterruptedException {
        String address = System.getenv().getOrDefault("AMOCHATS_SERVER", "127.0.0.1:50051");
        Channel channel = new Channel(address, args[0]);
        CountDownLatch done = new CountDownLatch(1);
        // SIGTERM and SIGINT: the JVM ends after this, with 143 or 130.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            channel.stop();
            try {
                done.await(10, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        int code = 0;
        try {
            channel.connectAccount();
            channel.send(args[1]);
            channel.receive();
        } catch (StatusRuntimeException e) {
            System.err.println(e.getMessage());
            code = 1;
        }
        channel.connection.shutdownNow();
        done.countDown();
        if (!channel.stopping()) {
            System.exit(code);
        }
    }
}
