"""Calls functions with events, several at a time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._handlers import Handlers, failed, status_of
from ..exceptions import AmochatsError, LeaseLostError, RequestTimeoutError

if TYPE_CHECKING:
    from .consumer import BlockingEventStream
    from .delivery import BlockingDelivered


def work(stream: "BlockingEventStream", handlers: Handlers, concurrency: int, lease: float) -> None:
    """Works until the stream ends. Who is interrupted waits for the functions that are at work."""
    slots = threading.Semaphore(concurrency)
    active: dict[int, BlockingDelivered] = {}

    def handle(event: "BlockingDelivered") -> None:
        try:
            _handle(event, handlers.of(event.kind))
        finally:
            del active[id(event)]
            slots.release()

    with stream, ThreadPoolExecutor(concurrency, thread_name_prefix="amochats") as pool:
        prolong_at = time.monotonic() + lease / 3
        has_slot = False
        while True:
            wait = prolong_at - time.monotonic()
            if wait <= 0:
                prolong_at += lease / 3
                for event in list(active.values()):
                    # Where it is lost, the settlement will say so.
                    with suppress(AmochatsError):
                        event.extend(lease)
                continue
            has_slot = has_slot or slots.acquire(timeout=wait)
            if not has_slot:
                continue
            try:
                received = stream.next(timeout=wait)
            except RequestTimeoutError:
                continue
            if received is None:
                return
            active[id(received)] = received
            has_slot = False
            pool.submit(handle, received)


def _handle(event: "BlockingDelivered", handlers: list[Callable[..., Any]]) -> None:
    returned: object = None
    try:
        for handler in handlers:
            try:
                returned = handler(event)
            except Exception:
                failed(handler, event.event_id)
                if not event.settled:
                    event.nack()
                return
        if not event.settled:
            event.ack(status_of(returned))
    except LeaseLostError:
        # It is handed out again, and whoever settles it then is right.
        pass
    except AmochatsError:
        # It comes again when its lease ends.
        failed(_handle, event.event_id)
