"""The tree of exceptions, and that every kind of error has its place in it."""

import asyncio
import copy
import inspect
import pickle

import amochats
import pytest
from amochats import _amochats, exceptions

# What every surface agrees on: the kind's name, its class here, and the built-in second base.
KINDS: dict[str, tuple[str, type[BaseException] | None]] = {
    "PANIC": ("InternalError", None),
    "INVALID_ARGUMENT": ("InvalidArgumentError", ValueError),
    "CONFIG_INVALID": ("ConfigError", ValueError),
    "CLOSED": ("ClosedError", None),
    "QUEUE_FULL": ("QueueFullError", None),
    "MISUSE": ("MisuseError", None),
    "FORKED": ("ForkedError", None),
    "STORE_FAILED": ("StoreError", None),
    "STORE_FULL": ("StoreFullError", exceptions.StoreError),
    "STORE_LOCKED": ("StoreLockedError", exceptions.StoreError),
    "LEASE_LOST": ("LeaseLostError", None),
    "SUBSCRIPTION_NOT_FOUND": ("SubscriptionNotFoundError", LookupError),
    "UNAUTHENTICATED": ("UnauthenticatedError", None),
    "SIGNATURE_MISSING": ("SignatureMissingError", exceptions.SignatureError),
    "SIGNATURE_MISMATCH": ("SignatureMismatchError", exceptions.SignatureError),
    "MALFORMED_WEBHOOK": ("MalformedWebhookError", ValueError),
    "BODY_TOO_LARGE": ("BodyTooLargeError", None),
    "UNKNOWN_CHANNEL": ("UnknownChannelError", LookupError),
    "REJECTED": ("RejectedError", None),
    "FORBIDDEN": ("ForbiddenError", None),
    "NOT_FOUND": ("NotFoundError", LookupError),
    "RATE_LIMITED": ("RateLimitedError", None),
    "UNAVAILABLE": ("UnavailableError", None),
    "UNEXPECTED_RESPONSE": ("UnexpectedResponseError", None),
    "TIMEOUT": ("RequestTimeoutError", TimeoutError),
    "TRANSPORT": ("TransportError", ConnectionError),
}
BUILT_IN: dict[str, type[BaseException]] = {
    "NULL_POINTER": TypeError,
    "INVALID_UTF8": UnicodeError,
    "CANCELLED": asyncio.CancelledError,
}
CLASSES = [
    value
    for value in vars(exceptions).values()
    if inspect.isclass(value) and issubclass(value, exceptions.AmochatsError)
]


def test_the_kinds_are_those_of_the_core() -> None:
    assert {name for name, _code in _amochats._error_kinds()} == KINDS.keys() | BUILT_IN.keys()


@pytest.mark.parametrize(("name", "code"), _amochats._error_kinds())
def test_every_kind_is_raised_as_its_class(name: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BaseException) as caught:
        _amochats._fail(code)
    error = caught.value
    if name in BUILT_IN:
        assert type(error) is BUILT_IN[name]
        return
    class_name, base = KINDS[name]
    assert type(error) is getattr(amochats, class_name)
    assert isinstance(error, amochats.AmochatsError)
    assert error.code == name
    assert isinstance(error, base or amochats.AmochatsError)
    if name == "PANIC":
        assert str(error) == "amochats stopped at a bug of its own"
    else:
        assert str(error) == "asked for by a test"
        assert (error.field, error.http_status, error.retry_after) == ("payload.x", 429, 1.5)


def test_every_class_stands_for_one_kind_or_is_a_base() -> None:
    codes = {cls.__name__: cls.code for cls in CLASSES}
    kinds = {class_name: name for name, (class_name, _base) in KINDS.items()}
    assert codes == kinds | {"AmochatsError": "", "SignatureError": ""}
    assert set(exceptions.__all__) == set(codes)
    assert set(exceptions.__all__) <= set(amochats.__all__)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_exception_survives_a_copy(cls: type[amochats.AmochatsError], clone: object) -> None:
    assert callable(clone)
    error = cls("it failed", field="payload.x", http_status=503, retry_after=2.5)
    again = clone(error)
    assert type(again) is cls
    assert (str(again), again.args, again.code) == ("it failed", ("it failed",), cls.code)
    assert (again.field, again.http_status, again.retry_after) == ("payload.x", 503, 2.5)


def test_details_default_to_none() -> None:
    error = amochats.RequestTimeoutError("no answer in time")
    assert (error.field, error.http_status, error.retry_after) == (None, None, None)
