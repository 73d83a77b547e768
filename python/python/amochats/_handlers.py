"""The functions that are called with events."""

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from .answers import Attempt
from .enums import EventKind
from .payloads import DeliveryStatus

_H = TypeVar("_H", bound=Callable[..., Any])
_Decide: TypeAlias = Callable[[Attempt], bool | Awaitable[bool]]
_A = TypeVar("_A", bound=_Decide)

# How long a coroutine has for its decision, as the native half has it.
_PATIENCE = 5

logger = logging.getLogger("amochats.handlers")


class Handlers:
    """Which function is for which kind of event."""

    def __init__(self) -> None:
        self._by_kind: dict[EventKind | None, list[Callable[..., Any]]] = {}
        self.authorizer: _Decide | None = None

    def add(self, kind: EventKind | None, handler: _H) -> _H:
        """Adds one; None is for the kinds that no other one is for."""
        self._by_kind.setdefault(kind, []).append(handler)
        return handler

    def kinds(self) -> tuple[EventKind | str, ...]:
        """What to ask for; empty asks for everything but results of the outbox."""
        if None in self._by_kind:
            outbox = EventKind.OUTBOX in self._by_kind
            return tuple(EventKind) if outbox else ()
        return tuple(kind for kind in self._by_kind if kind is not None)

    def of(self, kind: str) -> list[Callable[..., Any]]:
        """Those that an event of this kind is for."""
        return self._by_kind.get(EventKind(kind)) or self._by_kind.get(None, [])


def status_of(returned: object) -> DeliveryStatus | str | None:
    """What a function wants told to the CRM."""
    return returned if isinstance(returned, str | DeliveryStatus) else None


def failed(handler: Callable[..., Any], event_id: str | None) -> None:
    """Tells of a function that raised."""
    name = getattr(handler, "__qualname__", type(handler).__qualname__)
    logger.exception("%s failed on event %s, which is handed out again", name, event_id)


def decider(
    decide: _Decide, event_loop: asyncio.AbstractEventLoop | None
) -> Callable[[bytes], bool]:
    """What the native half calls on a thread of its own; coroutines run in the loop, if there is one."""

    async def wait_for(decision: Awaitable[bool]) -> bool:
        return await asyncio.wait_for(decision, _PATIENCE)

    def ask(attempt: bytes) -> bool:
        try:
            decision = decide(Attempt._read(json.loads(attempt)))
            if inspect.isawaitable(decision):
                waiting = wait_for(decision)
                if event_loop is None:
                    decision = asyncio.run(waiting)
                else:
                    decision = asyncio.run_coroutine_threadsafe(waiting, event_loop).result(_PATIENCE)
            if not isinstance(decision, bool):
                raise TypeError(f"must return a bool, not {type(decision).__name__}")
            return decision
        except Exception:
            name = getattr(decide, "__qualname__", type(decide).__qualname__)
            logger.exception("%s failed: whoever wants to connect is told to try again", name)
            raise

    return ask
