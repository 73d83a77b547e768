"""What a webhook is answered, the same over ASGI, WSGI and in Django's views."""

import logging
import time
from typing import NamedTuple

from .exceptions import AmochatsError, BodyTooLargeError, SignatureError, UnknownChannelError

logger = logging.getLogger("amochats.webhooks")

MAX_BODY = 1 << 20
"""Bytes, as ``listener.max_body_bytes`` of the listener."""
DEADLINE = 4.0
"""Seconds, as ``listener.keep_deadline_ms``: the vendor waits 5 and never repeats a webhook."""


class Answer(NamedTuple):
    """A status, and a line for people; the vendor reads only the status."""

    status: int
    line: str

    def headers(self) -> list[tuple[str, str]]:
        """Those of the answer."""
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(self.body())))]
        return [*headers, ("allow", "POST")] if self.status == 405 else headers

    def body(self) -> bytes:
        """The line."""
        return f"{self.line}\n".encode()


KEPT = Answer(200, "kept")
BROKEN_OFF = Answer(400, "the body broke off")
NO_ADDRESS = Answer(404, "no webhook address")
NOT_POST = Answer(405, "webhooks are sent with POST")
TOO_LARGE = Answer(413, "the body is larger than the limit")


def scope_of(path: str) -> str | None:
    """The scope that is all of a path; None where the path is another one."""
    scope = path.removeprefix("/")
    return None if not scope or "/" in scope else scope


def too_late() -> Answer:
    """The answer to a webhook whose body did not arrive in time."""
    logger.error("a webhook's body did not arrive in time and is lost")
    return Answer(503, "the body did not arrive in time")


def too_large(limit: int) -> Answer:
    """The answer to a webhook above the limit."""
    logger.warning("a body of more than %d bytes was refused; max_body is the limit", limit)
    return TOO_LARGE


def refused(error: Exception, scope: str) -> Answer:
    """The answer to a webhook that was not taken in."""
    if isinstance(error, UnknownChannelError):
        return Answer(404, str(error))
    if isinstance(error, BodyTooLargeError):
        return Answer(413, str(error))
    if isinstance(error, SignatureError):
        logger.warning("a webhook to %s was refused: %s", scope, error)
        return Answer(401, str(error))
    # What is no error of ours may quote anything.
    said = str(error) if isinstance(error, AmochatsError) else type(error).__name__
    logger.error("a webhook to %s was not kept and is lost: %s", scope, said)
    return Answer(503, "not kept")


class Deadline:
    """The time until a webhook must be answered."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, not below 0."""
        return max(0.0, self._end - time.monotonic())
