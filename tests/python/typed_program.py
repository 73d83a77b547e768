"""A user's program, checked with `mypy --strict` and run by test_package.py."""

from datetime import datetime

import amochats


def describe(event: amochats.Event) -> str:
    # Complete: mypy would miss a return, were there a class of event not named here.
    match event:
        case amochats.MessageEvent(conversation_id, text):
            to: str | None = conversation_id
            said: str = text
            return f"{to}: {said}"
        case amochats.TypingEvent(conversation_id):
            return f"{conversation_id} is typed to"
        case amochats.ReactionEvent(message_ref_id, emoji):
            return f"{message_ref_id}: {emoji}"
        case amochats.UnknownEvent(raw):
            return f"{len(raw)} bytes"


def receive(body: bytes, signature: str | None) -> int:
    try:
        amochats.verify_webhook(["channel-secret"], body, signature)
    except amochats.SignatureError as error:
        code: str = error.code
        wait: float | None = error.retry_after
        print(code, wait)
        return 401
    event = amochats.parse_webhook(body)
    if isinstance(event, amochats.MessageEvent):
        when: datetime | None = event.sent_at
        assert when is None
        if event.markup is not None:
            rows: list[list[str]] = [[button.text for button in row] for row in event.markup.buttons]
            print(rows)
    kind: str = event.kind
    assert event.to_dict()["kind"] == kind
    print(describe(event))
    return 200


body: bytes = b'{"receiver":"u-5","conversation_id":"c-9","type":"text","text":"hi"}'
assert receive(body, amochats.sign_body("channel-secret", body)) == 200

headers: dict[str, str] = amochats.sign_request("channel-secret", "GET", "/v2/x")
verdict: str = amochats.diagnose_signature("channel-secret", body, headers["X-Signature"]).name
assert verdict == "mismatch"
