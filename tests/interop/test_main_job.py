"""Every example does the main job, against a server that is killed and comes back."""

import pytest

from conftest import EXAMPLES, PLANTED, until

ASKED = f"Is my order ready? 🙂 {PLANTED['text']}"
ANSWERED = f"It is, Anna. 🎉 {PLANTED['text']} {PLANTED['phone']} {PLANTED['email']}"
LANGUAGES = ["cpp", "go", "grpcurl", "java", "node", "python", "python-aio", "ruby"]


def test_all_languages_are_here():
    assert LANGUAGES == sorted(folder.name for folder in EXAMPLES.iterdir())


@pytest.mark.parametrize("language", LANGUAGES)
def test_main_job(language, place, run):
    # The JVM says 143 after SIGTERM, however well it went.
    ended = 143 if language == "java" else 0
    client = run(language, ASKED)
    assert client.lines.starting("connected") == ["connected", place.scope_id]
    chat = until("the client's message", place.chats)[0]
    ref = chat["conversation_ref_id"]
    assert chat["conversation_id"] == "c-1"
    assert chat["last_message"]["content"]["text"] == ASKED
    assert client.lines.starting("sent")[1] == chat["last_message"]["message_id"]
    client.lines.starting("subscribed", "crm")

    # Typing is handed out without an id to settle it with.
    place.control("POST", f"/api/chats/{ref}/typing", {})
    settles(place, client, ref, ANSWERED)

    # The manager writes into the void; the server comes back, and so does the client.
    place.kill()
    assert not place.answer(ref, "Are you there?")["hook"]["ok"]
    place.start()
    client.lines.starting("subscribed", "crm")
    settles(place, client, ref, "We are open until eight.")

    assert client.terminate() == ended, client.errors
    # A second one finds the account connected, and nothing that was settled comes again.
    again = run(language, "Thank you!")
    assert again.lines.starting("connected") == ["connected", place.scope_id]
    again.lines.starting("subscribed", "crm")
    settles(place, again, ref, "You are welcome.")
    assert again.terminate() == ended, again.errors
    texts = [line.split(maxsplit=4)[4] for line in client.lines.all + again.lines.all if line.startswith("message ")]
    assert texts == [ANSWERED, "We are open until eight.", "You are welcome."]
    connects = [entry for entry in place.journal(kind="connect") if entry["verdict"]["ok"]]
    assert len(connects) == 1


def settles(place, client, ref, text):
    """The manager answers; the client shows and settles it, and the manager sees it delivered."""
    answer = place.answer(ref, text)
    assert answer["hook"]["ok"], answer
    words = client.lines.until(lambda line: line.startswith("message "), "a message").split(maxsplit=4)
    assert words[2:] == ["c-1", answer["message_ref_id"], text]
    assert client.lines.starting("settled") == ["settled", words[1]]
    until("the tick", lambda: place.delivery(ref, answer["message_ref_id"]) == "delivered")
