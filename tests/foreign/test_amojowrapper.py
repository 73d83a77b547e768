"""PyPI's amojowrapper, all that it can do."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import amojowrapper
import pytest
from amojowrapper.actions import (
    ChannelAction,
    ChatAction,
    DeliveryStatusAction,
    HistoryAction,
    MessageAction,
    ReactAction,
    TypingAction,
)
from amojowrapper.client import AmojoClient
from amojowrapper.request.exceptions import RequestError
from amojowrapper.validators.webhook import WebhookValidator

from conftest import PLANTED


def public_methods() -> dict[str, type]:
    """The methods of the package's concrete classes."""
    found = {}
    for module in pkgutil.walk_packages(amojowrapper.__path__, "amojowrapper."):
        if module.name.endswith("__main__"):
            continue
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            # What pydantic checks is called by its name, not by ours.
            if cls.__module__ != module.name or inspect.isabstract(cls) or hasattr(cls, "model_fields"):
                continue
            for name, function in vars(cls).items():
                if inspect.isfunction(function) and not name.startswith("_"):
                    found[f"{cls.__name__}.{name}"] = cls
    return found


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the public methods that were called."""
    names: set[str] = set()

    def noted(name: str, function: Callable) -> Callable:
        def call(*args, **kwargs):
            names.add(name)
            return function(*args, **kwargs)

        return call

    for name, cls in public_methods().items():
        attribute = name.split(".")[1]
        monkeypatch.setattr(cls, attribute, noted(name, vars(cls)[attribute]))
    return names


def test_all_that_it_can_do(start: Callable, called: set[str]) -> None:
    sandbox = start()
    client = AmojoClient(
        channel_secret=sandbox.secret,
        channel_id=sandbox.channel_id,
        referer="example.amocrm.ru",
        amojo_account_token=sandbox.account_id,
    )
    assert client.amojo_base_url == "https://amojo.amocrm.ru"
    client.amojo_base_url = sandbox.api

    connected = ChannelAction(client).connect(title="Shop")
    assert (connected.scope_id, connected.title) == (sandbox.scope_id, "Shop")

    created = ChatAction(client).create(
        conversation_id="c-1",
        user_id="u-1",
        user_name="Anna",
        user_avatar="https://example.org/a.png",
        user_profile_link="https://example.org/u-1",
        user_profile_phone=PLANTED["phone"],
        user_profile_email=PLANTED["email"],
        source_external_id="15550199",
    )
    chat = created.id
    assert created.user.client_id == "u-1"

    messages = MessageAction(client)
    anna = {"sender_id": "u-1", "sender_name": "Anna", "sender_profile_phone": PLANTED["phone"]}
    to_chat = {"conversation_id": "c-1"}
    media = {"message_media": "https://example.org/f", "message_file_name": "f", "message_file_size": 7}
    contents = [
        {"message_type": "text", "message_text": PLANTED["text"], "message_callback_data": "row-1"},
        {"message_type": "picture", "message_text": "receipt", **media},
        {"message_type": "video", **media},
        {"message_type": "file", **media},
        {"message_type": "voice", **media},
        {"message_type": "audio", **media},
        {"message_type": "sticker", "message_sticker_id": "s-1", **media},
        {"message_type": "location", "message_location_lon": 37.6, "message_location_lat": 55.7},
        {"message_type": "contact", "message_contact_name": "Bo", "message_contact_phone": "+15550123"},
    ]
    for number, content in enumerate(contents):
        sent = messages.send(msgid=f"m-{number}", **to_chat, **anna, **content).new_message
        assert (sent.conversation_id, sent.ref_id) == (chat, f"m-{number}")
    shown = [message["content"]["type"] for message in sandbox.messages(chat)]
    assert shown == [content["message_type"] for content in contents]

    hello = {"message_type": "text", "message_text": "hello"}
    quoted = messages.send(**to_chat, **anna, **hello, reply_to_msgid="m-0", silent=True).new_message
    messages.send(**to_chat, **anna, **hello, reply_to_ref_msgid=quoted.msgid, source_external_id="15550199")
    # Its receiver has no name.
    imported = messages.send(
        **to_chat,
        **hello,
        sender_id="m",
        sender_ref_id=sandbox.manager_ref_id,
        sender_name="Manager",
        receiver_id="u-1",
        silent=True,
    ).new_message
    assert imported.sender_id == sandbox.manager_ref_id
    edited = {"message_type": "text", "message_text": "hello there"}
    messages.edit(**to_chat, **edited, msgid="m-0", silent=False)
    assert sandbox.messages(chat)[0]["content"]["text"] == "hello there"

    assert TypingAction(client).send(**to_chat, sender_id="u-1")
    reaction = {"conversation_ref_id": chat, "id": quoted.msgid, "user_id": "u-1", "emoji": "👍"}
    assert ReactAction(client).set(type="react", **reaction).status_code == 200
    assert ReactAction(client).set(type="unreact", **reaction).status_code == 200

    hook = sandbox.answer(chat, "Yes, of course")
    hook.check(sandbox.secret)
    assert WebhookValidator(client).validate(hook.body.decode(), hook.signature)
    assert not WebhookValidator(client).validate(hook.body.decode() + " ", hook.signature)
    answered = hook.json()["message"]
    assert (answered["conversation"]["client_id"], answered["message"]["text"]) == ("c-1", "Yes, of course")

    delivery, message = DeliveryStatusAction(client), answered["message"]["id"]
    for status in (1, 2):
        assert delivery.set(msgid=message, delivery_status=status) == 200
    assert delivery.set(msgid=message, delivery_status=-1, error_code=905, error="No route") == 200

    history = HistoryAction(client).get(conversation_ref_id=chat).messages
    assert [entry.message.text for entry in history[:1]] == ["Yes, of course"]
    assert history[-1].message.client_id == "m-0" and history[-1].sender.client_id == "u-1"

    assert ChannelAction(client).disconnect()
    with pytest.raises(RequestError) as refused:
        client.custom_request("POST", f"/v2/origin/custom/{sandbox.scope_id}/typing", {})
    assert "403" in refused.value.message

    assert len(called) >= 15
    assert called == set(public_methods())
