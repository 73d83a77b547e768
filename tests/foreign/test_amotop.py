"""npm's @mobilon-dev/amotop: all that its clients of the chats API can do, and of the CRM's what a channel needs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_node(sandbox: Any, script: str, **also: str) -> dict[str, Any]:
    ended = subprocess.run(
        ["node", Path(__file__).with_name(script)],
        env=sandbox.environment() | also,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_all_that_it_can_do(start: Callable) -> None:
    sandbox = start()
    said = run_node(sandbox, "amotop.js")
    assert said["methods"] > 30
    assert said["connected"]["scope_id"] == sandbox.scope_id
    chat = said["conversationId"]
    # It names the chat by amoCRM's id and by a new own one each time.
    assert {sent["new_message"]["conversation_id"] for sent in said["sent"]} == {chat}
    assert len(said["history"]["messages"]) == len(said["sent"]) == 15
    kinds = [message["content"]["type"] for message in sandbox.messages(chat)]
    assert kinds == ["text"] * 3 + ["picture"] * 3 + ["video"] * 3 + ["voice"] * 3 + ["text"] * 3


def test_the_crm(start: Callable) -> None:
    # It makes more calls in a second than the CRM takes.
    sandbox = start("--switch", "crm_requests_per_second=null")
    client_id = sandbox.control("GET", "/api/crm/integrations")["integrations"][0]["client_id"]
    token = sandbox.control("POST", f"/api/crm/integrations/{client_id}/token", {"days": 1})["token"]
    chat = run_node(sandbox, "amotop.js")["conversationId"]
    said = run_node(sandbox, "amotop_crm.js", CRM_TOKEN=token, CHAT_ID=chat)
    assert said == {"amojo_id": sandbox.account_id, "linked": [chat]}
