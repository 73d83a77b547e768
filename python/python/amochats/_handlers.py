"""The functions that are called with events."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from .enums import EventKind
from .payloads import DeliveryStatus

_H = TypeVar("_H", bound=Callable[..., Any])

logger = logging.getLogger("amochats.handlers")


class Handlers:
    """Which function is for which kind of event."""

    def __init__(self) -> None:
        self._by_kind: dict[EventKind | None, list[Callable[..., Any]]] = {}

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
