"""encode_message: what it takes and what it says of bad input. The payloads are in the vectors."""

import json
from types import MappingProxyType
from typing import Any

import amochats
import pytest

MESSAGE: dict[str, Any] = {
    "event_type": "new_message",
    "payload": {
        "timestamp": 1704067200,
        "msec_timestamp": 1704067200980,
        "msgid": "m-17",
        "conversation_id": "c-9",
        "sender": {"id": "u-5", "name": "Анна 🙂"},
        "message": {"type": "location", "location": {"lon": 0.1, "lat": -89.99999999999999}},
    },
}


@pytest.mark.parametrize(
    "write",
    [
        dict,
        MappingProxyType,
        json.dumps,
        lambda message: json.dumps(message, ensure_ascii=False),
        lambda message: json.dumps(message).encode(),
        lambda message: bytearray(json.dumps(message, indent=1).encode()),
        lambda message: memoryview(json.dumps(message).encode()),
    ],
)
def test_a_message_may_be_given_as_json_or_as_its_value(write: Any) -> None:
    body = amochats.encode_message(write(MESSAGE))
    assert type(body) is bytes
    assert json.loads(body)["payload"].items() >= MESSAGE["payload"].items()


def test_what_is_encoded_is_stable() -> None:
    body = amochats.encode_message(MESSAGE)
    assert amochats.encode_message(body) == body


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"msgid": ""}, "payload.msgid"),
        ({"sender": {"id": "u-5"}}, "payload.sender.name"),
        ({"message": {"type": "text", "text": ""}}, "payload.message.text"),
        ({"receiver": {"id": "u", "name": "n"}}, "payload.sender.ref_id"),
    ],
)
def test_a_broken_rule_names_the_field(payload: dict[str, Any], field: str) -> None:
    with pytest.raises(amochats.InvalidArgumentError, match=f"^{field}: ") as caught:
        amochats.encode_message(MESSAGE | {"payload": MESSAGE["payload"] | payload})
    assert caught.value.field == field


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have(number: float) -> None:
    with pytest.raises(amochats.InvalidArgumentError, match="cannot be written as JSON"):
        amochats.encode_message({"payload": number})


def test_a_circle() -> None:
    circle: dict[str, Any] = {}
    circle["payload"] = circle
    with pytest.raises(amochats.InvalidArgumentError, match="Circular"):
        amochats.encode_message(circle)


@pytest.mark.parametrize("text", ["", "{", "\ud800", '"\ud800"', "[1]", "null"])
def test_text_that_is_no_message(text: str) -> None:
    with pytest.raises(amochats.InvalidArgumentError):
        amochats.encode_message(text)


@pytest.mark.parametrize("message", [None, 1, ["event_type"], {"a"}])
def test_a_wrong_type_is_named(message: Any) -> None:
    said = f"message must be a dict, str or bytes, not {type(message).__name__}"
    with pytest.raises(TypeError) as caught:
        amochats.encode_message(message)
    assert str(caught.value) == said


def test_a_value_that_json_does_not_have_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        amochats.encode_message({"payload": object()})
