"""How a native call is awaited."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from .. import _amochats
from .._native import arguments as _arguments


async def call(
    target: Any,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    body: bytes | bytearray | memoryview = b"",
    timeout: float | None = None,
) -> Any:
    """Makes a call and waits for its answer. Who is cancelled meanwhile cancels the call."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()
    started = _amochats.start(target, name, _arguments(arguments), bytes(body), timeout, loop, future)
    try:
        answer = await future
    except BaseException:
        started.cancel()
        raise
    return json.loads(answer) if answer else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that coroutines of the program run in."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
