"""The vendor's own signed requests, as published, over a raw connection."""

import hashlib
import hmac
import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

VECTORS = Path(__file__).parent.parent / "vectors" / "signing"
RECORDED = sorted(VECTORS.glob("vendor-*.json"))


def test_there_is_one_of_each_kind() -> None:
    calls = {json.loads(path.read_text())["input"]["path"].split("?")[0].rsplit("/", 1)[1] for path in RECORDED}
    assert {"connect", "disconnect", "chats", "typing", "history"} <= calls
    # A message goes to the scope itself.
    assert any("_" in call for call in calls)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_it_is_taken_as_genuine(path: Path, start: Callable) -> None:
    case = json.loads(path.read_text())
    request, headers = case["input"], case["expected"]["headers"]
    body = request.get("body", "").encode()
    channel, _, account = request["path"].split("/")[4].partition("_")
    account = account or json.loads(body)["account_id"]
    sandbox = start(
        "--clock-window=off",
        *("--channel", channel),
        *("--secret", request["secret"]),
        *("--account", account),
    )

    def send(method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        address = urlsplit(sandbox.api)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return int(answer.split(" ")[1]), answer.partition("\r\n\r\n")[2]

    # Whatever it asks for, the channel is connected and knows the chat.
    connect = json.dumps({"account_id": account, "hook_api_version": "v2"}).encode()
    signature = hmac.new(request["secret"].encode(), connect, hashlib.sha1).hexdigest()
    signed = {"Content-Type": "application/json", "X-Signature": signature}
    assert send("POST", f"/v2/origin/custom/{channel}/connect", signed, connect)[0] == 200

    status, said = send(request["method"], request["path"], headers, body)
    # The signature holds: what may be wrong is that this sandbox does not know the chat.
    assert status in (200, 204, 400, 404) and "signature" not in said, said
    assert status in (200, 204) or request["path"].endswith("/typing"), said

    # And it is looked at: one digit of it changed is refused, for that reason.
    last = "0" if headers["X-Signature"][-1] != "0" else "1"
    forged = headers | {"X-Signature": headers["X-Signature"][:-1] + last}
    status, said = send(request["method"], request["path"], forged, body)
    assert status == 403 and json.loads(said)["error_type"] == "signature_mismatch", said
