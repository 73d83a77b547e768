"""Signing, against an implementation that shares no code with it: the standard library."""

import email.utils
import hashlib
import hmac
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import amochats
import pytest
from sandbox import PATIENCE

SECRET = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
BODIES = [
    b"",
    b"{}\n",
    "Ответ 🙂".encode(),
    bytes(range(256)),
    b"x" * 2047,
    b"x" * 2048,  # From here on the interpreter is released.
    b"\x00" * 1_000_000,
]


def hmac_sha1(key: str, message: bytes) -> str:
    return hmac.new(key.encode(), message, hashlib.sha1).hexdigest()


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("secret", [SECRET, "k", "ключ", "long" * 40])
def test_a_body_is_signed_with_hmac_sha1(secret: str, body: bytes) -> None:
    assert amochats.sign_body(secret, body) == hmac_sha1(secret, body)


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_a_request_is_signed_in_the_canonical_form(body: bytes) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 +0000"
    headers = amochats.sign_request(SECRET, "post", "/v2/x?limit=1", body, date=date, content_type="text/x")
    md5 = hashlib.md5(body).hexdigest()
    signature = hmac_sha1(SECRET, f"POST\n{md5}\ntext/x\n{date}\n/v2/x".encode())
    assert headers == {"Date": date, "Content-Type": "text/x", "Content-MD5": md5, "X-Signature": signature}
    assert type(headers) is dict


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_body_will_do(kind: type) -> None:
    assert amochats.sign_body(SECRET, kind(b"abc")) == hmac_sha1(SECRET, b"abc")
    assert amochats.sign_body(SECRET, memoryview(b"abcdef")[::2]) == hmac_sha1(SECRET, b"ace")


def test_without_a_date_it_is_now() -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    headers = amochats.sign_request(SECRET, "GET", "/v2/x")
    after = datetime.now(timezone.utc)
    assert before <= email.utils.parsedate_to_datetime(headers["Date"]) <= after
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("date", "header"),
    [
        (datetime(2024, 1, 1, tzinfo=timezone.utc), "Mon, 01 Jan 2024 00:00:00 +0000"),
        (datetime(2024, 1, 1, 3, tzinfo=timezone(timedelta(hours=3))), "Mon, 01 Jan 2024 00:00:00 +0000"),
        (datetime(2024, 1, 1, 0, 0, 0, 999_999, timezone.utc), "Mon, 01 Jan 2024 00:00:00 +0000"),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=timezone.utc), "Wed, 31 Dec 1969 23:59:59 +0000"),
        (datetime(9998, 12, 31, tzinfo=timezone.utc), "Thu, 31 Dec 9998 00:00:00 +0000"),
        ("Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ],
)
def test_a_date_is_written_as_documented(date: str | datetime, header: str) -> None:
    assert amochats.sign_request(SECRET, "GET", "/v2/x", date=date)["Date"] == header


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"secret": ""}, "secret"),
        ({"secret": "from-a-file\n"}, "secret"),
        ({"method": "PO ST"}, "method"),
        ({"path": "https://amojo.example/v2"}, "path"),
        ({"path": "/v2\n"}, "path"),
        ({"content_type": "a\r\nb"}, "content_type"),
        ({"date": "a\nb"}, "date"),
        ({"date": datetime(2024, 1, 1)}, "date"),
    ],
)
def test_a_broken_rule_names_the_argument(changed: dict[str, Any], field: str) -> None:
    arguments: dict[str, Any] = {"secret": SECRET, "method": "GET", "path": "/v2/x"} | changed
    with pytest.raises(amochats.InvalidArgumentError, match=f"^{field}: must ") as caught:
        amochats.sign_request(**arguments)
    assert caught.value.field == field
    assert "from-a-file" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"secret": b"s"}, "secret must be str, not bytes"),
        ({"secret": None}, "secret must be str, not NoneType"),
        ({"method": 1}, "method must be str, not int"),
        ({"path": b"/"}, "path must be str, not bytes"),
        ({"body": "{}"}, "body must be bytes, not str: pass the raw body as bytes"),
        ({"body": None}, "body must be bytes, bytearray or memoryview, not NoneType"),
        ({"body": {}}, "body must be bytes, bytearray or memoryview, not dict"),
        ({"date": 1704067200}, "date must be str, datetime or None, not int"),
        ({"content_type": None}, "content_type must be str, not NoneType"),
    ],
)
def test_a_wrong_type_names_the_argument(changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"secret": SECRET, "method": "GET", "path": "/v2/x"} | changed
    with pytest.raises(TypeError) as caught:
        amochats.sign_request(**arguments)
    assert str(caught.value).startswith(said)


def test_text_that_utf8_cannot_hold_is_refused() -> None:
    with pytest.raises(UnicodeError):
        amochats.sign_body("\udc80", b"")


def test_threads_get_their_own_answers() -> None:
    bodies = [str(i).encode() * (1 + 997 * (i % 7)) for i in range(500)]
    with ThreadPoolExecutor(8) as pool:
        signatures = list(pool.map(lambda body: amochats.sign_body(SECRET, body), bodies))
    assert signatures == [hmac_sha1(SECRET, body) for body in bodies]


def test_other_threads_run_while_a_large_body_is_hashed() -> None:
    body = bytes(32_000_000)
    go, ran = threading.Event(), threading.Event()

    def other() -> None:
        go.wait()
        ran.set()

    thread = threading.Thread(target=other)
    thread.start()
    interval = sys.getswitchinterval()
    # From here on a thread keeps the interpreter until it releases it of its own accord.
    sys.setswitchinterval(1000)
    try:
        go.set()
        # One call is long enough for the other thread to wake up; a busy machine may need more.
        until = time.monotonic() + PATIENCE / 2
        while not ran.is_set() and time.monotonic() < until:
            amochats.sign_body(SECRET, body)
        released = ran.is_set()
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert released
