"""The cases that all surfaces share: tests/vectors/<group>/<case>.json."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amochats
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
GROUPS = {"signing", "webhooks", "payloads"}
# What Python does not have yet: see tests/src/vectors.rs.
ELSEWHERE = {"channel", "crm", "vendor"}
CASES = sorted(
    path for path in FOLDER.rglob("*.json") if path.relative_to(FOLDER).parts[0] not in ELSEWHERE
)


def body(given: dict[str, Any]) -> bytes:
    if "body_base64" in given:
        return base64.b64decode(given["body_base64"], validate=True)
    text: str = given.get("body", "")
    return text.encode()


def sign_body(given: dict[str, Any]) -> Any:
    return {"x_signature": amochats.sign_body(given["secret"], body(given))}


def sign_request(given: dict[str, Any]) -> Any:
    headers = amochats.sign_request(
        given["secret"],
        given["method"],
        given["path"],
        body(given),
        date=given["date"],
        content_type=given["content_type"],
    )
    return {"headers": headers}


def verify_webhook(given: dict[str, Any]) -> Any:
    amochats.verify_webhook(given["secrets"], body(given), given["signature"])
    return {"valid": True}


def parse_webhook(given: dict[str, Any]) -> Any:
    raw = body(given)
    event = amochats.parse_webhook(raw)
    assert event.raw == raw
    return {"event": event.to_dict()}


def encode_message(given: dict[str, Any]) -> Any:
    message = given["message"]
    if isinstance(message, dict):
        return {"body": json.loads(amochats.encode_message(message))}
    return {"body": json.loads(amochats.encode_message(json.dumps(message)))}


def encode_request(given: dict[str, Any]) -> Any:
    call, request = given["call"], given["request"]
    body = amochats.encode_request(call, request)
    assert amochats.encode_request(call, json.dumps(request)) == body
    return {"body": json.loads(body)}


def parse_history(given: dict[str, Any]) -> Any:
    return {"page": amochats.parse_history(body(given))}


OPERATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    operation.__name__: operation
    for operation in (
        sign_body,
        sign_request,
        verify_webhook,
        parse_webhook,
        encode_message,
        encode_request,
        parse_history,
    )
}


def test_every_group_has_cases_and_no_other_is_there() -> None:
    assert {case.relative_to(FOLDER).parts[0] for case in CASES} == GROUPS


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.relative_to(FOLDER).with_suffix("").as_posix())
def test_case(path: Path, record_property: Callable[[str, object], None]) -> None:
    case = json.loads(path.read_bytes())
    record_property("operation", case["operation"])
    try:
        answer = OPERATIONS[case["operation"]](case["input"])
    except amochats.AmochatsError as error:
        answer = {"error": {"kind": error.code} | ({"field": error.field} if error.field else {})}
    assert answer == case["expected"]
