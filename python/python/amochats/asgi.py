"""Webhooks in a program that is an ASGI application: FastAPI, Starlette, Litestar, Quart, Django.

>>> import amochats, amochats.asgi
>>> channel = amochats.Channel({
...     "listener": {"address": "127.0.0.1:0"}, "admin": {"address": "127.0.0.1:0"},
...     "channel": [{"id": "a4490ccc", "secret": "channel-secret", "base_url": "http://127.0.0.1:9"}],
... })
>>> webhooks = amochats.asgi.WebhookApp(channel)

In FastAPI and Starlette, where webhooks then go to ``/webhook/:scope_id``::

    app = FastAPI(lifespan=amochats.asgi.lifespan(channel))
    app.mount("/webhook", webhooks)

The channel lives in one process: run uvicorn with one worker, or gunicorn with
``--worker-class uvicorn_worker.UvicornWorker --workers 1`` and without ``--preload``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from . import _webhooks as webhooks
from ._async.channel import Channel
from ._webhooks import Answer, Deadline

__all__ = ["WebhookApp", "lifespan"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class WebhookApp:
    """An ASGI application that takes in webhooks, as the channel's own listener does.

    It answers below where it is mounted, at ``/:scope_id``: 200 when the event is on disk, 401 to what
    is not genuine, 404, 405, 413, and 503 to what could not be kept in time. As the whole application
    of a server it opens the channel at the start and closes it at the end; mounted, leave that to
    :func:`lifespan`.

    Args:
        channel: The channel that keeps the events.
        max_body: The most bytes of a webhook.
        deadline: Seconds in which a webhook must be kept; the vendor waits 5.
    """

    def __init__(
        self, channel: Channel, *, max_body: int = webhooks.MAX_BODY, deadline: float = webhooks.DEADLINE
    ) -> None:
        self._channel = channel
        self._max_body = max_body
        self._deadline = deadline

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Serves a connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"webhooks come by HTTP, not by {scope['type']}")
        answer = await self._answer(scope, receive)
        headers = [(name.encode(), value.encode()) for name, value in answer.headers()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body()})

    async def _answer(self, scope: MutableMapping[str, Any], receive: _Receive) -> Answer:
        deadline = Deadline(self._deadline)
        # Servers and frameworks leave the mount's own path in front, or take it away.
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        scope_id = webhooks.scope_of(path)
        if scope_id is None:
            return webhooks.NO_ADDRESS
        if scope["method"] != "POST":
            return webhooks.NOT_POST
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            return webhooks.too_large(self._max_body)
        body = await self._read(receive, deadline)
        if isinstance(body, Answer):
            return body
        signature = headers.get(b"x-signature")
        try:
            await self._channel.ingest(
                body, signature and signature.decode("latin-1"), scope_id, timeout=deadline.left()
            )
        except Exception as error:
            return webhooks.refused(error, scope_id)
        return webhooks.KEPT

    async def _read(self, receive: _Receive, deadline: Deadline) -> bytes | Answer:
        body = bytearray()
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), deadline.left())
            except asyncio.TimeoutError:
                return webhooks.too_late()
            if message["type"] == "http.disconnect":
                return webhooks.BROKEN_OFF
            body += message.get("body", b"")
            if len(body) > self._max_body:
                return webhooks.too_large(self._max_body)
            more = message.get("more_body", False)
        return bytes(body)

    async def _live(self, receive: _Receive, send: _Send) -> None:
        await receive()
        try:
            await self._channel.open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._channel.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def lifespan(channel: Channel) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """What FastAPI and Starlette take as ``lifespan``: the channel is open as long as the application runs.

    Args:
        channel: The channel, not opened yet.
    """

    @asynccontextmanager
    async def live(_app: Any) -> AsyncIterator[None]:
        async with channel:
            yield

    return live
