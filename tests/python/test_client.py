"""The clients of the chats API and of the CRM, against a sandbox: both forms, every call."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import amochats
import pytest
from amochats import (
    AsyncClient,
    Client,
    CreateChat,
    DeliveryStatus,
    EditMessage,
    NewMessage,
    Reaction,
    Sender,
    Text,
    Typing,
)
from planted import PLANTED
from sandbox import Sandbox

ANNA = Sender("u-1", "Anna", phone=PLANTED["phone"], email=PLANTED["email"])
FILE: dict[str, Any] = {"file_name": "f", "file_size": 7}
CONTENTS: list[amochats.Content] = [
    Text("private words"),
    amochats.Picture("https://example.org/p", text="receipt", **FILE),
    amochats.Video("https://example.org/v", duration=3, **FILE),
    amochats.File("https://example.org/f", **FILE),
    amochats.Voice("https://example.org/o", duration=3, **FILE),
    amochats.Audio("https://example.org/a", **FILE),
    amochats.Sticker("https://example.org/s", sticker_id="s-1", **FILE),
    amochats.Location(37.6, 55.7),
    amochats.Contact("Bo", "+15550123"),
]


def settings(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "channel_id": sandbox.channel_id,
        "secret": sandbox.secret,
        "base_url": sandbox.api,
        "requests_per_second": 0,
    }


def test_every_call_of_the_chats_api(sandbox: Sandbox, form: Callable[..., Any]) -> None:
    client = form(Client, AsyncClient, **settings(sandbox))
    scope = client.scope_id(sandbox.account_id)
    connected = client.connect(sandbox.account_id, title="Shop")
    assert (connected.scope_id, connected.title, connected.hook_api_version) == (scope, "Shop", "v2")

    created = client.create_chat(scope, CreateChat("c-1", ANNA))
    chat = created.conversation_ref_id
    assert created.user.user_id == "u-1"
    for number, content in enumerate(CONTENTS):
        receipt = client.send_message(scope, NewMessage("c-1", f"m-{number}", ANNA, content))
        assert (receipt.message_id, receipt.conversation_ref_id) == (f"m-{number}", chat)
    shown = [message["content"]["type"] for message in sandbox.messages(chat)]
    assert shown == [content.type for content in CONTENTS]
    quote = amochats.QuotedMessage(message_id="m-0")
    client.send_message(scope, NewMessage("c-1", "m-quoting", ANNA, Text("?"), reply_to=quote))

    client.edit_message(scope, EditMessage("c-1", Text("other words"), message_id="m-0"))
    client.react(scope, Reaction(conversation_id="c-1", message_id="m-0", user_id="u-1", emoji="👍"))
    client.send_typing(scope, Typing("c-1", "u-1"))

    page = client.history_page(scope, chat, limit=3)
    assert len(page.messages) == 3
    history = list(client.history(scope, chat, page_size=4))
    assert [message.message_id for message in history][:2] == ["m-quoting", "m-8"]
    assert len(history) == 10 and history[-1].text == "other words"
    assert history[2].location is not None and history[2].location.lon == 37.6
    assert history[0].sent_at is not None
    assert "words" not in repr(history)

    sandbox.answer(chat, PLANTED["text"])
    answer = next(iter(client.history(scope, chat)))
    for status in ("delivered", "read", DeliveryStatus.failed(905, "gone")):
        client.set_delivery_status(scope, answer.message_ref_id, status)
    client.disconnect(sandbox.account_id)


def test_errors_say_what_to_do(sandbox: Sandbox, form: Callable[..., Any]) -> None:
    client = form(Client, AsyncClient, **settings(sandbox))
    scope = client.scope_id(sandbox.account_id)
    client.connect(sandbox.account_id, title="Shop")
    with pytest.raises(amochats.NotFoundError) as missing:
        client.set_delivery_status(scope, "00000000-0000-0000-0000-000000000000", "read")
    assert (missing.value.code, missing.value.http_status) == ("NOT_FOUND", 404)
    with pytest.raises(amochats.InvalidArgumentError) as invalid:
        client.send_message(scope, NewMessage("c-1", "m-1", replace(ANNA, name=""), Text("private")))
    assert invalid.value.field == "payload.sender.name" and "private" not in str(invalid.value)
    with pytest.raises(amochats.InvalidArgumentError):
        client.set_delivery_status(scope, "m", "eaten")

    stranger = form(Client, AsyncClient, **(settings(sandbox) | {"secret": "another"}))
    with pytest.raises(amochats.ForbiddenError) as forbidden:
        stranger.connect(sandbox.account_id)
    assert forbidden.value.http_status == 403

    busy = {"on": "api", "fault": "rate_limit", "value": 7, "probability": 1.0}
    sandbox.control("PUT", "/api/faults", {"seed": 1, "rules": [busy]})
    once = form(Client, AsyncClient, **settings(sandbox), send_once=True)
    with pytest.raises(amochats.RateLimitedError) as limited:
        once.connect(sandbox.account_id)
    assert limited.value.http_status == 429 and limited.value.retry_after == 7


def test_a_silent_service_ends_in_time(form: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        where = {"channel_id": "ch", "secret": "s", "base_url": url}
        client = form(Client, AsyncClient, **where, timeout=0.05, send_once=True)
        with pytest.raises(TimeoutError) as caught:
            client.disconnect("A")
        assert isinstance(caught.value, amochats.RequestTimeoutError)
        patient = form(Client, AsyncClient, **where)
        with pytest.raises(amochats.RequestTimeoutError):
            patient.with_deadline(0.05).disconnect("A") if isinstance(patient, Client) else asyncio.run(
                patient.with_deadline(0.05).disconnect("A")
            )


def test_settings_and_closing() -> None:
    for wrong, field in [
        ({"region": "mars"}, "region"),
        ({}, "region"),
        ({"region": "ru", "base_url": "http://x"}, "region"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"region": "ru", "timeout": -1.0}, "timeout"),
    ]:
        with pytest.raises(amochats.InvalidArgumentError) as caught:
            Client("ch", "secret", **wrong)  # type: ignore[arg-type]
        assert caught.value.field == field
    with Client("ch", "hunter2", region="ru") as client:
        assert repr(client) == "<Client of ch at https://amojo.amocrm.ru>"
    with pytest.raises(amochats.ClosedError):
        client.disconnect("A")
