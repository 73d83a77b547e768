"""A client's message to the CRM and the manager's answers out of it, with grpcio's asyncio.

  $ python3 -m venv .venv
  $ .venv/bin/pip install --quiet grpcio grpcio-tools
  $ .venv/bin/python -m grpc_tools.protoc -I ../../proto --python_out=. --grpc_python_out=. ../../proto/amochats/v1/*.proto
  $ .venv/bin/python channel.py "$ACCOUNT_ID" "Is my order ready?"

AMOCHATS_SERVER is host:port of the server. For TLS, a token and the details of errors see ../python.
"""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc

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
OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),  # A dead connection is noticed, and made anew
    ("grpc.max_reconnect_backoff_ms", 5_000),  # within seconds.
]


def say(*words: object) -> None:
    print(*words, flush=True)


class Backoff:
    """Delays that grow, drawn at random so that clients do not come back all at once."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self.stopping = stopping
        self.longest = 0.1

    def reset(self) -> None:
        self.longest = 0.1

    async def wait(self, error: grpc.aio.AioRpcError) -> None:
        if error.code() not in PASSING:
            raise error
        delay = random.uniform(0, self.longest)
        self.longest = min(self.longest * 2, 10)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), delay)


class Client:
    def __init__(self, channel: grpc.aio.Channel, account_id: str) -> None:
        self.channels = channel_pb2_grpc.ChannelServiceStub(channel)
        self.inbox = inbox_pb2_grpc.InboxServiceStub(channel)
        self.outbox = outbox_pb2_grpc.OutboxServiceStub(channel)
        self.scope = channel_pb2.Scope(account_id=account_id)
        self.stopping = asyncio.Event()
        self.backoff = Backoff(self.stopping)
        self.requests: asyncio.Queue[inbox_pb2.StreamEventsRequest | None] = asyncio.Queue()

    def stop(self) -> None:
        self.stopping.set()
        self.requests.put_nowait(None)

    async def call(self, method, request):
        """A call that may be repeated, as each one here."""
        while True:
            try:
                return await method(request, timeout=30)
            except grpc.aio.AioRpcError as error:
                if self.stopping.is_set():
                    raise
                await self.backoff.wait(error)

    async def connect_account(self) -> None:
        """Connects the channel to the account, unless it is."""
        listed = await self.call(self.channels.ListAccounts, channel_pb2.ListAccountsRequest())
        for account in listed.accounts:
            if (account.account_id, account.state) == (self.scope.account_id, channel_pb2.ACCOUNT_STATE_CONNECTED):
                say("connected", account.scope_id)
                return
        request = channel_pb2.ConnectRequest(scope=self.scope, title="Shop")
        say("connected", (await self.call(self.channels.Connect, request)).scope_id)

    async def send(self, text: str) -> None:
        """Gives a client's message to the outbox, which sends it, if need be later and again."""
        message = message_pb2.Message(
            message_id=str(uuid.uuid4()),
            conversation_id="c-1",
            sender=message_pb2.Sender(user_id="u-1", name="Anna"),
            content=message_pb2.Content(text=message_pb2.TextContent(text=text)),
        )
        await self.call(self.outbox.Enqueue, outbox_pb2.EnqueueRequest(scope=self.scope, message=message))
        say("sent", message.message_id)

    async def receive(self) -> None:
        """Hands on the managers' answers until it is stopped, whatever becomes of the connection."""
        while not self.stopping.is_set():
            try:
                await self.stream()
            except grpc.aio.AioRpcError as error:
                if not self.stopping.is_set():
                    await self.backoff.wait(error)

    async def stream(self) -> None:
        subscribe = inbox_pb2.Subscribe(subscription="crm", create=inbox_pb2.CreateOptions(oldest=True))
        self.requests = asyncio.Queue()
        self.requests.put_nowait(inbox_pb2.StreamEventsRequest(subscribe=subscribe))
        async for response in self.inbox.StreamEvents(self.until_stopped()):
            if response.HasField("subscribed"):
                self.backoff.reset()
                say("subscribed", response.subscribed.subscription)
            for delivery in response.deliveries:
                self.handle(delivery)
            for settled in response.settled:
                say("settled" if settled.ok else f"not settled ({settled.reason})", settled.ack_id)

    async def until_stopped(self) -> AsyncIterator[inbox_pb2.StreamEventsRequest]:
        """The requests, up to a None: what was acknowledged before it is still confirmed."""
        while request := await self.requests.get():
            yield request

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
        self.requests.put_nowait(inbox_pb2.StreamEventsRequest(ack=ack))


async def main() -> int:
    account_id, text = sys.argv[1:]
    address = os.environ.get("AMOCHATS_SERVER", "127.0.0.1:50051")
    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        client = Client(channel, account_id)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, client.stop)
        try:
            await client.connect_account()
            await client.send(text)
            await client.receive()
        except grpc.aio.AioRpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
