"""Events that were handed out, and how they are settled."""

import copy
import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, TypeAlias

from ..events import (
    _KEPT,
    KeptEvent,
    MessageEvent,
    OutboxEvent,
    OutboxItem,
    ReactionEvent,
    TypingEvent,
    UnknownEvent,
    _shapes,
)
from ..exceptions import MisuseError
from ..messages import _json
from ..payloads import DeliveryStatus
from ._call import call


class _Lease:
    """What an event is settled with. It keeps the consumer alive, or the lease would end."""

    __slots__ = ("ack_id", "again", "attempt", "channel", "consumer", "received", "settled")

    def __init__(
        self, ack_id: str, attempt: int, again: bool, channel: Any, consumer: Any, received: float
    ) -> None:
        self.ack_id = ack_id
        self.attempt = attempt
        self.again = again
        self.channel = channel
        self.consumer = consumer
        self.received = received
        self.settled = False


class Delivery:
    """An event that was handed out: it comes again until it is settled.

    Each settlement returns after its commit: what it settled never comes back. Typing that is handed
    out live is not kept, so to settle it does nothing.

    Every settlement may raise :class:`LeaseLostError`: the lease ended or the event was settled before;
    and :class:`StoreError`, after which the event may come back.
    """

    __slots__ = ()

    _lease: _Lease

    @property
    def attempt(self) -> int:
        """1 for the first time."""
        return self._lease.attempt

    @property
    def again(self) -> bool:
        """Whether it was replayed or requeued, so that it is out of its order."""
        return self._lease.again

    @property
    def settled(self) -> bool:
        """Whether it was settled through this object."""
        return self._lease.settled

    @property
    def event(self) -> KeptEvent:
        """The event alone, without the delivery. Copies and pickles are this."""
        cls = _KEPT[self.kind]  # type: ignore[attr-defined]
        event: KeptEvent = object.__new__(cls)
        for f in fields(cls):
            object.__setattr__(event, f.name, getattr(self, f.name))
        return event

    def __reduce__(self) -> Any:
        return copy.copy, (self.event,)

    async def ack(self, status: DeliveryStatus | str | None = None) -> OutboxItem | None:
        """It was dealt with.

        Args:
            status: For a message, what to tell the CRM of it: ``delivered``, ``read``, or a
                :class:`DeliveryStatus`. Both are kept, or neither.

        Returns:
            The item of the outbox that reports the status, if there is one.

        Raises:
            InvalidArgumentError: A status for an event that is no message with an id of amoCRM; it
                remains unsettled.
        """
        body = b"" if status is None else _json("status", DeliveryStatus.of(status))
        item = await self._settle("ack", {}, bytes(body))
        return None if item is None else OutboxItem._read(item)

    async def nack(self, delay: float | None = None) -> None:
        """It could not be dealt with: it is handed out again.

        Args:
            delay: After so many seconds, at most 12 hours; without, after a delay that grows with each
                attempt. Its conversation waits with it. After the last attempt it becomes a dead letter.
        """
        await self._settle("nack", {"delay": delay})

    async def dead(self) -> None:
        """It becomes a dead letter at once."""
        await self._settle("dead", {})

    def extend(self, lease: float = 60.0) -> None:
        """Gives it more time, from now on.

        Args:
            lease: Seconds, 1 to 12 hours.

        Raises:
            LeaseLostError: The lease ended, or the event was settled.
        """
        if self._lease.ack_id:
            self._lease.channel.extend(self._lease.ack_id, lease)

    async def _settle(self, name: str, values: dict[str, Any], body: bytes = b"") -> Any:
        lease = self._lease
        if lease.settled:
            raise MisuseError("the event is settled already")
        answer = None
        if lease.ack_id:
            answer = await call(lease.channel, name, {"ack_id": lease.ack_id, **values}, body)
        lease.settled = True
        return answer


class DeliveredMessage(Delivery, MessageEvent):
    """A :class:`MessageEvent` to be settled."""

    __slots__ = ("_lease",)


class DeliveredTyping(Delivery, TypingEvent):
    """A :class:`TypingEvent`; to be settled only where typing is kept."""

    __slots__ = ("_lease",)


class DeliveredReaction(Delivery, ReactionEvent):
    """A :class:`ReactionEvent` to be settled."""

    __slots__ = ("_lease",)


class DeliveredOutbox(Delivery, OutboxEvent):
    """An :class:`OutboxEvent` to be settled."""

    __slots__ = ("_lease",)


class DeliveredUnknown(Delivery, UnknownEvent):
    """An :class:`UnknownEvent` to be settled."""

    __slots__ = ("_lease",)


Delivered: TypeAlias = (
    DeliveredMessage
    | DeliveredTyping
    | DeliveredReaction
    | DeliveredOutbox
    | DeliveredUnknown
)
"""What a channel hands out."""

_DELIVERED = _shapes(
    {
        "message": DeliveredMessage,
        "typing": DeliveredTyping,
        "reaction": DeliveredReaction,
        "outbox": DeliveredOutbox,
        "unknown": DeliveredUnknown,
    }
)


def delivered(consumer: Any, channel: Any) -> Iterator[Delivered]:
    """The events that a consumer has, each with its lease."""
    received = time.monotonic()
    for ack_id, attempt, again, event in consumer.take(_DELIVERED):
        lease = _Lease(ack_id, attempt, again, channel, consumer, received)
        object.__setattr__(event, "_lease", lease)
        yield event
