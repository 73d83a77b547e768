"""Verify and parse one webhook: amochats beside what people would write. Prints medians and ratios.

The others check the signature with the standard library and read the body; amochats also tells the shapes
of webhooks apart, and keeps what it does not know.
"""

import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Callable

import amochats
import msgspec
import orjson
import pydantic
from amojowrapper.validators.webhook import WebhookValidator

SECRET = "channel-secret"
BODY = (
    b'{"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c","time":1704067200,"message":{"receiver":{"id":'
    b'"r-1","name":"Anna","client_id":"u-5","phone":"+15550100"},"sender":{"id":"s-1","name":"Manager"},'
    b'"conversation":{"id":"cr-1","client_id":"c-9"},"source":{"external_id":"shop"},"timestamp":1704067200,'
    b'"msec_timestamp":1704067200980,"message":{"id":"mr-1","type":"text","text":"Your order is on its way.",'
    b'"markup":null,"tag":"","media":"","thumbnail":"","file_name":"","file_size":0}}}'
)
SIGNATURE = hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()


class PersonModel(pydantic.BaseModel):
    id: str
    name: str = ""
    client_id: str | None = None


class ConversationModel(pydantic.BaseModel):
    id: str
    client_id: str | None = None


class ContentModel(pydantic.BaseModel):
    id: str
    type: str
    text: str = ""


class EnvelopeModel(pydantic.BaseModel):
    receiver: PersonModel
    sender: PersonModel
    conversation: ConversationModel
    message: ContentModel
    msec_timestamp: int


class WebhookModel(pydantic.BaseModel):
    account_id: str
    time: int
    message: EnvelopeModel


class Person(msgspec.Struct):
    id: str
    name: str = ""
    client_id: str | None = None


class Conversation(msgspec.Struct):
    id: str
    client_id: str | None = None


class Content(msgspec.Struct):
    id: str
    type: str
    text: str = ""


class Envelope(msgspec.Struct):
    receiver: Person
    sender: Person
    conversation: Conversation
    message: Content
    msec_timestamp: int


class Webhook(msgspec.Struct):
    account_id: str
    time: int
    message: Envelope


DECODER = msgspec.json.Decoder(Webhook)


def by_hand(parse: Callable[[bytes], object]) -> Callable[[], object]:
    def both() -> object:
        expected = hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()
        if not hmac.compare_digest(expected, SIGNATURE):
            raise ValueError
        return parse(BODY)

    return both


def ours() -> object:
    amochats.verify_webhook(SECRET, BODY, SIGNATURE)
    return amochats.parse_webhook(BODY)


class Client:
    channel_secret = SECRET


VALIDATOR = WebhookValidator(Client())


def amojowrapper() -> object:
    if not VALIDATOR.validate(BODY.decode(), SIGNATURE):
        raise ValueError
    return json.loads(BODY)


CASES: dict[str, Callable[[], object]] = {
    "amochats, typed event": ours,
    "amochats, verify alone": lambda: amochats.verify_webhook(SECRET, BODY, SIGNATURE),
    "hmac + json, a dict": by_hand(json.loads),
    "hmac + orjson, a dict": by_hand(orjson.loads),
    "hmac + msgspec, a struct": by_hand(DECODER.decode),
    "hmac + pydantic, a model": by_hand(WebhookModel.model_validate_json),
    "amojowrapper + json, a dict": amojowrapper,
}
ROUNDS, CALLS = 15, 2000


def microseconds(case: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        case()
    return (time.perf_counter() - started) / CALLS * 1e6


def main() -> None:
    took: dict[str, list[float]] = {name: [] for name in CASES}
    # In turns, so that whatever slows the machine slows all of them.
    for _ in range(ROUNDS):
        for name, case in CASES.items():
            took[name].append(microseconds(case))
    first = statistics.median(took["amochats, typed event"])
    print(f"Python: verify and parse a webhook of {len(BODY)} bytes, median of {ROUNDS} x {CALLS}")
    for name, times in took.items():
        median = statistics.median(times)
        print(f"  {name:<28} {median:8.1f} us  {median / first:6.2f} of amochats")


main()
