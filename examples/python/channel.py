"""A client's message to the CRM and the manager's answers out of it, with grpcio.

  $ python3 -m venv .venv
  $ .venv/bin/pip install --quiet grpcio grpcio-status grpcio-tools
  $ .venv/bin/python -m grpc_tools.protoc -I ../../proto --python_out=. --grpc_python_out=. ../../proto/amochats/v1/*.proto
  $ .venv/bin/python channel.py "$ACCOUNT_ID" "Is my order ready?"

The environment: AMOCHATS_SERVER is host:port of the server. With AMOCHATS_CA, the file of the
certificate authority in PEM, the connection has TLS; AMOCHATS_TOKEN is then sent as bearer token.
"""

import os
import queue
import random
import signal
import sys
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from amochats.v1 import (
    channel_pb2,
    channel_pb2_grpc,
    inbox_pb2,
    inbox_pb2_grpc,
    message_pb2,
    outbox_pb2,
    outbox_pb2_grpc,
)

# The server is away or busy: the same call may succeed later.
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


def connect() -> grpc.Channel:
    address = os.environ.get("AMOCHATS_SERVER", "127.0.0.1:50051")
    options = [
        ("grpc.keepalive_time_ms", 30_000),  # A dead connection is noticed, and made anew
        ("grpc.max_reconnect_backoff_ms", 5_000),  # within seconds.
    ]
    ca, token = os.environ.get("AMOCHATS_CA"), os.environ.get("AMOCHATS_TOKEN")
    if ca is None:
        return grpc.insecure_channel(address, options)
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    if token is not None:
        bearer = grpc.access_token_call_credentials(token)
        credentials = grpc.composite_channel_credentials(credentials, bearer)
    return grpc.secure_channel(address, credentials, options)


def details(error: grpc.RpcError) -> dict[type, object]:
    """What an error carries beside its code: ErrorInfo always, BadRequest and RetryInfo where they fit."""
    status = rpc_status.from_call(error)
    found = {}
    for detail in status.details if status else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(message := kind())
                found[kind] = message
    return found


def explain(error: grpc.RpcError) -> str:
    found = details(error)
    info = found.get(error_details_pb2.ErrorInfo, error_details_pb2.ErrorInfo())
    lines = [f"{error.code().name} {info.reason}: {error.details()}"]
    # The status and the words of the chats API, where it was asked. They may quote what was sent.
    lines += [f"  {name}: {value}" for name, value in sorted(info.metadata.items())]
    if bad := found.get(error_details_pb2.BadRequest):
        lines += [f"  {violation.field}: {violation.description}" for violation in bad.field_violations]
    return "\n".join(lines)


def say(*words: object) -> None:
    print(*words, flush=True)


class Backoff:
    """Delays that grow, drawn at random so that clients do not come back all at once."""

    def __init__(self) -> None:
        # SimpleQueue is what a signal handler may use.
        self.stopped: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.longest = 0.1

    def reset(self) -> None:
        self.longest = 0.1

    def wait(self, error: grpc.RpcError) -> None:
        if error.code() not in PASSING:
            raise error
        asked = details(error).get(error_details_pb2.RetryInfo)
        delay = asked.retry_delay.ToTimedelta().total_seconds() if asked else random.uniform(0, self.longest)
        self.longest = min(self.longest * 2, 10)
        print(f"{error.code().name}, again in {delay:.1f} s", file=sys.stderr, flush=True)
        try:
            self.stopped.get(timeout=delay)
        except queue.Empty:
            pass


class Client:
    def __init__(self, channel: grpc.Channel, account_id: str) -> None:
        self.channels = channel_pb2_grpc.ChannelServiceStub(channel)
        self.inbox = inbox_pb2_grpc.InboxServiceStub(channel)
        self.outbox = outbox_pb2_grpc.OutboxServiceStub(channel)
        self.scope = channel_pb2.Scope(account_id=account_id)
        self.backoff = Backoff()
        self.stopping = False
        self.requests: queue.SimpleQueue[inbox_pb2.StreamEventsRequest | None] = queue.SimpleQueue()

    def stop(self, *_: object) -> None:
        self.stopping = True
        self.requests.put(None)  # Ends the requests: what was acknowledged is still confirmed.
        self.backoff.stopped.put(None)

    def call(self, method, request):
        """A call that may be repeated, as each one here."""
        while True:
            try:
                return method(request, timeout=30)
            except grpc.RpcError as error:
                if self.stopping:
                    raise
                self.backoff.wait(error)

    def connect_account(self) -> None:
        """Connects the channel to the account, unless it is."""
        accounts = self.call(self.channels.ListAccounts, channel_pb2.ListAccountsRequest()).accounts
        for account in accounts:
            if (account.account_id, account.state) == (self.scope.account_id, channel_pb2.ACCOUNT_STATE_CONNECTED):
                say("connected", account.scope_id)
                return
        connected = self.call(self.channels.Connect, channel_pb2.ConnectRequest(scope=self.scope, title="Shop"))
        say("connected", connected.scope_id)

    def send(self, text: str) -> None:
        """Gives a client's message to the outbox, which sends it, if need be later and again."""
        message = message_pb2.Message(
            message_id=str(uuid.uuid4()),
            conversation_id="c-1",
            sender=message_pb2.Sender(user_id="u-1", name="Anna"),
            content=message_pb2.Content(text=message_pb2.TextContent(text=text)),
        )
        self.call(self.outbox.Enqueue, outbox_pb2.EnqueueRequest(scope=self.scope, message=message))
        say("sent", message.message_id)

    def receive(self) -> None:
        """Hands on the managers' answers until it is stopped, whatever becomes of the connection."""
        while not self.stopping:
            try:
                self.stream()
            except grpc.RpcError as error:
                if not self.stopping:
                    self.backoff.wait(error)

    def stream(self) -> None:
        self.requests = queue.SimpleQueue()
        subscribe = inbox_pb2.Subscribe(subscription="crm", create=inbox_pb2.CreateOptions(oldest=True))
        self.requests.put(inbox_pb2.StreamEventsRequest(subscribe=subscribe))
        if self.stopping:
            self.requests.put(None)
        try:
            for response in self.inbox.StreamEvents(iter(self.requests.get, None)):
                if response.HasField("subscribed"):
                    self.backoff.reset()
                    say("subscribed", response.subscribed.subscription)
                for delivery in response.deliveries:
                    self.handle(delivery)
                for settled in response.settled:
                    say("settled" if settled.ok else f"not settled ({settled.reason})", settled.ack_id)
        finally:
            self.requests.put(None)  # Else the thread that reads them would wait for ever.

    def handle(self, delivery: inbox_pb2.Delivery) -> None:
        event = delivery.event
        if not delivery.ack_id:
            return  # Typing: it needs no settlement.
        ack = inbox_pb2.Ack(ack_id=delivery.ack_id)
        if event.WhichOneof("kind") == "message":
            message = event.message
            # Here it goes to the client's messenger. Only then it is acknowledged.
            say("message", delivery.ack_id, message.conversation_id, message.message_ref_id, message.text)
            if message.HasField("message_ref_id"):
                ack.delivery_status.state = message_pb2.DELIVERY_STATE_DELIVERED
        self.requests.put(inbox_pb2.StreamEventsRequest(ack=ack))


def main() -> int:
    account_id, text = sys.argv[1:]
    with connect() as channel:
        client = Client(channel, account_id)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, client.stop)
        try:
            client.connect_account()
            client.send(text)
            client.receive()
        except grpc.RpcError as error:
            print(explain(error), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
