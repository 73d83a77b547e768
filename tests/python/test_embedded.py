"""Files, the widget behind another HTTP server, lives of events, and channels that change at run time."""

import asyncio
import base64
import copy
import hashlib
import hmac
import itertools
import json
import pickle
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import amochats
import pytest
from amochats import Channel, Filter, NewMessage, Picture, Sender
from sandbox import PATIENCE, Sandbox, logged

SECRET = "channel-secret"
ORIGIN = "https://demo.amocrm.ru"
INTEGRATION = {"client_id": "the-integration", "client_secret": "integration-secret"}
NUMBERS = itertools.count()


def config(folder: Path, **sections: Any) -> dict[str, Any]:
    channel = {"id": "ch", "secret": SECRET, "base_url": "http://127.0.0.1:1", **INTEGRATION}
    return {
        "listener": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "store": {"path": folder / "amochats.db"},
        "channel": [channel],
        **sections,
    }


def linking(folder: Path) -> dict[str, Any]:
    key = base64.b64encode(bytes(range(32))).decode()
    return config(folder, widget={"redirect_uri": "https://chat.example.org/oauth", "key": key})


def hook(text: str = "hi", **message: str) -> bytes:
    inner = {"id": f"M-{next(NUMBERS)}", "type": "text", "text": text, **message}
    return json.dumps({"account_id": "A", "message": {"conversation": {"id": "C"}, "message": inner}}).encode()


def in_time(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, PATIENCE))


# Files


def read(url: str) -> tuple[str, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_a_file_goes_with_a_message_by_its_link(tmp_path: Path, sandbox: Sandbox) -> None:
    picture = tmp_path / "receipt 1.png"
    picture.write_bytes(b"png")

    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            await channel.connect(sandbox.account_id)
            attached = await channel.media.attach(picture, expires_in=3600)
            assert (attached.size, attached.content_type) == (3, "image/png")
            assert attached.url not in repr(attached)
            assert attached.expires_at is not None
            assert timedelta(0) < attached.expires_at - datetime.now(timezone.utc) <= timedelta(hours=1)
            assert await asyncio.to_thread(read, attached.url) == ("image/png", b"png")
            message = NewMessage("c-1", "m-1", Sender("u-1", "Anna"), Picture(attached.url))
            item = await channel.outbox.wait(
                await channel.send_message(sandbox.scope_id, message), timeout=PATIENCE
            )
            assert item.state == "sent"
            [seen] = sandbox.messages(str(item.conversation_ref_id))
            assert attached.url in json.dumps(seen)

    in_time(run())


def test_what_cannot_be_attached_is_refused(tmp_path: Path) -> None:
    with Channel(config(tmp_path, media={"max_bytes": 4})) as channel:
        attached = channel.media.attach(bytearray(b"text"), file_name="a.txt")
        assert read(attached.url) == ("text/plain", b"text")
        assert channel.media.attach(b"", file_name="a", content_type="text/x").content_type == "text/x"
        with pytest.raises(amochats.InvalidArgumentError) as caught:
            channel.media.attach(b"text")
        assert caught.value.field == "file_name"
        with pytest.raises(amochats.InvalidArgumentError) as caught:
            channel.media.attach(tmp_path / "secret-name")
        assert caught.value.field == "path" and "secret-name" not in str(caught.value)
        with pytest.raises(amochats.InvalidArgumentError) as caught:
            channel.media.attach(b"", file_name="a", scope_id="ch_A")
        assert caught.value.field == "conversation"
        with pytest.raises(amochats.BodyTooLargeError):
            channel.media.attach(b"large", file_name="a")
        event_id = channel.ingest(body := hook(), amochats.sign_body(SECRET, body), "ch_A").event_id
        for unknown in (event_id, "none"):
            with pytest.raises(amochats.NotFoundError):
                channel.media.attachment(str(unknown))
            with pytest.raises(amochats.NotFoundError):
                channel.media.wait(str(unknown))


def test_what_a_message_came_with_is_fetched(tmp_path: Path) -> None:
    near = {"fetch_hosts": ["127.0.0.1"], "fetch_private": ["127.0.0.1"], "fetch_http": True}

    async def run() -> None:
        async with Channel(config(tmp_path, media={"fetch": True, **near})) as channel:
            url = (await channel.media.attach(b"png", file_name="a.png")).url
            body = hook(type="picture", media=url, file_name="private.png")
            kept = await channel.ingest(body, amochats.sign_body(SECRET, body), "ch_A")
            found = await channel.media.wait(str(kept.event_id), timeout=PATIENCE)
            assert found == await channel.media.attachment(str(kept.event_id))
            assert (found.state, found.size, found.content_type) == ("fetched", 3, "image/png")
            assert found.path is not None and Path(found.path).read_bytes() == b"png"
            assert found.file_name == "private.png" and found.url == url
            assert "private" not in repr(found) and url not in repr(found)

    in_time(run())


# The widget


def token() -> str:
    """What the CRM gives a page of its, signed as it does."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    now = int(time.time())
    claims = {
        "iss": ORIGIN,
        "aud": "https://chat.example.org",
        "jti": f"jti-{next(NUMBERS)}",
        "iat": now,
        "nbf": now,
        "exp": now + 1800,
        "account_id": 7,
        "user_id": 501,
        "client_uuid": INTEGRATION["client_id"],
    }
    text = ".".join(part(data) for data in (b'{"alg":"HS256"}', json.dumps(claims).encode()))
    key = INTEGRATION["client_secret"].encode()
    return f"{text}.{part(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


def page(password: str = "right") -> tuple[str, str, dict[str, str], bytes, str]:
    body = {"login": "anna", "password": password, "amojo_id": "13fa84f7"}
    headers = {"Origin": ORIGIN, "X-Auth-Token": token()}
    return "POST", "/widget/connect", headers, json.dumps(body).encode(), "192.0.2.7"


def code(answer: amochats.WidgetAnswer) -> tuple[int, str]:
    assert ("access-control-allow-origin", ORIGIN) in answer.headers
    return answer.status, json.loads(answer.body)["error"]["code"]


# Allowed, it comes to whether the CRM has told of the installation.
ALLOWED = (409, "NOT_INSTALLED")
REFUSED = (403, "WRONG_CREDENTIALS")
UNDECIDED = (503, "SERVER_UNAVAILABLE")


def test_a_coroutine_decides_who_may_connect(tmp_path: Path) -> None:
    seen: list[amochats.Attempt] = []

    async def run() -> None:
        async with Channel(linking(tmp_path)) as channel:
            assert code(await channel.widget.handle(*page())) == UNDECIDED
            loop = asyncio.get_running_loop()

            @channel.authorizer
            async def decide(attempt: amochats.Attempt) -> bool:
                assert asyncio.get_running_loop() is loop
                seen.append(attempt)
                return attempt.password == "right"

            assert code(await channel.widget.handle(*page())) == ALLOWED
            assert code(await channel.widget.handle(*page("wrong"))) == REFUSED
            method, path, headers, body, peer = page()
            again = await channel.widget.handle(method, path, list(headers.items()), body, peer)
            assert code(again) == ALLOWED
            assert await channel.widget.serves("/widget/state")
            assert not await channel.widget.serves("/webhook")
            foreign = await channel.widget.handle("GET", "/widget/state?x=1", {}, b"", "::1")
            assert foreign.status == 403
            with pytest.raises(amochats.InvalidArgumentError) as caught:
                await channel.widget.handle(method, path, headers, body, "192.0.2.7:80")
            assert caught.value.field == "peer"

    in_time(run())
    first = seen[0]
    assert (first.login, first.password, first.peer) == ("anna", "right", "192.0.2.7")
    assert (first.crm_account_id, first.crm_user_id, first.origin) == (7, 501, ORIGIN)
    assert (first.client_id, first.account_id) == ("the-integration", "13fa84f7")
    assert "anna" not in repr(first) and "right" not in repr(first)
    assert copy.copy(first) == first == pickle.loads(pickle.dumps(first))


def test_a_function_is_registered_before_the_channel_is_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = Channel(linking(tmp_path))

    @channel.authorizer
    def decide(attempt: amochats.Attempt) -> bool:
        if attempt.password == "broken":
            raise LookupError
        return attempt.password == "right" if attempt.password != "odd" else 1  # type: ignore[return-value]

    with channel as blocking:
        assert code(blocking.widget.handle(*page())) == ALLOWED
        assert code(blocking.widget.handle(*page("wrong"))) == REFUSED
        assert not caplog.records or all(record.name != "amochats.handlers" for record in caplog.records)
        assert code(blocking.widget.handle(*page("broken"))) == UNDECIDED
        assert code(blocking.widget.handle(*page("odd"))) == UNDECIDED

        # Another one takes its place, also a coroutine.
        async def nobody(attempt: amochats.Attempt) -> bool:
            return False

        blocking.authorizer(nobody)
        assert code(blocking.widget.handle(*page())) == REFUSED
    said = [record.exc_info for record in caplog.records if record.name == "amochats.handlers"]
    assert [info[0] for info in said if info] == [LookupError, TypeError]
    with pytest.raises(amochats.ClosedError):
        blocking.widget.serves("/")


def test_nobody_decides_where_no_accounts_are_linked(tmp_path: Path) -> None:
    channel = Channel(config(tmp_path))
    channel.authorizer(lambda attempt: True)
    with pytest.raises(amochats.ConfigError) as caught, channel:
        pass
    assert caught.value.field == "widget.redirect_uri"
    # It was closed: the store is free again.
    with Channel(config(tmp_path)) as other:
        with pytest.raises(amochats.ConfigError):
            other.widget.handle(*page())


# Lives of events


def test_an_event_says_what_became_of_it(tmp_path: Path) -> None:
    with Channel(config(tmp_path)) as channel:
        channel.create_subscription("crm")
        channel.create_subscription("reactions", filter=Filter(kinds=("reaction",)))
        before = datetime.now(timezone.utc)
        bodies = [hook("first"), hook("second")]
        ids = [channel.ingest(body, amochats.sign_body(SECRET, body), "ch_A").event_id for body in bodies]
        first, second = channel.list_summaries()
        assert [first.event_id, second.event_id] == ids
        assert (first.kind, first.scope_id, first.size) == ("message", "ch_A", len(bodies[0]))
        assert (first.conversation_ref_id, first.origin) == ("C", amochats.Origin.WEBHOOK)
        assert [found.event_id for found in channel.list_summaries(newest_first=True)] == ids[::-1]
        assert [found.event_id for found in channel.list_summaries(after=ids[0])] == ids[1:]
        assert list(channel.list_summaries(until=before - timedelta(hours=1))) == []
        assert list(channel.list_summaries(since=before - timedelta(hours=1))) == [first, second]
        assert list(channel.list_summaries(filter=Filter(conversations=("other",)))) == []
        assert list(channel.list_summaries(message_ref_id="none")) == []
        with pytest.raises(amochats.InvalidArgumentError):
            list(channel.list_summaries(since=datetime.now()))

        with channel.events("crm", lease=50) as events:
            event = events.next(PATIENCE)
            assert event is not None
            life = channel.event_life(str(event.event_id))
            assert life.summary == first and life.event == event.event
            crm, reactions = life.deliveries
            assert (crm.subscription, crm.state, crm.attempts) == ("crm", amochats.EventState.LEASED, 1)
            assert crm.until is not None and crm.until > before
            assert crm.handed_out_at is not None and crm.settled_at is None
            assert (reactions.subscription, reactions.state) == ("reactions", "left_out")
            event.ack()
        settled = channel.event_life(str(ids[0])).deliveries[0]
        assert settled.state is amochats.EventState.SETTLED
        assert settled.handed_out_at is not None and settled.settled_at is not None
        assert settled.handed_out_at <= settled.settled_at
        with pytest.raises(amochats.NotFoundError):
            channel.event_life("none")


# While everything runs


def test_channels_and_secrets_change_while_it_runs(tmp_path: Path) -> None:
    def taken(channel: amochats.BlockingChannel, secret: str, scope: str = "ch_A") -> str:
        body = hook()
        return channel.ingest(body, amochats.sign_body(secret, body), scope).outcome

    with Channel(config(tmp_path)) as channel:
        channel.rotate_secret("new-secret", until=datetime.now(timezone.utc) + timedelta(hours=1))
        assert taken(channel, SECRET) == taken(channel, "new-secret") == "kept"
        channel.rotate_secret("newest", until=datetime.now(timezone.utc) - timedelta(hours=1))
        assert taken(channel, "newest") == "kept"
        with pytest.raises(amochats.SignatureError):
            taken(channel, "new-secret")

        second = {"id": "second", "secret": "planted", "base_url": "http://127.0.0.1:1"}
        channel.set_channel(second)
        assert taken(channel, "planted", "second_A") == "kept"
        with pytest.raises(amochats.InvalidArgumentError):
            channel.rotate_secret("which one?")
        for wrong in ({**second, "secret": 7}, {**second, "colour": "planted"}, {"id": None}):
            with pytest.raises(amochats.ConfigError) as caught:
                channel.set_channel(wrong)
            assert "planted" not in str(caught.value)
        channel.remove_channel("second")
        with pytest.raises(amochats.UnknownChannelError):
            taken(channel, "planted", "second_A")
        with pytest.raises(amochats.UnknownChannelError):
            channel.remove_channel("second")


def test_an_account_is_connected_while_it_runs(tmp_path: Path, sandbox: Sandbox) -> None:
    with logged(f"scope={sandbox.scope_id} from=discovered to=connected") as log, Channel(
        sandbox.config(tmp_path)
    ) as channel:
        channel.set_account(sandbox.account_id, connect=True, title="Shop")
        assert log.arrived.wait(PATIENCE)
        [account] = channel.accounts()
        assert (account.scope_id, account.state, account.title) == (sandbox.scope_id, "connected", "Shop")
        channel.remove_account(sandbox.account_id)
        with pytest.raises(amochats.NotFoundError):
            channel.remove_account(sandbox.account_id)
