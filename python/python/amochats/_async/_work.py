"""Calls functions with events, several at a time."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._handlers import Handlers, failed, status_of
from ..exceptions import AmochatsError, LeaseLostError

if TYPE_CHECKING:
    from .consumer import EventStream
    from .delivery import Delivered


async def work(stream: "EventStream", handlers: Handlers, concurrency: int, lease: float) -> None:
    """Works until the stream ends. Who is cancelled gives back what is being worked on."""
    slots = asyncio.Semaphore(concurrency)
    tasks: set[asyncio.Task[None]] = set()

    def done(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        slots.release()

    async with stream:
        try:
            await slots.acquire()
            async for event in stream:
                task = asyncio.create_task(_handle(event, handlers.of(event.kind), lease))
                tasks.add(task)
                task.add_done_callback(done)
                await slots.acquire()
            # The channel is closed: what is worked on cannot be settled any more.
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _handle(event: "Delivered", handlers: list[Callable[..., Any]], lease: float) -> None:
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def prolong() -> None:
        nonlocal timer
        # Where it is lost, the settlement will say so.
        with suppress(AmochatsError):
            event.extend(lease)
        timer = loop.call_later(lease / 3, prolong)

    timer = loop.call_later(lease / 3, prolong)
    returned: object = None
    try:
        for handler in handlers:
            try:
                if inspect.iscoroutinefunction(handler):
                    returned = await handler(event)
                else:
                    returned = await asyncio.to_thread(handler, event)
                    if inspect.isawaitable(returned):
                        returned = await returned
            except Exception:
                failed(handler, event.event_id)
                if not event.settled:
                    await event.nack()
                return
        if not event.settled:
            await event.ack(status_of(returned))
    except LeaseLostError:
        # It is handed out again, and whoever settles it then is right.
        pass
    except AmochatsError:
        # It comes again when its lease ends.
        failed(_handle, event.event_id)
    finally:
        timer.cancel()
