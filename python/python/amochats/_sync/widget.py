# Generated from _async/widget.py by python/unasync.py: edit that file.
"""The widget's calls, for another HTTP server."""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from ..answers import WidgetAnswer
from ._call import call


class BlockingChannelWidget:
    """Answers the widget that links accounts, where another HTTP server gets its calls.

    The channel's own listener does so anyway, beside the webhooks; every method raises a
    :class:`ConfigError` where ``[widget]`` is not configured.
    """

    def __init__(self, native: Any) -> None:
        self._native = native

    def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        body: bytes | bytearray | memoryview,
        peer: str,
    ) -> WidgetAnswer:
        """Answers a call. What is wrong with it is said in the answer.

        Args:
            method: Such as ``POST``.
            path: The path with its query, as it came.
            headers: As they came.
            body: The whole body; empty where there is none.
            peer: The address of whoever asks, not of a proxy in between: attempts are limited by it.

        Raises:
            InvalidArgumentError: ``peer`` is no address.
        """
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        values = {"method": method, "path": path, "headers": list(pairs), "peer": peer}
        found = call(self._native, "widget.handle", values, body)
        return WidgetAnswer(
            status=found["status"],
            headers=tuple((name, value) for name, value in found["headers"]),
            body=b64decode(found["body"]),
        )

    def serves(self, path: str) -> bool:
        """Whether :meth:`handle` knows calls of this path, which is without a query."""
        return bool(call(self._native, "widget.serves", {"path": path}))
