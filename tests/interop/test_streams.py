"""A stream that its client gives up, beside others that go on."""

import queue

import grpc
from amochats.v1 import inbox_pb2, inbox_pb2_grpc

from conftest import PATIENCE, until


class Held:
    """A stream that has one message and does not settle it."""

    def __init__(self, channel):
        subscribe = inbox_pb2.Subscribe(subscription="archive", create=inbox_pb2.CreateOptions(oldest=True))
        self.requests = queue.SimpleQueue()
        self.requests.put(inbox_pb2.StreamEventsRequest(subscribe=subscribe))
        stub = inbox_pb2_grpc.InboxServiceStub(channel)
        self.call = stub.StreamEvents(iter(self.requests.get, None), timeout=PATIENCE)

    def delivery(self):
        return next(response.deliveries[0] for response in self.call if response.deliveries)

    def end(self):
        self.call.cancel()
        self.requests.put(None)


def test_a_client_that_cancels_under_way_gives_back_what_it_held(place, run):
    other = run("go", "Hello")
    other.lines.starting("subscribed")
    ref = until("the chat", place.chats)[0]["conversation_ref_id"]
    with grpc.insecure_channel(place.grpc) as channel:
        opened = [Held(channel)]
        next(opened[0].call)
        sent = place.answer(ref, "one")["message_ref_id"]
        for attempt in range(1, 4):
            delivery = opened[-1].delivery()
            assert (delivery.attempt, delivery.event.message.message_ref_id) == (attempt, sent)
            opened[-1].end()
            opened.append(Held(channel))
        delivery = opened[-1].delivery()
        assert delivery.event.message.message_ref_id == sent
        opened[-1].requests.put(inbox_pb2.StreamEventsRequest(ack=inbox_pb2.Ack(ack_id=delivery.ack_id)))
        settled = next(response.settled[0] for response in opened[-1].call if response.settled)
        assert settled.ok
        opened[-1].end()
    # The other one has noticed nothing.
    second = place.answer(ref, "two")["message_ref_id"]
    for message in (sent, second):
        words = other.lines.starting("message")
        assert words[3] == message
        assert other.lines.starting("settled")[1] == words[1]
    assert other.errors == []
