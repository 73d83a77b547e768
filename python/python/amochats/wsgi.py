"""Webhooks in a program that is a WSGI application: Flask, Django, Bottle, Pyramid.

In Flask, where webhooks then go to ``/webhook/:scope_id``::

    channel = amochats.BlockingChannel(config)
    channel.open()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/webhook": amochats.wsgi.WebhookApp(channel)})

The channel lives in one process and must be made there: run gunicorn with ``--workers 1 --threads 16``
and without ``--preload``. The worker classes ``gthread`` and ``sync`` work; ``gevent`` and ``eventlet`` do
not, since a call would hold up all of their tasks. A channel that is still open when the worker ends is
closed then.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from . import _webhooks as webhooks
from ._sync.channel import BlockingChannel
from ._webhooks import Answer, Deadline

__all__ = ["WebhookApp"]


class WebhookApp:
    """A WSGI application that takes in webhooks, as the channel's own listener does.

    It answers below where it is mounted, at ``/:scope_id``: 200 when the event is on disk, 401 to what
    is not genuine, 404, 405, 413, and 503 to what could not be kept in time. How long a body may take to
    arrive is the server's to say.

    Args:
        channel: The channel that keeps the events, opened.
        max_body: The most bytes of a webhook.
        deadline: Seconds in which a webhook must be kept; the vendor waits 5.
    """

    def __init__(
        self,
        channel: BlockingChannel,
        *,
        max_body: int = webhooks.MAX_BODY,
        deadline: float = webhooks.DEADLINE,
    ) -> None:
        self._channel = channel
        self._max_body = max_body
        self._deadline = deadline

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serves a request."""
        answer = self._answer(environ)
        headers = [(name.title(), value) for name, value in answer.headers()]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        return [answer.body()]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        deadline = Deadline(self._deadline)
        scope_id = webhooks.scope_of(environ.get("PATH_INFO", ""))
        if scope_id is None:
            return webhooks.NO_ADDRESS
        if environ["REQUEST_METHOD"] != "POST":
            return webhooks.NOT_POST
        body = self._read(environ)
        if isinstance(body, Answer):
            return body
        return ingest(self._channel, body, environ.get("HTTP_X_SIGNATURE"), scope_id, deadline)

    def _read(self, environ: dict[str, Any]) -> bytes | Answer:
        stated = str(environ.get("CONTENT_LENGTH") or "")
        length = int(stated) if stated.isdigit() else None
        if length is None and not environ.get("wsgi.input_terminated"):
            # Without a length a server that does not mark the end would wait for ever.
            length = 0
        if length is not None and length > self._max_body:
            return webhooks.too_large(self._max_body)
        try:
            body: bytes = environ["wsgi.input"].read(self._max_body + 1 if length is None else length)
        except OSError:
            return webhooks.BROKEN_OFF
        if len(body) > self._max_body:
            return webhooks.too_large(self._max_body)
        return webhooks.BROKEN_OFF if length is not None and len(body) < length else body


def ingest(
    channel: BlockingChannel, body: bytes, signature: str | None, scope_id: str, deadline: Deadline
) -> Answer:
    """Takes in a webhook whose body was read."""
    if not deadline.left():
        return webhooks.too_late()
    try:
        channel.ingest(body, signature, scope_id, timeout=deadline.left())
    except Exception as error:
        return webhooks.refused(error, scope_id)
    return webhooks.KEPT
