"""Webhooks in Django, as a view::

    channel = amochats.BlockingChannel(settings.AMOCHATS)
    channel.open()
    urlpatterns = [path("webhook/<str:scope_id>", amochats.django.webhook_view(channel))]

The view is exempt from the check of CSRF tokens: amoCRM sends none, and the signature, which a page in
a browser cannot make, takes its place. What is said of servers in :mod:`amochats.wsgi` and
:mod:`amochats.asgi` holds here as well.
"""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from . import _webhooks as webhooks
from . import wsgi
from ._async.channel import Channel
from ._sync.channel import BlockingChannel
from ._webhooks import Answer, Deadline

__all__ = ["webhook_view"]


def webhook_view(
    channel: BlockingChannel | Channel, *, deadline: float = webhooks.DEADLINE
) -> Callable[..., Any]:
    """A view that takes in webhooks, as the channel's own listener does.

    Django's setting ``DATA_UPLOAD_MAX_MEMORY_SIZE`` limits the body.

    Args:
        channel: The channel that keeps the events, opened. The view of a :class:`Channel` is asynchronous
            and needs Django under ASGI.
        deadline: Seconds in which a webhook must be kept; the vendor waits 5.

    Returns:
        The view, for a route with ``<str:scope_id>``.
    """
    if isinstance(channel, Channel):
        awaited = channel

        async def awaiting(request: Any, scope_id: str) -> Any:
            until = Deadline(deadline)
            body = _body(request)
            if isinstance(body, Answer):
                return _response(body)
            try:
                signature = request.headers.get("X-Signature")
                await awaited.ingest(body, signature, scope_id, timeout=until.left())
            except Exception as error:
                return _response(webhooks.refused(error, scope_id))
            return _response(webhooks.KEPT)

        return csrf_exempt(awaiting)

    blocking = channel

    def view(request: Any, scope_id: str) -> Any:
        until = Deadline(deadline)
        body = _body(request)
        if isinstance(body, Answer):
            return _response(body)
        return _response(wsgi.ingest(blocking, body, request.headers.get("X-Signature"), scope_id, until))

    return csrf_exempt(view)


def _body(request: HttpRequest) -> bytes | Answer:
    if request.method != "POST":
        return webhooks.NOT_POST
    try:
        return bytes(request.body)
    except RequestDataTooBig:
        return webhooks.TOO_LARGE
    except UnreadablePostError:
        return webhooks.BROKEN_OFF


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body(), status=answer.status, headers=dict(answer.headers()))
