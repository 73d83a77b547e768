"""A sandbox as its users start it, and a receiver of its webhooks."""

import hashlib
import hmac
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted import LOG, PLANTED, check  # noqa: E402

# More than a webhook takes on the slowest machine.
PATIENCE = 60


class Hook:
    """A webhook as it came over the wire."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.signature = headers["x-signature"]
        self.content_type = headers["content-type"]
        self.body = body

    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    def check(self, secret: str) -> None:
        """Confirms the signature by two implementations that share no code with the sandbox."""
        assert self.body.endswith(b"\n"), "a line feed follows the body, outside the signature"
        signed = self.body[:-1]
        assert self.signature == hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()
        openssl = ["openssl", "dgst", "-sha1", "-hmac", secret]
        said = subprocess.run(openssl, input=signed, capture_output=True, check=True).stdout.decode()
        assert self.signature == said.split("= ")[1].strip()


class Receiver:
    """Takes webhooks, one after the other."""

    def __init__(self) -> None:
        hooks: queue.Queue[Hook] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                hooks.put(Hook(self.path, headers, body))

            def log_message(self, *_: object) -> None:
                pass

        self._hooks = hooks
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/:scope_id"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self) -> Hook:
        return self._hooks.get(timeout=PATIENCE)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Sandbox:
    """A running `amochats sandbox`, and what a manager does in it."""

    def __init__(self, *flags: str) -> None:
        self.receiver = Receiver()
        command = [os.environ["AMOCHATS_BIN"], "sandbox", "--webhook-url", self.receiver.url, *flags]
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")
        environment = os.environ | {"RUST_LOG": LOG}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=self._log)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.api: str = ready["api"]
        self.channel_id: str = ready["channel_id"]
        self.secret: str = ready["secret"]
        self.account_id: str = ready["accounts"][0]
        self.scope_id = f"{self.channel_id}_{self.account_id}"
        self._page: str = ready["page"]
        state = self.control("GET", "/api/state")
        self.bot_ref_id: str = state["channels"][0]["bot_ref_id"]
        self.manager_ref_id: str = state["accounts"][0]["users"][0]["user_ref_id"]

    def control(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._page + path, data=data, headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as response:
            return json.load(response)

    def chats(self) -> list[dict[str, Any]]:
        return self.control("GET", "/api/chats")["chats"]

    def messages(self, conversation_ref_id: str) -> list[dict[str, Any]]:
        return self.control("GET", f"/api/chats/{conversation_ref_id}/messages")["messages"]

    def answer(self, conversation_ref_id: str, text: str) -> Hook:
        """A manager answers; gives the webhook."""
        self.control("POST", f"/api/chats/{conversation_ref_id}/messages", {"text": text})
        return self.receiver.next()

    def environment(self) -> dict[str, str]:
        """What a program in another language has to know. Proxies are not for this machine."""
        named = ["api", "channel_id", "secret", "account_id", "scope_id", "bot_ref_id", "manager_ref_id"]
        planted = {f"PLANTED_{name.upper()}": text for name, text in PLANTED.items()}
        return planted | {name.upper(): getattr(self, name) for name in named} | {
            name: os.environ[name] for name in ("PATH", "NODE_PATH") if name in os.environ
        }

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        self._process.stdout.close()
        self.receiver.close()
        with self._log as log:
            log.seek(0)
            check("the sandbox", log.read(), [self.secret])


@pytest.fixture
def start() -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes with flags, and ends them."""
    started: list[Sandbox] = []

    def start(*flags: str) -> Sandbox:
        started.append(Sandbox(*flags))
        return started[-1]

    yield start
    for sandbox in started:
        sandbox.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shutil.which("openssl")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def pytest_unconfigure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        count = lambda *outcomes: sum(
            report.when == "call" or outcome == "error"
            for outcome in outcomes
            for report in reporter.stats.get(outcome, [])
        )
        print(f"{count('passed')} passed, {count('failed', 'error')} failed", flush=True)
