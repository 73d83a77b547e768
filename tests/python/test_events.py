"""The event classes: what they hold, show and forbid."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import amochats
import pytest
from amochats import Event, MessageEvent, Participant, ReactionEvent, TypingEvent, UnknownEvent, events

CLASSES = [getattr(events, name) for name in events.__all__ if name not in ("Event", "KeptEvent")]
# What a parsed webhook is not, and does not have: a channel adds it.
KEPT_CLASSES = {events.OutboxEvent, events.OutboxItem, events.Problem}
KEPT_FIELDS = {
    "event_id", "channel_id", "scope_id", "received_at_msec", "origin", "conflicting_duplicate",
    "possible_duplicate",
}  # fmt: skip

# Every field is filled, the private ones with a word of their own.
PRIVATE = "private"


def embedded() -> dict[str, Any]:
    return {
        "id": "M0", "msgid": "m-0", "type": "picture", "text": PRIVATE, "media": PRIVATE, "thumbnail": PRIVATE,
        "file_name": PRIVATE, "file_size": 3, "timestamp": 1704067200, "msec_timestamp": 1704067200001,
        "sender": {"id": "U1", "name": PRIVATE}, "receiver": {"id": "U2", "name": PRIVATE}, "odd": [PRIVATE],
    }  # fmt: skip


FULL = {
    "account_id": "A",
    "time": 1704067201,
    "odd": {"a": [PRIVATE]},
    "message": {
        "conversation": {"id": "C", "client_id": "c-9"},
        "sender": {"id": "U1", "name": PRIVATE},
        "receiver": {"id": "U2", "client_id": "u-5", "name": PRIVATE, "phone": PRIVATE, "email": PRIVATE},
        "source": {"external_id": "s"},
        "timestamp": 1704067200,
        "msec_timestamp": 1704067200980,
        "message": {
            "id": "M", "client_id": "m-1", "type": "picture", "text": PRIVATE, "media": PRIVATE, "tag": PRIVATE,
            "thumbnail": PRIVATE, "file_name": PRIVATE, "file_size": 5, "media_group_id": "G",
            "markup": {
                "mode": "inline", "odd": PRIVATE, "extra": PRIVATE,
                "buttons": [[{"text": PRIVATE, "odd": PRIVATE}], [{"text": PRIVATE, "url": PRIVATE}]],
                "list_message": {
                    "header": PRIVATE, "body": PRIVATE, "footer": PRIVATE, "button": PRIVATE,
                    "sections": [{"title": PRIVATE, "rows": [
                        {"callback_data": PRIVATE, "title": PRIVATE, "description": PRIVATE},
                    ]}],
                },
            },
            "template": {
                "id": 7, "external_id": "t", "content": PRIVATE, "params": [{"key": "{{lead.id}}", "value": PRIVATE}],
            },
            "reply_to": {"message": embedded()},
            "forwards": {"messages": [embedded()], "conversation_ref_id": "C0"},
            "post": {"id": "p", "url": PRIVATE},
        },
    },
}  # fmt: skip
TYPING = {"account_id": "A", "time": 2, "action": {"typing": {
    "user": {"id": "U1"}, "conversation": {"id": "C", "client_id": "c-9"}, "expired_at": 7, "post_id": "p",
}}}  # fmt: skip
REACTION = {"account_id": "A", "action": {"reaction": {
    "user": {"id": "U1"}, "conversation": {"id": "C"}, "type": "react", "msgid": "M", "emoji": PRIVATE,
}}}  # fmt: skip
UNKNOWN = {"action": {"dance": {"with": PRIVATE}}}
ALL = {"message": FULL, "typing": TYPING, "reaction": REACTION, "unknown": UNKNOWN}


def parse(body: object) -> Event:
    return amochats.parse_webhook(json.dumps(body).encode())


def message(body: object) -> MessageEvent:
    event = parse(body)
    assert isinstance(event, MessageEvent)
    return event


@pytest.fixture(params=ALL)
def event(request: pytest.FixtureRequest) -> Event:
    event = parse(ALL[request.param])
    assert event.kind == request.param
    return event


def records(value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        for item in value:
            yield from records(item)
    elif dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from records(getattr(value, field.name))


def test_the_full_message_has_every_class_and_no_field_is_empty() -> None:
    found = {type(record) for record in records(message(FULL))}
    assert found == set(CLASSES) - {TypingEvent, ReactionEvent, UnknownEvent} - KEPT_CLASSES
    event = message(FULL)
    empty = {f.name for f in dataclasses.fields(event) if getattr(event, f.name) in (None, "", (), False)}
    assert empty == KEPT_FIELDS


def test_match_reads_well() -> None:
    def read(event: Event) -> tuple[object, ...]:
        match event:
            case MessageEvent(conversation_id, text, type="text"):
                return "text", conversation_id, text
            case MessageEvent(receiver=Participant(user_id=user_id), media=media):
                return "media", user_id, media
            case MessageEvent():
                return ("to nobody",)
            case TypingEvent(conversation_id):
                return "typing", conversation_id
            case ReactionEvent(message_ref_id, None):
                return "unreact", message_ref_id
            case ReactionEvent(message_ref_id, emoji):
                return "react", message_ref_id, emoji
            case UnknownEvent(raw):
                return "unknown", raw

    assert read(parse(FULL)) == ("media", "u-5", PRIVATE)
    assert read(parse({"receiver": "u", "type": "text", "text": "hi"})) == ("text", None, "hi")
    assert read(parse({"message": {}})) == ("to nobody",)
    assert read(parse(TYPING)) == ("typing", "c-9")
    assert read(parse(REACTION)) == ("react", "M", PRIVATE)
    assert read(parse({"action": {"reaction": {"type": "unreact", "msgid": "M"}}})) == ("unreact", "M")
    assert read(parse([1])) == ("unknown", b"[1]")


def test_fields_are_where_they_belong() -> None:
    event = message(FULL)
    assert event.markup is not None and event.template is not None and event.forwards is not None
    assert event.markup.buttons[1][0] == amochats.Button(text=PRIVATE, url=PRIVATE)
    assert event.markup.extra == {"odd": PRIVATE, "extra": PRIVATE}
    assert event.template.params == (amochats.TemplateParam(key="{{lead.id}}", value=PRIVATE),)
    assert event.forwards.messages == (event.reply_to,)
    assert event.post == amochats.Post(id="p", extra={"url": PRIVATE})
    assert event.extra == {"odd": {"a": [PRIVATE]}}
    assert event.sent_at == datetime(2024, 1, 1, 0, 0, 0, 980_000, timezone.utc)


def test_repr_shows_ids_and_no_contents(event: Event) -> None:
    for record in records(event):
        assert PRIVATE not in repr(record)
        assert repr(record).startswith(type(record).__name__ + "(")
    if not isinstance(event, UnknownEvent):
        assert "'A'" in repr(event) and "'C'" in repr(event)


def test_repr_leaves_out_what_is_not_there() -> None:
    assert repr(parse({"receiver": "u-5", "type": "text", "text": "hi", "timestamp": 5})) == (
        "MessageEvent(api_version='v1', timestamp=5, receiver=Participant(user_id='u-5'), type='text')"
    )


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, dataclasses.replace, lambda event: pickle.loads(pickle.dumps(event))]
)
def test_an_event_survives_a_copy(event: Event, clone: Callable[[Event], Event]) -> None:
    again = clone(event)
    assert type(again) is type(event)
    assert again == event and hash(again) == hash(event)
    assert again.raw == event.raw and again.to_dict() == event.to_dict()


def test_events_are_equal_when_they_say_the_same(event: Event) -> None:
    body = json.loads(event.raw)
    assert amochats.parse_webhook(json.dumps(body, indent=2).encode()) == event
    assert parse(body | {"account_id": "B"}) != event
    assert parse(body | {"new": 1}) != event
    assert len({event, parse(body), parse(body | {"account_id": "B"})}) == 2


def test_nothing_can_be_changed(event: Event) -> None:
    for record in records(event):
        for field in dataclasses.fields(record):  # type: ignore[arg-type]
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(record, field.name, None)
        assert not hasattr(record, "__dict__")


def test_to_dict_is_json_of_its_own(event: Event) -> None:
    first = event.to_dict()
    assert first["kind"] == event.kind and "raw" not in first
    assert json.loads(json.dumps(first)) == first
    first["extra"] = first.get("extra", {})
    first["extra"]["changed"] = True
    if isinstance(event.extra, dict):
        assert "changed" not in event.extra
    assert "changed" not in event.to_dict().get("extra", {})


def test_the_json_form_says_all_of_an_event(event: Event) -> None:
    again = events._kept_from_json(event.to_dict(), event.raw)
    assert type(again) is type(event) and again == event and again.raw == event.raw


@pytest.mark.parametrize("body", [None, True, 0, "", "x", [], [1], {}, 1.5])
def test_any_json_value_is_an_event(body: object) -> None:
    event = parse(body)
    assert isinstance(event, UnknownEvent)
    assert event.extra == (body if body != {} else None)
    assert event.to_dict() == (
        {"kind": "unknown"} if body in ({}, None) else {"kind": "unknown", "extra": body}
    )


@pytest.mark.parametrize(
    ("times", "sent_at"),
    [
        ({}, None),
        ({"timestamp": 0}, datetime(1970, 1, 1, tzinfo=timezone.utc)),
        ({"timestamp": 1, "msec_timestamp": 1999}, datetime(1970, 1, 1, 0, 0, 1, 999_000, timezone.utc)),
        ({"msec_timestamp": -1}, datetime(1969, 12, 31, 23, 59, 59, 999_000, timezone.utc)),
        ({"timestamp": 2**63 - 1}, None),
        ({"msec_timestamp": -(2**63)}, None),
    ],
)
def test_sent_at_is_utc_or_none(times: dict[str, int], sent_at: datetime | None) -> None:
    event = message({"message": times | {"message": {"reply_to": {"message": times}}}})
    assert event.sent_at == sent_at
    assert event.reply_to is not None and event.reply_to.sent_at == sent_at


def test_an_event_can_be_made_for_a_test_of_ones_own() -> None:
    event = MessageEvent(type=amochats.MessageType.TEXT, text="hi", conversation_id="c-9")
    assert event.to_dict() == {"kind": "message", "conversation_id": "c-9", "type": "text", "text": "hi"}
    with pytest.raises(TypeError):
        MessageEvent("c-9", "hi")  # type: ignore[arg-type, call-arg]
