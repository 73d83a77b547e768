# Generated from _async/consumer.py by python/unasync.py: edit that file.
"""The events of a subscription, on their way to the program."""

import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from ..exceptions import InvalidArgumentError, LeaseLostError, MisuseError
from ._call import call
from .delivery import BlockingDelivered, delivered

_S = TypeVar("_S", bound="BlockingEventStream")


class BlockingEventStream:
    """The events of a subscription: see :meth:`BlockingChannel.events`.

    It ends when the channel is closed. Who stops iterating may still settle what it has; ``with``
    or :meth:`close` give back what is not settled, without counting an attempt unless it ends with an
    exception.
    """

    def __init__(self, channel: Any, consumer: Any, wanted: dict[str, Any] | None, lease: float) -> None:
        self._channel = channel
        self._consumer = consumer
        self._wanted = wanted
        self._lease = lease
        self._buffer: deque[BlockingDelivered] = deque()

    def _prepare(self) -> None:
        if self._wanted is not None:
            call(self._channel, "create_subscription", self._wanted)
            self._wanted = None

    def __enter__(self: _S) -> _S:
        self._prepare()
        call(self._consumer, "open")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._buffer.clear()
        failed = kind is not None and issubclass(kind, Exception)
        call(self._consumer, "abandon" if failed else "close")

    def close(self) -> None:
        """Ends the stream: what it handed out and is not settled comes again."""
        self.__exit__(None, None, None)

    def __iter__(self: _S) -> _S:
        return self

    def __next__(self) -> BlockingDelivered:
        event = self._next(None)
        if event is None:
            raise StopIteration
        return event

    def next(self, timeout: float | None = None) -> BlockingDelivered | None:
        """Waits for the next event.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            The event; None at the end of the stream.

        Raises:
            RequestTimeoutError: There was none in time. Nothing is lost by this.
        """
        return self._next(timeout)

    def next_batch(self, limit: int = 100, timeout: float | None = None) -> list[BlockingDelivered]:
        """Waits for the next event, and takes those along that are there.

        There is one of a conversation at most: the next comes when it is settled.

        Args:
            limit: The most events.
            timeout: Seconds; None waits for ever.

        Returns:
            The events; none at the end of the stream.

        Raises:
            RequestTimeoutError: There was none in time. Nothing is lost by this.
            InvalidArgumentError: ``limit`` is less than 1.
        """
        if limit < 1:
            raise InvalidArgumentError("limit: must be at least 1", field="limit")
        batch: list[BlockingDelivered] = []
        event = self._next(timeout)
        while event is not None:
            batch.append(event)
            event = self._buffered() if len(batch) < limit else None
        return batch

    def ack_all(self, events: Iterable[BlockingDelivered]) -> list[BlockingDelivered]:
        """Acknowledges several events: they share a commit, and one call.

        Args:
            events: What this channel handed out and is not settled.

        Returns:
            Those that were not acknowledged, since their lease ended before: they come again.

        Raises:
            MisuseError: One was settled through its object before; none is acknowledged now.
            StoreError: Any of them may come back.
        """
        leases = {event._lease: event for event in events}
        if any(lease.settled for lease in leases):
            raise MisuseError("one of the events is settled already")
        kept = [lease for lease in leases if lease.ack_id]
        lost = set()
        if kept:
            ack_ids = [lease.ack_id for lease in kept]
            lost = {kept[place] for place in call(self._channel, "ack_all", {"ack_ids": ack_ids})}
        for lease in leases:
            lease.settled = lease not in lost
        return [event for lease, event in leases.items() if lease in lost]

    def _next(self, timeout: float | None) -> BlockingDelivered | None:
        self._prepare()
        while (event := self._buffered()) is None:
            if not call(self._consumer, "ready", timeout=timeout):
                return None
            self._buffer.extend(delivered(self._consumer, self._channel))
        return event

    def _buffered(self) -> BlockingDelivered | None:
        while self._buffer:
            event = self._buffer.popleft()
            # It may have waited here while others were worked on.
            with suppress(LeaseLostError):
                if time.monotonic() - event._lease.received > self._lease / 2:
                    event.extend(self._lease)
                return event
        return None
