"""Signatures of requests and of bodies."""

from datetime import datetime, timezone

from . import _amochats
from .exceptions import InvalidArgumentError

__all__ = ["sign_body", "sign_request"]


def sign_body(secret: str, body: bytes | bytearray | memoryview) -> str:
    """Signs bytes alone: the form of webhooks, and of requests in the first generation of the API.

    Args:
        secret: The channel's secret, as the text that support sent.
        body: The exact bytes to sign.

    Returns:
        The HMAC-SHA1 as 40 lower-case hex digits: the value of ``X-Signature``.

    Raises:
        InvalidArgumentError: The secret is empty or holds blanks, which is how a stray line feed
            from a file shows.

    >>> body = b'{"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c"}'
    >>> sign_body("da39a3ee5e6b4b0d3255bfef95601890afd80709", body)
    'c5a129044c7c85ee3685873158551599b923002c'
    """
    return _amochats.sign_body(secret, body)


def sign_request(
    secret: str,
    method: str,
    path: str,
    body: bytes | bytearray | memoryview = b"",
    *,
    date: str | datetime | None = None,
    content_type: str = "application/json",
) -> dict[str, str]:
    """Signs a request to the chats API.

    Send the very bytes that were signed, together with these headers and no other content type: in
    requests ``requests.request(method, url, data=body, headers=headers)``, in httpx ``content=body``;
    their ``json=`` would write the body anew.

    Args:
        secret: The channel's secret, as the text that support sent.
        method: The HTTP method, in either case.
        path: The path of the URL, from its first ``/``, without scheme and host. A query string may
            be there; it is not signed.
        body: The exact bytes to send. A ``DELETE`` has a body, too.
        date: When the request is made: None means now, a datetime must be aware, a string is sent and
            signed as it is. The service takes a request for 15 minutes from its date.
        content_type: The one type that the service takes.

    Returns:
        The headers ``Date``, ``Content-Type``, ``Content-MD5`` and ``X-Signature``.

    Raises:
        InvalidArgumentError: An argument breaks a rule; ``field`` names it.

    >>> headers = sign_request(
    ...     "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ...     "DELETE",
    ...     "/v2/origin/custom/a4490ccc-5d7f-11e7-907b-a6006ad3dba0/disconnect",
    ...     b'{"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c"}',
    ...     date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    ... )
    >>> headers["Date"], headers["X-Signature"]
    ('Mon, 01 Jan 2024 00:00:00 +0000', '62efa5f09a7087abcf8becba15570b1805560aef')
    """
    if date is None:
        date = datetime.now(timezone.utc)
    if isinstance(date, datetime):
        if date.utcoffset() is None:
            raise InvalidArgumentError(
                "date: must be an aware datetime, such as datetime.now(timezone.utc)", field="date"
            )
        date = _amochats.format_date(int(date.timestamp()))
    elif not isinstance(date, str):
        raise TypeError(f"date must be str, datetime or None, not {type(date).__name__}")
    return _amochats.sign_request(secret, method, path, body, date, content_type)
