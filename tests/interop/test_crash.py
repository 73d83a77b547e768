"""`kill -9` of the server under a consumer in another language, while managers write.

What was answered 200, as the sandbox's journal has it, against what the consumer was handed and what it
has confirmed. INTEROP_SEED repeats a run.
"""

import os
import random
import threading
from collections import defaultdict

import pytest

from conftest import PLANTED, until

KILLS = 6
CHATS = 8
# The managers' messages in each life of the server, so that all fit into the journal.
MESSAGES = 50


class Managers:
    """One in each chat, who writes one message after the other while there are some left to write."""

    def __init__(self, place, chats):
        self._left = threading.Semaphore(0)
        self._up = threading.Event()
        self._done = False
        self._threads = [threading.Thread(target=self._write, args=(place, *chat)) for chat in enumerate(chats)]
        for thread in self._threads:
            thread.start()

    def write(self, messages):
        self._left.release(messages)
        self._up.set()

    def pause(self):
        """The webhooks that are under way go on, and no other is sent."""
        self._up.clear()

    def end(self):
        self._done = True
        self._up.set()
        self._left.release(len(self._threads))
        for thread in self._threads:
            thread.join()

    def _write(self, place, number, chat):
        place_in_chat = 0
        while self._left.acquire() and self._up.wait() and not self._done:
            place_in_chat += 1
            place.answer(chat, f"{number} {place_in_chat}")


@pytest.mark.parametrize("language", ["python", "go"])
def test_kills_break_no_promise(language, place, run):
    seed = int(os.environ.get("INTEROP_SEED", random.randrange(1 << 32)))
    print(f"INTEROP_SEED={seed}")
    rng = random.Random(seed)
    client = run(language, "Is my order ready?")
    client.lines.starting("subscribed")
    for number in range(1, CHATS):
        message = {
            "message_id": f"first-{number}",
            "conversation_id": f"c-{number + 1}",
            "sender": {
                "user_id": f"u-{number + 1}", "name": "Client", "phone": PLANTED["phone"], "email": PLANTED["email"],
            },  # fmt: skip
            "content": {"text": {"text": PLANTED["text"]}},
        }
        place.call("ChannelService/SendMessage", {"scope": {"account_id": place.account_id}, "message": message})
    until("all chats", lambda: len(place.chats()) == CHATS)
    managers = Managers(place, [chat["conversation_ref_id"] for chat in place.chats()])

    for _ in range(KILLS):
        managers.write(MESSAGES)
        for _ in range(rng.randrange(1, MESSAGES // 2)):
            client.lines.starting("settled")
        managers.pause()
        place.kill()
        place.start()
        client.lines.starting("subscribed")
    managers.write(MESSAGES)
    client.lines.starting("settled")
    managers.end()

    hooks = place.webhooks()
    kept = {message for message, status in hooks if status == 200}
    unclear = {message for message, status in hooks if status is None}
    assert len(kept) + len(unclear) == len(hooks), "answered otherwise, or sent twice"
    assert len(unclear) <= KILLS * CHATS, "not answered, though the server was there"
    until("settlement of everything", lambda: unsettled(place) == 0)
    until("the ticks", lambda: kept <= place.delivered())
    assert client.terminate() == 0, client.errors

    handed, confirmed = read(client.lines.all)
    print(f"{len(kept)} answered 200, {len(unclear)} unclear, {len(handed)} handed out, {len(confirmed)} confirmed")
    assert kept <= handed, "answered 200 and lost"
    assert handed <= kept | unclear, "out of nowhere"
    # All is settled; where the server died before it could confirm that, the client never learned it.
    assert confirmed <= handed
    assert len(handed - confirmed) <= KILLS * 100, "more than a stream holds"
    assert len(kept) > MESSAGES and len(confirmed) > MESSAGES, "there was something to lose"


def unsettled(place):
    (subscription,) = place.call("InboxService/ListSubscriptions", {})["subscriptions"]
    return int(subscription.get("unsettled", 0))


def read(lines):
    """What a client was handed and what was confirmed to it; each line is held against the promises."""
    handed, confirmed, by_ack_id, newest = set(), set(), {}, defaultdict(int)
    for line in lines:
        if line.startswith("message "):
            _, ack_id, _, ref, text = line.split(maxsplit=4)
            chat, number = map(int, text.split())
            assert ref not in confirmed, f"{text} came back after its settlement was confirmed"
            assert number >= newest[chat], f"{text} came after {newest[chat]}"
            newest[chat] = number
            handed.add(ref)
            by_ack_id[ack_id] = ref
        elif line.startswith("settled "):
            confirmed.add(by_ack_id[line.split()[1]])
        else:
            assert not line.startswith("not settled"), line
    return handed, confirmed
