"""The sample of the first generation, in PHP as its pages had it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import PLANTED

SCRIPT = Path(__file__).with_name("gen1.php")


def test_connect_send_and_answer(start: Callable) -> None:
    sandbox = start("--personality", "gen1")

    def php(*args: str, stdin: bytes = b"") -> Any:
        command = ["php", str(SCRIPT), *args]
        ended = subprocess.run(command, env=sandbox.environment(), input=stdin, capture_output=True, timeout=60)
        assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
        return json.loads(ended.stdout)

    connected, sent = php("connect")
    assert connected == {"account_id": sandbox.account_id, "scope_id": sandbox.scope_id}
    assert list(sent["new_message"]) == ["msgid"]
    [chat] = sandbox.chats()
    assert chat["client"]["phone"] == PLANTED["phone"].removeprefix("+")

    hook = sandbox.answer(chat["conversation_ref_id"], "Yes, of course. This is just what I was looking for")
    hook.check(sandbox.secret)
    assert hook.path == f"/hooks/{sandbox.scope_id}"
    read, _ = php("answer", hook.signature, stdin=hook.body)
    documented = [
        "receiver", "conversation_id", "type", "text", "media", "thumbnail", "file_name", "file_size",
    ]  # fmt: skip
    assert set(documented) <= set(read)
    assert (read["receiver"], read["conversation_id"]) == ("U1", "c-1")
    # In any order: the first generation counts seconds.
    texts = {message["content"]["text"] for message in sandbox.messages(chat["conversation_ref_id"])}
    assert texts == {PLANTED["text"], read["text"], f"You said: {read['text']}"}
