"""The whole channel in the process, against a sandbox."""

import asyncio
import contextlib
import copy
import dataclasses
import json
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import amochats
import pytest
from amochats import Channel, Filter, MessageEvent, NewMessage, Sender, Text
from planted import PLANTED
from sandbox import PATIENCE, Sandbox

ROOT = Path(__file__).resolve().parents[2]
ANNA = Sender("u-1", "Anna", phone=PLANTED["phone"], email=PLANTED["email"])
# Refused events come again at once.
QUICK = {"inbox": {"min_delay_ms": 1, "max_delay_ms": 1}}


def message(number: int = 1, chat: int = 1) -> NewMessage:
    return NewMessage(f"c-{chat}", f"m-{chat}-{number}", ANNA, Text(f"message {number}"))


async def begin(channel: Channel, sandbox: Sandbox, chats: int = 1) -> list[str]:
    """Connects, and has a client write in so many chats; gives their ids on the other side."""
    sandbox.webhooks_to(channel.listener_url)
    await channel.connect(sandbox.account_id, title="Shop")
    items = [
        await channel.send_message(sandbox.scope_id, message(chat=chat)) for chat in range(1, chats + 1)
    ]
    sent = [await channel.outbox.wait(item, timeout=PATIENCE) for item in items]
    assert {item.state for item in sent} == {"sent"}
    return [str(item.conversation_ref_id) for item in sent]


def in_time(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, PATIENCE))


# The main job


def main_job(tmp_path: Path, sandbox: Sandbox) -> "subprocess.Popen[str]":
    config = tmp_path / "amochats.toml"
    config.write_text(
        f"""
        listener.address = "127.0.0.1:0"
        admin.address = "127.0.0.1:0"
        store.path = "{tmp_path}/amochats.db"
        log.level = "info"
        [[channel]]
        id = "{sandbox.channel_id}"
        base_url = "{sandbox.api}"
        """
    )
    program = ROOT / "python/examples/main_job.py"
    return subprocess.Popen(
        [sys.executable, "-I", "-W", "error", program, config, sandbox.account_id],
        env={"AMOCHATS_SECRET": sandbox.secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_main_job_is_a_short_script(tmp_path: Path, sandbox: Sandbox) -> None:
    program = main_job(tmp_path, sandbox)
    assert program.stdout is not None and program.stderr is not None
    _, listener = program.stdout.readline().split()
    sandbox.webhooks_to(listener)
    state, chat = program.stdout.readline().split()
    assert state == "sent"
    sandbox.answer(chat, "It is.")
    assert program.stdout.readline() == "to c-1: It is.\n"
    program.send_signal(signal.SIGINT)
    assert program.wait(PATIENCE) != 0
    assert "KeyboardInterrupt" in program.stderr.read()
    program.stdout.close()
    program.stderr.close()
    lines = (ROOT / "python/examples/main_job.py").read_text().split('"""')[2].split("\n")
    assert len([line for line in lines if line.strip() and "import" not in line]) <= 25


WORKER = """
import asyncio, json, sys
import amochats

async def main():
    async with amochats.Channel(json.loads(sys.argv[1])) as channel:
        print(channel.listener_url, flush=True)
        async for event in channel.events("crm", create=True):
            print("got", event.text, flush=True)
            await event.ack()
            print("done", event.text, flush=True)

asyncio.run(main())
"""


class Worker:
    def __init__(self, config: dict[str, Any]) -> None:
        command = [sys.executable, "-I", "-W", "error", "-c", WORKER, json.dumps(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.out = self.process.stdout
        self.listener = self.out.readline().strip()

    def kill(self) -> list[str]:
        """`kill -9`; gives what it had said until then."""
        self.process.send_signal(signal.SIGKILL)
        rest = self.out.read().splitlines()
        self.process.wait(PATIENCE)
        self.out.close()
        return rest


def texts(lines: list[str], what: str) -> set[str]:
    return {line.split()[1] for line in lines if line.startswith(f"{what} ")}


def test_nothing_is_lost_by_kill_9(tmp_path: Path, sandbox: Sandbox) -> None:
    config = sandbox.config(tmp_path)

    async def prepare() -> list[str]:
        async with Channel(config) as channel:
            return await begin(channel, sandbox, 3)

    chats = in_time(prepare())
    worker = Worker(config)
    sandbox.webhooks_to(worker.listener)
    for number in range(12):
        sandbox.answer(chats[number % 3], f"{number}")
    said = [worker.out.readline().strip() for _ in range(5)]
    said += worker.kill()
    # Nobody listens: these are read from the history at the next start.
    for number in range(12, 15):
        sandbox.answer(chats[number % 3], f"{number}")
    confirmed = texts(said, "done")
    worker = Worker(config)
    after: list[str] = []
    # What was settled just before the kill need not have been said to be.
    while len(texts(said + after, "got")) < 15:
        after.append(worker.out.readline().strip())
        assert after[-1], "it ended"
    worker.kill()
    assert not confirmed & texts(after, "got"), "what was confirmed does not come again"
    assert texts(said + after, "got") == {f"{number}" for number in range(15)}


# Events


def test_events_come_typed_and_are_settled_once(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            [chat] = await begin(channel, sandbox)
            sandbox.answer(chat, PLANTED["text"])
            async with channel.events("crm", create=True) as events:
                event = await events.next(PATIENCE)
                assert isinstance(event, MessageEvent)
                assert isinstance(event, amochats.DeliveredMessage)
                assert (event.text, event.conversation_id, event.attempt) == (PLANTED["text"], "c-1", 1)
                assert event.scope_id == sandbox.scope_id and event.origin is amochats.Origin.WEBHOOK
                assert event.received_at is not None and event.received_at.tzinfo is timezone.utc
                assert PLANTED["text"] not in repr(event)
                assert event.raw.startswith(b"{")

                # Nothing else is there; giving up the wait loses nothing.
                sandbox.answer(chat, "second")
                with pytest.raises(amochats.RequestTimeoutError):
                    await events.next(0.05)
                event.extend(120)
                item = await event.ack(status="read")
                assert item is not None and item.call == "set_delivery_status"
                with pytest.raises(amochats.MisuseError):
                    await event.ack()
                second = await events.next(PATIENCE)
                assert isinstance(second, MessageEvent) and second.text == "second"
                assert (await channel.outbox.wait(item, timeout=PATIENCE)).state == "sent"

                # A copy is the event alone.
                for again in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
                    assert type(again) is MessageEvent
                    assert again == event.event and hash(again) == hash(event.event)
                    assert again.raw == event.raw and again.event_id == event.event_id
            # What was not settled comes again, and that was no attempt.
            async with channel.events("crm") as events:
                again = await events.next(PATIENCE)
                assert again is not None and (again.event_id, again.attempt) == (second.event_id, 1)
                # Stopping to iterate does not end the lease.
                await again.ack()

    in_time(run())


def test_who_gives_up_waiting_loses_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            [chat] = await begin(channel, sandbox)
            await channel.create_subscription("crm")
            events = channel.events("crm")
            texts = [str(number) for number in range(30)]

            async def write() -> None:
                for text in texts:
                    await asyncio.to_thread(sandbox.answer, chat, text)

            writing = asyncio.create_task(write())
            got: list[str] = []
            while len(got) < len(texts):
                waiting = asyncio.ensure_future(events.next())
                await asyncio.sleep(0)
                if not waiting.done() and len(got) % 2:
                    waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    event = await waiting
                    assert isinstance(event, amochats.DeliveredMessage)
                    got.append(event.text)
                    await event.ack()
                    continue
                event = await events.next()
                assert isinstance(event, amochats.DeliveredMessage)
                got.append(event.text)
                await event.ack()
            await writing
            assert got == texts

    in_time(run())


def hook(number: int, chat: int) -> bytes:
    inner = {"id": f"M-{number}", "type": "text", "text": f"{number}"}
    return json.dumps({"account_id": "A", "message": {"conversation": {"id": f"C-{chat}"}, "message": inner}}).encode()


def test_several_events_are_acknowledged_together(tmp_path: Path) -> None:
    async def run() -> None:
        async with Channel({**config(tmp_path), **QUICK}) as channel:
            for number in range(12):
                body = hook(number, chat=number % 6)
                await channel.ingest(body, amochats.sign_body("channel-secret", body), "ch_A")
            async with channel.events("crm", create=True) as events:
                # One of each conversation, whatever number of batches they come in.
                first: list[amochats.Delivered] = []
                while len(first) < 6:
                    batch = await events.next_batch(4, timeout=PATIENCE)
                    assert 1 <= len(batch) <= 4
                    first += batch
                assert texts_of(first) == ["0", "1", "2", "3", "4", "5"]
                with pytest.raises(amochats.RequestTimeoutError):
                    await events.next_batch(timeout=0.05)

                # One was settled behind the back of its object, as if its lease had ended.
                await twin_of(first[3]).ack()
                assert await events.ack_all(first) == [first[3]]
                assert [event.settled for event in first] == [True] * 3 + [False] + [True] * 2
                assert await events.ack_all([]) == []

                # The next of each conversation comes, and nothing that was acknowledged.
                following: list[amochats.Delivered] = []
                while len(following) < 6:
                    following += await events.next_batch(timeout=PATIENCE)
                assert texts_of(following) == ["10", "11", "6", "7", "8", "9"]
                # None, where one was settled before.
                await following[0].ack()
                with pytest.raises(amochats.MisuseError):
                    await events.ack_all(following)
                assert not following[1].settled
                assert await events.ack_all(following[1:]) == []
            assert (await channel.list_subscriptions())[0].unsettled == 0
            with pytest.raises(amochats.InvalidArgumentError) as caught:
                await events.next_batch(0)
            assert caught.value.field == "limit"
            assert await events.next_batch() == []

    in_time(run())


def test_the_bytes_that_are_outstanding_are_bounded(tmp_path: Path) -> None:
    with Channel(config(tmp_path)) as channel:
        for number in range(3):
            body = hook(number, chat=number)
            channel.ingest(body, amochats.sign_body("channel-secret", body), "ch_A")
        events = channel.events("crm", create=True, max_outstanding_bytes=1)
        for number in range(3):
            # One is never too large.
            event = events.next(PATIENCE)
            assert isinstance(event, amochats.BlockingDeliveredMessage) and event.text == str(number)
            assert 'amochats_subscription_outstanding{subscription="crm"} 1\n' in channel.metrics()
            event.ack()
        events.close()


def texts_of(events: list[amochats.Delivered]) -> list[str]:
    return sorted(event.text for event in events if isinstance(event, amochats.DeliveredMessage))


def twin_of(event: amochats.Delivered) -> amochats.Delivered:
    """The same delivery as another object."""
    twin: amochats.Delivered = object.__new__(type(event))
    lease = object.__new__(type(event._lease))
    for name in type(lease).__slots__:
        setattr(lease, name, getattr(event._lease, name))
    for field in dataclasses.fields(event):
        object.__setattr__(twin, field.name, getattr(event, field.name))
    object.__setattr__(twin, "_lease", lease)
    return twin


def test_batches_in_a_blocking_program(tmp_path: Path) -> None:
    with Channel(config(tmp_path)) as channel:
        for number in range(3):
            body = hook(number, chat=number)
            channel.ingest(body, amochats.sign_body("channel-secret", body), "ch_A")
        events = channel.events("crm", create=True)
        acknowledged = 0
        while acknowledged < 3:
            batch = events.next_batch(timeout=PATIENCE)
            assert batch and events.ack_all(event for event in batch) == []
            acknowledged += len(batch)
        assert channel.list_subscriptions()[0].unsettled == 0
        threading.Thread(target=channel.close).start()
        assert events.next_batch() == []


def test_who_waits_for_a_call_hears_of_its_end(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            [chat] = await begin(channel, sandbox)
            broken = {"on": "api", "fault": "status", "value": 503, "probability": 1.0}
            sandbox.control("PUT", "/api/faults", {"seed": 1, "rules": [broken]})
            # Those at the head are tried again and again; the others wait behind the first.
            first, second, third, other = [
                await channel.send_message(sandbox.scope_id, sent)
                for sent in (message(2), message(3), message(4), message(1, chat=2))
            ]
            waits = [asyncio.create_task(channel.outbox.wait(item)) for item in (second, third, other)]
            cancelled = await channel.outbox.cancel(second)
            assert await waits[0] == cancelled and cancelled.state == "cancelled"
            # The conversation is deleted, and what waits in it; of the first, only where it is not on its way.
            await channel.purge(sandbox.scope_id, str(first.conversation_id))
            with pytest.raises(amochats.NotFoundError):
                await waits[1]
            assert not waits[2].done()
        with pytest.raises(amochats.ClosedError):
            await waits[2]

    in_time(run())


def test_a_refused_event_comes_again_and_at_last_is_a_dead_letter(tmp_path: Path, sandbox: Sandbox) -> None:
    config = sandbox.config(tmp_path, inbox={**QUICK["inbox"], "max_attempts": 2})

    async def run() -> None:
        async with Channel(config) as channel:
            [chat] = await begin(channel, sandbox)
            sandbox.answer(chat, "one")
            sandbox.answer(chat, "two")
            async with channel.events("crm", create=True) as events:
                first = ""
                for attempt in (1, 2):
                    event = await events.next(PATIENCE)
                    assert isinstance(event, amochats.DeliveredMessage) and event.text == "one"
                    assert event.attempt == attempt
                    first = str(event.event_id)
                    await event.nack(delay=0)
                two = await events.next(PATIENCE)
                assert isinstance(two, MessageEvent) and two.text == "two"
                await two.dead()
                letters = [letter async for letter in channel.dead_letters("crm")]
                assert [letter.attempts for letter in letters] == [2, 1]
                assert [letter.event.event_id for letter in letters] == [first, two.event_id]
                assert (await channel.list_subscriptions())[0].dead == 2
                assert await channel.requeue("crm", letters[:1]) == 1
                again = await events.next(PATIENCE)
                assert again is not None and again.again and again.event_id == first
                await again.ack()
                assert await channel.drop_dead_letters("crm") == 1
                assert [letter async for letter in channel.dead_letters("crm")] == []

    in_time(run())


def test_subscriptions_filter_and_replay(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            chats = await begin(channel, sandbox, 2)
            assert await channel.create_subscription("second", filter=Filter(conversations=("c-2",)))
            assert not await channel.create_subscription("second")
            assert await channel.create_subscription("results", filter=Filter(kinds=("outbox",)), start="now")
            for text in ("a", "b"):
                for chat in chats:
                    sandbox.answer(chat, text)
            for again in (False, True):
                async with channel.events("second") as events:
                    for text in ("a", "b"):
                        event = await events.next(PATIENCE)
                        assert isinstance(event, amochats.DeliveredMessage)
                        assert (event.conversation_id, event.text, event.again) == ("c-2", text, again)
                        await event.ack()
                if not again:
                    assert await channel.replay("second") >= 2
            past = datetime.now(timezone.utc) + timedelta(hours=1)
            assert await channel.replay("second", start=past) == 0

            item = await channel.send_message(sandbox.scope_id, message(2))
            result = await channel.events("results").next(PATIENCE)
            assert isinstance(result, amochats.OutboxEvent)
            assert (result.item.item_id, result.item.state) == (item.item_id, "sent")
            assert result.to_dict()["item"]["state"] == "sent"

            kept = [event async for event in channel.list_events()]
            found = await channel.get_event(str(kept[0].event_id))
            assert found == kept[0] and found.raw == kept[0].raw
            assert await channel.get_event("nothing") is None
            names = [subscription.name for subscription in await channel.list_subscriptions()]
            assert names == ["results", "second"]
            assert await channel.purge(sandbox.scope_id, "c-2") >= 2
            await channel.delete_subscription("second")
            with pytest.raises(amochats.SubscriptionNotFoundError):
                await channel.events("second").next(PATIENCE)

    in_time(run())


def test_typing_and_reactions(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            [chat] = await begin(channel, sandbox)
            async with channel.events() as events:
                sandbox.control("POST", f"/api/chats/{chat}/typing", {})
                typing = await events.next(PATIENCE)
                assert isinstance(typing, amochats.TypingEvent) and typing.conversation_id == "c-1"
                # Handed out live: nothing is there to be settled.
                await typing.ack()
                ref_id = sandbox.messages(chat)[0]["message_ref_id"]
                body = {"message_ref_id": ref_id, "emoji": "👍"}
                sandbox.control("POST", f"/api/chats/{chat}/reactions", body)
                reaction = await events.next(PATIENCE)
                assert isinstance(reaction, amochats.ReactionEvent)
                assert (reaction.type, reaction.emoji) == (amochats.ReactionType.REACT, "👍")

    in_time(run())


# Functions


def test_functions_are_called_in_order_and_beside_each_other(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        channel = Channel(sandbox.config(tmp_path, **QUICK))
        seen: dict[str, list[str]] = {"c-1": [], "c-2": []}
        begun: set[str | None] = set()
        both = asyncio.Event()
        failed: list[str] = []
        done = asyncio.Event()

        @channel.on_message
        async def answer(event: amochats.DeliveredMessage) -> str:
            if event.text == "0":
                # Ends only where both chats are worked on at the same time.
                begun.add(event.conversation_id)
                if len(begun) == 2:
                    both.set()
                await both.wait()
            if event.text == "1" and event.conversation_id not in failed:
                failed.append(str(event.conversation_id))
                raise ValueError("the first time")
            seen[str(event.conversation_id)].append(event.text)
            if all(len(texts) == 4 for texts in seen.values()):
                done.set()
            return "delivered"

        async with channel:
            chats = await begin(channel, sandbox, 2)
            working = asyncio.create_task(channel.run("crm", concurrency=8))
            for text in range(4):
                for chat in chats:
                    await asyncio.to_thread(sandbox.answer, chat, str(text))
            await done.wait()
            items = [item async for item in channel.outbox.list(scope_id=sandbox.scope_id)]
            reports = [item for item in items if item.call == "set_delivery_status"]
            assert len(reports) >= 6
        # It ends with the channel.
        await working
        assert seen == {chat: ["0", "1", "2", "3"] for chat in ("c-1", "c-2")}
        assert sorted(failed) == ["c-1", "c-2"]

    in_time(run())


def test_a_cancelled_run_gives_back_what_is_worked_on(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            [chat] = await begin(channel, sandbox)
            started = asyncio.Event()

            @channel.on_event
            async def hang(event: amochats.Delivered) -> None:
                started.set()
                await asyncio.Event().wait()

            working = asyncio.create_task(channel.run("crm"))
            sandbox.answer(chat, "one")
            await started.wait()
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            event = await channel.events("crm").next(PATIENCE)
            assert event is not None and event.attempt == 1

    in_time(run())


def test_the_blocking_channel(tmp_path: Path, sandbox: Sandbox) -> None:
    with Channel(sandbox.config(tmp_path, **QUICK)) as channel:
        sandbox.webhooks_to(channel.listener_url)
        scope_id = channel.connect(sandbox.account_id, title="Shop").scope_id
        sent = channel.outbox.wait(channel.send_message(scope_id, message()), timeout=PATIENCE)
        chat = str(sent.conversation_ref_id)
        sandbox.answer(chat, "first")
        for event in channel.events("crm", create=True):
            assert isinstance(event, amochats.BlockingDeliveredMessage)
            assert event.text == "first"
            item = event.ack("delivered")
            assert item is not None
            break

        texts: list[str] = []
        failed = threading.Event()

        @channel.on_message
        def answer(event: amochats.BlockingDeliveredMessage) -> None:
            if not failed.is_set():
                failed.set()
                raise ValueError("the first time")
            texts.append(event.text)
            if len(texts) == 3:
                channel.close()

        for text in ("a", "b", "c"):
            sandbox.answer(chat, text)
        channel.run("crm", concurrency=2)
        assert texts == ["a", "b", "c"] and failed.is_set()


# Sending, accounts, webhooks of another server


def test_the_outbox_reports_what_became_of_a_call(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            [chat] = await begin(channel, sandbox)
            outbox = channel.outbox
            # The same message is the same item.
            again = await channel.send_message(sandbox.scope_id, message())
            assert again.state == "sent"
            with pytest.raises(amochats.InvalidArgumentError) as caught:
                await channel.send_message(
                    sandbox.scope_id, NewMessage("c-1", "m-1-1", ANNA, Text("other words"))
                )
            assert caught.value.field == "payload.msgid" and "other words" not in str(caught.value)

            reaction = amochats.Reaction(
                conversation_id="c-1", message_id="not there", user_id="u-1", emoji="👍"
            )
            item = await outbox.enqueue(sandbox.scope_id, reaction, key="r-1")
            ended = await outbox.wait(item, timeout=PATIENCE)
            assert (ended.key, ended.state, ended.state.is_final) == ("r-1", "rejected", True)
            assert ended.problem is not None and ended.problem.kind == "NOT_FOUND"
            assert ended.problem.http_status == 404
            assert await outbox.get(item) == ended
            with pytest.raises(amochats.MisuseError):
                await outbox.cancel(item)
            with pytest.raises(amochats.NotFoundError):
                await outbox.get("nothing")
            rejected = [found async for found in outbox.list(states=["rejected"])]
            assert rejected == [ended]

            # The service does not answer: what waits can be taken back.
            broken = {"on": "api", "fault": "status", "value": 503, "probability": 1.0}
            sandbox.control("PUT", "/api/faults", {"seed": 1, "rules": [broken]})
            first, second = [
                await channel.send_message(sandbox.scope_id, message(number)) for number in (2, 3)
            ]
            assert (await outbox.cancel(second)).state == "cancelled"
            with pytest.raises(amochats.RequestTimeoutError):
                await outbox.wait(first, timeout=0.01)

    in_time(run())


def test_accounts_and_metrics(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        async with Channel(sandbox.config(tmp_path)) as channel:
            await begin(channel, sandbox)
            [account] = await channel.accounts()
            assert (account.scope_id, account.state, account.title) == (
                sandbox.scope_id,
                amochats.AccountState.CONNECTED,
                "Shop",
            )
            assert account.since is not None
            text = await channel.metrics()
            assert 'amochats_outbox_ended_total{call="send_message",state="sent"} 1' in text
            assert channel.admin_url.startswith("http://127.0.0.1:")
            assert channel.reload(sandbox.config(tmp_path)) == []
            assert channel.reload({**sandbox.config(tmp_path), "outbox": {"rate": 5.0}}) == ["outbox"]
            with pytest.raises(amochats.ConfigError):
                channel.reload({})
            progress = await channel.backfill()
            assert progress.failed == 0
            page = await channel.client().history_page(
                sandbox.scope_id, sandbox.chats()[0]["conversation_ref_id"]
            )
            assert len(page.messages) == 1
            with pytest.raises(amochats.UnknownChannelError):
                channel.client("another")
            await channel.disconnect(sandbox.account_id)
            assert (await channel.accounts())[0].state == "disconnected"
            await channel.forget_account(sandbox.scope_id)
            assert await channel.accounts() == []

    in_time(run())


def test_what_is_fetched_back_beside_webhooks_v1_may_have_been_told(tmp_path: Path, sandbox: Sandbox) -> None:
    async def run() -> None:
        config = sandbox.config(tmp_path, backfill={"v1_hooks": True})
        async with Channel(config) as channel, channel.events("crm", create=True) as stream:
            sandbox.webhooks_to(channel.listener_url)
            await channel.connect(sandbox.account_id, title="Shop", hook_version="v1")
            item = await channel.send_message(sandbox.scope_id, message())
            chat = str((await channel.outbox.wait(item, timeout=PATIENCE)).conversation_ref_id)
            sandbox.answer(chat, "heard")
            heard = await stream.next(PATIENCE)
            assert isinstance(heard, amochats.DeliveredMessage)
            assert (heard.text, heard.api_version, heard.possible_duplicate) == ("heard", "v1", False)
            await heard.ack()
            sandbox.webhooks_to("http://127.0.0.1:9")
            sandbox.answer(chat, "missed")
            await channel.backfill()
            missed = await stream.next(PATIENCE)
            assert isinstance(missed, amochats.DeliveredMessage)
            assert (missed.text, missed.origin, missed.possible_duplicate) == ("missed", "backfill", True)
            assert missed.to_dict()["possible_duplicate"] is True
            await missed.ack()

    in_time(run())


HOOK = b'{"account_id":"A","message":{"conversation":{"id":"C"},"message":{"id":"M","type":"text","text":"hi"}}}'


def config(tmp_path: Path) -> dict[str, Any]:
    return {
        "listener": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "store": {"path": tmp_path / "amochats.db"},
        "channel": [{"id": "ch", "secret": "channel-secret", "base_url": "http://127.0.0.1:1"}],
    }


def test_webhooks_of_another_server_are_kept_before_the_return(tmp_path: Path) -> None:
    signature = amochats.sign_body("channel-secret", HOOK)
    with Channel(config(tmp_path)) as channel:
        kept = channel.ingest(HOOK, signature, "ch_A")
        assert kept.outcome == "kept" and kept.event_id is not None
        assert channel.ingest(bytearray(HOOK + b"\n"), signature, "ch_A").outcome == "duplicate"
        with pytest.raises(amochats.SignatureMismatchError):
            channel.ingest(HOOK, "0" * 40, "ch_A")
        with pytest.raises(amochats.SignatureMissingError):
            channel.ingest(HOOK, None, "ch_A")
        with pytest.raises(amochats.UnknownChannelError):
            channel.ingest(HOOK, signature, "other_A")
        # What is signed is kept whatever it holds.
        odd = b"{odd \xff"
        assert channel.ingest(odd, amochats.sign_body("channel-secret", odd), "ch_A").outcome == "kept"
        message, unknown = list(channel.list_events())
        assert isinstance(message, MessageEvent) and message.event_id == kept.event_id
        assert isinstance(unknown, amochats.UnknownEvent) and unknown.raw == odd


# Mistakes


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"listner": {}}, None),
        ({"listener": {"adress": "x"}}, "listener"),
        ({"channel": []}, "channel"),
        ({"inbox": {"max_attempts": "many"}}, "inbox.max_attempts"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, change: dict[str, Any], field: str | None) -> None:
    with pytest.raises(amochats.ConfigError) as caught:
        Channel({**config(tmp_path), **change})
    assert caught.value.field == field and caught.value.code == "CONFIG_INVALID"
    assert "channel-secret" not in str(caught.value)


def test_a_configuration_can_be_a_text_a_file_or_a_dict(tmp_path: Path) -> None:
    text = '[[channel]]\nid = "ch"\nregion = "ru"\n[grpc]\naddress = "127.0.0.1:0"\n'
    with pytest.raises(amochats.ConfigError) as caught:
        Channel(text)
    assert caught.value.field == "channel.secret"
    Channel(text, environ={"AMOCHATS_SECRET": "s", "PATH": "x"})
    file = tmp_path / "a.toml"
    file.write_text(text + '[inbox]\nmax_attempts = "x"\n')
    with pytest.raises(amochats.ConfigError):
        Channel(file, environ={"AMOCHATS_SECRET": "s"})
    for wrong in (7, None, b"x", {"channel": [{"id": {1}}]}):
        with pytest.raises(TypeError):
            Channel(wrong)  # type: ignore[arg-type]


def test_a_channel_is_open_once(tmp_path: Path) -> None:
    channel = Channel(config(tmp_path))
    calls: list[Callable[[], object]] = [
        lambda: channel.listener_url,
        lambda: channel.events("crm"),
        lambda: asyncio.run(channel.accounts()),
    ]
    for call in calls:
        with pytest.raises(amochats.MisuseError):
            call()
    with channel as blocking:
        with pytest.raises(amochats.StoreLockedError):
            with Channel(config(tmp_path)):
                pass
        events = blocking.events("crm", create=True)
        threading.Timer(0.05, blocking.close).start()
        assert list(events) == []
    for call in calls:
        with pytest.raises(amochats.ClosedError):
            call()
    with pytest.raises(amochats.MisuseError), channel:
        pass

