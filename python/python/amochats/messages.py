"""Requests to the chats API, and the history that it answers."""

import json
from collections.abc import Mapping
from typing import Any

from . import _amochats
from .exceptions import InvalidArgumentError
from .payloads import CreateChat, DeliveryStatus, EditMessage, NewMessage, Reaction, Typing

__all__ = ["encode_message", "encode_request", "parse_history"]


def encode_message(
    message: NewMessage | Mapping[str, Any] | str | bytes | bytearray | memoryview,
) -> bytes:
    """Checks a message and returns the body to sign and send.

    Args:
        message: A :class:`NewMessage`; or a ``new_message`` request as the vendor writes it,
            ``{"event_type": "new_message", "payload": {...}}``: as a dict, or as JSON. The older
            dialect is understood and the current one written.

    Raises:
        InvalidArgumentError: A field breaks a rule; ``field`` is its path.

    >>> encode_message({"event_type": "new_message", "payload": {"timestamp": 1704067200, "msgid": "m-17"}})
    Traceback (most recent call last):
    amochats.exceptions.InvalidArgumentError: payload.conversation_id: is required
    """
    return _amochats.encode_message(_json("message", message))


def encode_request(
    call: str,
    request: NewMessage
    | EditMessage
    | CreateChat
    | DeliveryStatus
    | Typing
    | Reaction
    | Mapping[str, Any]
    | str
    | bytes
    | bytearray
    | memoryview,
) -> bytes:
    """Checks a request and returns the body to sign and send.

    Args:
        call: ``send_message``, ``edit_message``, ``create_chat``, ``set_delivery_status``,
            ``set_delivery_status_old`` (in and out in the form from before 2025), ``send_typing`` or
            ``react``.
        request: The request as its class; or its body as the vendor writes it: a dict, or JSON.

    Raises:
        InvalidArgumentError: A field breaks a rule; ``field`` is its path, or ``call``.

    >>> encode_request("send_typing", {"conversation_id": "c-9", "sender": {"id": "u-5"}})
    b'{"conversation_id":"c-9","sender":{"id":"u-5"}}'
    """
    return _amochats.encode_request(call, _json("request", request))


def parse_history(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    """Reads the answer to a call of the history of a chat, the newest message first.

    Returns ``{"messages": [...]}``, each message with the names that a message event has. An empty
    body, as a 204 has it, is a page without messages.

    Raises:
        UnexpectedResponseError: The answer is of another form.

    >>> parse_history(b"")
    {'messages': []}
    """
    page: dict[str, Any] = json.loads(_amochats.parse_history(body))
    return page


def _json(name: str, value: Any) -> bytes | bytearray | memoryview:
    if isinstance(value, _CLASSES):
        value = value.to_dict()
    if isinstance(value, Mapping):
        try:
            return json.dumps(dict(value), allow_nan=False).encode()
        except ValueError as error:  # Circular, or not a finite number.
            raise InvalidArgumentError(f"the {name} cannot be written as JSON: {error}") from error
    if isinstance(value, str):
        # What UTF-8 cannot hold is left for the parser to refuse, with the place.
        return value.encode(errors="surrogatepass")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be a dict, str or bytes, not {type(value).__name__}")
    return value


_CLASSES = (NewMessage, EditMessage, CreateChat, DeliveryStatus, Typing, Reaction)
