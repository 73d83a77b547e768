"""Everything that amochats raises.

:class:`AmochatsError` is the base of all. Each class stands for one kind of error, whose name on all
surfaces of amochats is its ``code``; where a built-in exception means the same, it is a second base,
so ``except ValueError`` and ``except TimeoutError`` work as expected.

An argument of a wrong type raises :class:`TypeError`, as everywhere in Python.

The message of an exception never holds a secret, a message text, a phone or an e-mail address.
"""

from typing import ClassVar

__all__ = [
    "AmochatsError",
    "BodyTooLargeError",
    "ClosedError",
    "ConfigError",
    "ForbiddenError",
    "ForkedError",
    "InternalError",
    "InvalidArgumentError",
    "LeaseLostError",
    "MalformedWebhookError",
    "MisuseError",
    "NotFoundError",
    "QueueFullError",
    "RateLimitedError",
    "RejectedError",
    "RequestTimeoutError",
    "SignatureError",
    "SignatureMismatchError",
    "SignatureMissingError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "SubscriptionNotFoundError",
    "TransportError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnknownChannelError",
]


class AmochatsError(Exception):
    """The base of all exceptions of amochats.

    Attributes:
        field: The path of the argument or field at fault, such as ``payload.sender.name``.
        http_status: The HTTP status of the vendor's answer, if there was one.
        retry_after: How many seconds the vendor asked to wait before a repeat, if it did.
    """

    code: ClassVar[str] = ""
    """The kind's name, such as ``SIGNATURE_MISMATCH``; empty for a base that is never raised itself."""

    field: str | None
    http_status: int | None
    retry_after: float | None

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.field = field
        self.http_status = http_status
        self.retry_after = retry_after


class InternalError(AmochatsError):
    """A bug in amochats was caught at its border."""

    code = "PANIC"


class InvalidArgumentError(AmochatsError, ValueError):
    """An argument breaks a documented rule; ``field`` names it."""

    code = "INVALID_ARGUMENT"


class ConfigError(AmochatsError, ValueError):
    """The configuration cannot be used."""

    code = "CONFIG_INVALID"


class ClosedError(AmochatsError):
    """The object is closed or the process is stopping."""

    code = "CLOSED"


class QueueFullError(AmochatsError):
    """A bounded queue had no room in time; a repeat may succeed later."""

    code = "QUEUE_FULL"


class MisuseError(AmochatsError):
    """The interface was used in a way that its documentation rules out."""

    code = "MISUSE"


class ForkedError(AmochatsError):
    """The object was made before a fork and cannot be used after it."""

    code = "FORKED"


class StoreError(AmochatsError):
    """The store failed; what was not confirmed is not kept."""

    code = "STORE_FAILED"


class StoreFullError(StoreError):
    """The store has no room left."""

    code = "STORE_FULL"


class StoreLockedError(StoreError):
    """Another process has the store open."""

    code = "STORE_LOCKED"


class LeaseLostError(AmochatsError):
    """The lease on the event ended, or the event was settled before."""

    code = "LEASE_LOST"


class SubscriptionNotFoundError(AmochatsError, LookupError):
    """There is no subscription of that name."""

    code = "SUBSCRIPTION_NOT_FOUND"


class UnauthenticatedError(AmochatsError):
    """The caller did not show who it is."""

    code = "UNAUTHENTICATED"


class SignatureError(AmochatsError):
    """The signature of a webhook is missing or wrong: answer 401."""


class SignatureMissingError(SignatureError):
    """A webhook came without an ``X-Signature`` of 40 hex digits."""

    code = "SIGNATURE_MISSING"


class SignatureMismatchError(SignatureError):
    """A webhook's ``X-Signature`` does not belong to its body and secret."""

    code = "SIGNATURE_MISMATCH"


class MalformedWebhookError(AmochatsError, ValueError):
    """A webhook's body is not JSON in UTF-8; the message names the position."""

    code = "MALFORMED_WEBHOOK"


class BodyTooLargeError(AmochatsError):
    """A body is larger than the limit."""

    code = "BODY_TOO_LARGE"


class UnknownChannelError(AmochatsError, LookupError):
    """The channel is not configured here."""

    code = "UNKNOWN_CHANNEL"


class RejectedError(AmochatsError):
    """The vendor refused the data (HTTP 400)."""

    code = "REJECTED"


class ForbiddenError(AmochatsError):
    """The vendor refused the signature or the right (HTTP 401, 403)."""

    code = "FORBIDDEN"


class NotFoundError(AmochatsError, LookupError):
    """The vendor does not know the resource (HTTP 404)."""

    code = "NOT_FOUND"


class RateLimitedError(AmochatsError):
    """The vendor asks to slow down (HTTP 429); ``retry_after`` is the delay it wants."""

    code = "RATE_LIMITED"


class UnavailableError(AmochatsError):
    """The vendor is out of order (HTTP 5xx)."""

    code = "UNAVAILABLE"


class UnexpectedResponseError(AmochatsError):
    """The vendor answered something that is not in its documentation."""

    code = "UNEXPECTED_RESPONSE"


class RequestTimeoutError(AmochatsError, TimeoutError):
    """No answer in time; the call may have had its effect: repeat it only with the same message id."""

    code = "TIMEOUT"


class TransportError(AmochatsError, ConnectionError):
    """The connection could not be made or broke; the call may have had its effect."""

    code = "TRANSPORT"
