"""Messages for the CRM."""

import json
from collections.abc import Mapping
from typing import Any

from . import _amochats
from .exceptions import InvalidArgumentError

__all__ = ["encode_message"]


def encode_message(message: Mapping[str, Any] | str | bytes | bytearray | memoryview) -> bytes:
    """Checks a message, given as the vendor writes it, and returns the body to sign and send.

    Args:
        message: A ``new_message`` request, ``{"event_type": "new_message", "payload": {...}}``: as a
            dict, or as JSON. The older dialect is understood and the current one written.

    Raises:
        InvalidArgumentError: A field breaks a rule; ``field`` is its path.

    >>> encode_message({"event_type": "new_message", "payload": {"timestamp": 1704067200, "msgid": "m-17"}})
    Traceback (most recent call last):
    amochats.exceptions.InvalidArgumentError: payload.conversation_id: is required
    """
    if isinstance(message, Mapping):
        try:
            message = json.dumps(dict(message), allow_nan=False).encode()
        except ValueError as error:  # Circular, or not a finite number.
            raise InvalidArgumentError(f"the message cannot be written as JSON: {error}") from error
    elif isinstance(message, str):
        # What UTF-8 cannot hold is left for the parser to refuse, with the place.
        message = message.encode(errors="surrogatepass")
    elif not isinstance(message, bytes | bytearray | memoryview):
        raise TypeError(f"message must be a dict, str or bytes, not {type(message).__name__}")
    return _amochats.encode_message(message)
