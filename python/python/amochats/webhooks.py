"""Webhooks: first verify, then parse."""

from collections.abc import Iterable
from typing import NamedTuple

from . import _amochats
from .events import _PARSED, Event

__all__ = ["SignatureVerdict", "diagnose_signature", "parse_webhook", "verify_webhook"]


def verify_webhook(
    secrets: str | Iterable[str], body: bytes | bytearray | memoryview, signature: str | None
) -> None:
    """Checks a webhook's ``X-Signature`` against its raw body; returns if it is genuine.

    Pass the body as it came (Flask: ``request.get_data()``, Django and FastAPI: ``request.body``): one
    that was decoded and encoded again has another signature. A final line end, which the vendor sends
    without signing it, is taken into account. The comparison takes constant time.

    Args:
        secrets: The channel's secret; several while it is being changed. With none, nothing is genuine.
        body: The raw request body.
        signature: The ``X-Signature`` header; None where there is none.

    Raises:
        SignatureMissingError: There is no header, or it is not 40 hex digits.
        SignatureMismatchError: It belongs to another body or secret; :func:`diagnose_signature` may
            tell why.
        InvalidArgumentError: A secret is empty or holds blanks.

    >>> verify_webhook(["new-secret", "old-secret"], b"{}\\n", "75956746f19c5111c0a5618cb861dfcdf6602ca6")
    >>> verify_webhook("new-secret", b"{}\\n", "75956746f19c5111c0a5618cb861dfcdf6602ca6")
    Traceback (most recent call last):
    amochats.exceptions.SignatureMismatchError: the X-Signature header does not belong to this body and secret
    """
    _amochats.verify_webhook(secrets, body, signature)


class SignatureVerdict(NamedTuple):
    """What a signature turned out to be."""

    name: str
    """The stable name: ``valid``, ``missing``, ``not_hex``, ``expired_secret``, ``with_newline``,
    ``hex_decoded_secret``, ``reserialised`` or ``mismatch``; more may come."""
    sentence: str
    """The same in words."""


def diagnose_signature(
    secrets: str | Iterable[str],
    body: bytes | bytearray | memoryview,
    signature: str | None,
    *,
    expired: str | Iterable[str] = (),
) -> SignatureVerdict:
    """Says what a webhook's signature is, and if it is refused, why.

    For developers' eyes, never for the answer to a webhook: it would help a forger.

    Args:
        secrets: As for :func:`verify_webhook`.
        body: The raw request body.
        signature: The ``X-Signature`` header; None where there is none.
        expired: Secrets that were current once.

    Raises:
        InvalidArgumentError: A secret is empty or holds blanks.

    >>> diagnose_signature("channel-secret", b'{"a": 1}', None).name
    'missing'
    """
    return SignatureVerdict(*_amochats.diagnose_signature(secrets, body, signature, expired))


def parse_webhook(body: bytes | bytearray | memoryview) -> Event:
    """Parses a webhook, v1 or v2, whose signature was found genuine by :func:`verify_webhook`.

    A shape that is not known is no error: it becomes an :class:`~amochats.UnknownEvent`.

    Args:
        body: The raw request body.

    Raises:
        MalformedWebhookError: The body is not JSON in UTF-8; the message names line and column.

    >>> event = parse_webhook(b'{"receiver":"u-5","type":"text","text":"hi","msec_timestamp":1704067200980}')
    >>> event.text, event.receiver.user_id, event.api_version
    ('hi', 'u-5', 'v1')
    >>> event.sent_at.isoformat()
    '2024-01-01T00:00:00.980000+00:00'
    """
    event: Event = _amochats.parse_webhook(body, _PARSED)
    return event
