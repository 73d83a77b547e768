"""Verification and diagnosis of webhooks, and what bad input is told."""

import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import amochats
import pytest

SECRET = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
BODY = json.dumps({"account_id": "a", "message": {"message": {"type": "text", "text": "Ответ"}}}).encode()


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


@pytest.mark.parametrize(
    "secrets", [SECRET, [SECRET], ("old", SECRET), {SECRET}, {SECRET: "used"}, iter(["old", SECRET])]
)
def test_one_secret_or_several(secrets: Any) -> None:
    amochats.verify_webhook(secrets, BODY + b"\n", sign(BODY))


def test_a_generator_of_secrets_may_fail() -> None:
    def secrets() -> Any:
        yield SECRET
        raise KeyError("no such channel")

    with pytest.raises(KeyError, match="no such channel"):
        amochats.verify_webhook(secrets(), BODY, sign(BODY))


@pytest.mark.parametrize("body", [BODY, bytearray(BODY), memoryview(BODY)])
def test_any_bytes_like_body_will_do(body: Any) -> None:
    amochats.verify_webhook(SECRET, body, sign(BODY))
    event = amochats.parse_webhook(body)
    assert type(event.raw) is bytes and event.raw == BODY


@pytest.mark.parametrize("signature", [None, "", "abc", "\udcff" * 40, "я" * 20, sign(BODY) + "\n"])
def test_no_usable_signature(signature: str | None) -> None:
    with pytest.raises(amochats.SignatureMissingError, match="X-Signature header"):
        amochats.verify_webhook(SECRET, BODY, signature)


@pytest.mark.parametrize("secrets", ["other", [], ["other", "another"]])
def test_a_forgery(secrets: str | list[str]) -> None:
    with pytest.raises(amochats.SignatureMismatchError) as caught:
        amochats.verify_webhook(secrets, BODY, sign(BODY))
    assert str(caught.value) == "the X-Signature header does not belong to this body and secret"
    assert isinstance(caught.value, amochats.SignatureError)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((b"s", BODY, ""), "secrets must be str or an iterable of str, not bytes"),
        ((bytearray(b"s"), BODY, ""), "secrets must be str or an iterable of str, not bytearray"),
        ((None, BODY, ""), "secrets must be str or an iterable of str, not NoneType"),
        ((["s", b"s"], BODY, ""), "each of secrets must be str, not bytes"),
        (("s", BODY.decode(), ""), "body must be bytes, not str: pass the raw body as bytes"),
        (("s", json.loads(BODY), ""), "body must be bytes, bytearray or memoryview, not dict"),
        (("s", BODY, b""), "signature must be str or None, not bytes"),
    ],
)
def test_a_wrong_type_names_the_argument(arguments: Any, said: str) -> None:
    for function in (amochats.verify_webhook, amochats.diagnose_signature):
        with pytest.raises(TypeError) as caught:
            function(*arguments)
        assert str(caught.value).startswith(said)


@pytest.mark.parametrize("secrets", ["", "a b", ["fine", "with-line-feed\n"]])
def test_a_dirty_secret_is_refused_and_not_shown(secrets: Any) -> None:
    with pytest.raises(amochats.InvalidArgumentError) as caught:
        amochats.verify_webhook(secrets, BODY, sign(BODY))
    assert caught.value.field == "secret"
    assert "with-line-feed" not in str(caught.value)


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        (sign(BODY), "valid"),
        (None, "missing"),
        ("12", "not_hex"),
        (sign(BODY, "old"), "expired_secret"),
        (sign(BODY + b"\n"), "with_newline"),
        (hmac.new(bytes.fromhex(SECRET), BODY, hashlib.sha1).hexdigest(), "hex_decoded_secret"),
        (sign(json.dumps(json.loads(BODY), separators=(",", ":")).encode()), "reserialised"),
        ("0" * 40, "mismatch"),
    ],
)
def test_a_diagnosis_names_the_mistake(signature: str | None, name: str) -> None:
    verdict = amochats.diagnose_signature(SECRET, BODY, signature, expired="old")
    assert verdict.name == name
    assert " " in verdict.sentence and not verdict.sentence.endswith(".")


def test_expired_secrets_are_by_name_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        amochats.diagnose_signature(SECRET, BODY, None, ["old"])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("body", "place"), [(b"", "line 1 column 0"), (b'{"a":1,}', "line 1 column 8"), (b'"\xff"', "")]
)
def test_what_is_not_json_is_malformed(body: bytes, place: str) -> None:
    with pytest.raises(amochats.MalformedWebhookError, match=f"^the body is not JSON: .*{place}$"):
        amochats.parse_webhook(body)


def test_a_str_body_is_refused() -> None:
    with pytest.raises(TypeError, match="pass the raw body as bytes"):
        amochats.parse_webhook(BODY.decode())  # type: ignore[arg-type]


def test_threads_parse_and_verify_together() -> None:
    def one(i: int) -> tuple[str, str]:
        text = str(i) * (1 + 500 * (i % 5))
        body = json.dumps({"receiver": "u", "type": "text", "text": text}).encode()
        amochats.verify_webhook(SECRET, body, sign(body))
        event = amochats.parse_webhook(body)
        assert isinstance(event, amochats.MessageEvent)
        return text, event.text

    with ThreadPoolExecutor(8) as pool:
        assert all(sent == read for sent, read in pool.map(one, range(500)))
