"""How a native call is made by a thread that waits."""

import json
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import Any

from .. import _amochats
from .._native import arguments as _arguments


def call(
    target: Any,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    body: bytes | bytearray | memoryview = b"",
    timeout: float | None = None,
) -> Any:
    """Makes a call and waits for its answer, other threads run meanwhile. Ctrl-C cancels it."""
    answer = _amochats.block(target, name, _arguments(arguments), bytes(body), timeout)
    return json.loads(answer) if answer else None


def running_loop() -> AbstractEventLoop | None:
    """There is none where threads wait."""
    return None
