"""npm's @mobilon-dev/amotop, all that its clients of the chats API can do."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path


def test_all_that_it_can_do(start: Callable) -> None:
    sandbox = start()
    script = Path(__file__).with_name("amotop.js")
    ended = subprocess.run(
        ["node", script], env=sandbox.environment(), capture_output=True, encoding="utf-8", timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["methods"] > 30
    assert said["connected"]["scope_id"] == sandbox.scope_id
    chat = said["conversationId"]
    # It names the chat by amoCRM's id and by a new own one each time.
    assert {sent["new_message"]["conversation_id"] for sent in said["sent"]} == {chat}
    assert len(said["history"]["messages"]) == len(said["sent"]) == 15
    kinds = [message["content"]["type"] for message in sandbox.messages(chat)]
    assert kinds == ["text"] * 3 + ["picture"] * 3 + ["video"] * 3 + ["voice"] * 3 + ["text"] * 3
