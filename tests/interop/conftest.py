"""A server and a sandbox as their users start them, and the examples as their heads say."""

import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# More than anything here takes on the slowest machine.
PATIENCE = 60
EXAMPLES = Path(os.environ["INTEROP_EXAMPLES"])
# For planted.py.
sys.path.insert(0, str(Path(__file__).parents[1]))

from planted import LOG, PLANTED, check  # noqa: E402

AMOCHATS = os.environ["AMOCHATS_BIN"]
# The types that the Python example made.
sys.path.insert(0, str(EXAMPLES / "python"))


def run_command(folder: Path) -> str:
    """The last command in the head of an example, which runs it."""
    assert (folder / "built").exists(), f"not built: {(folder / 'build.log').read_text()}"
    (source,) = folder.glob("[cC]hannel.*")
    return re.findall(r"^\W*\$ (.*)$", source.read_text(encoding="utf-8"), re.MULTILINE)[-1]


def until(what: str, holds: Callable[[], Any]) -> Any:
    """What holds, once it does; for what can only be asked for."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, f"still waiting for {what}"
    return found


class Lines:
    """What a process prints, line by line, also after its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._waiting: queue.Queue[str | None] = queue.Queue()
        self.all: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.all.append(line.rstrip("\n"))
            self._waiting.put(self.all[-1])
        self._waiting.put(None)

    def until(self, wanted: Callable[[str], Any], what: str) -> str:
        """The next line that is wanted; those before are passed over."""
        while True:
            try:
                line = self._waiting.get(timeout=PATIENCE)
            except queue.Empty:
                line = None
            assert line is not None, f"no line with {what} in:\n" + "\n".join(self.all)
            if wanted(line):
                return line

    def starting(self, *words: str) -> list[str]:
        """The words of the next line that begins with these."""
        return self.until(lambda line: line.split()[: len(words)] == list(words), " ".join(words)).split()

    def join(self) -> list[str]:
        self._reader.join(PATIENCE)
        return self.all


def environment(**more: str) -> dict[str, str]:
    """Nothing that the tests are told, and no proxy."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("AMOCHATS_") and not k.lower().endswith("_proxy")}
    return own | more


class Example:
    """A client that runs."""

    def __init__(self, folder: Path, grpc: str, account_id: str, text: str) -> None:
        command = run_command(folder).replace('"$ACCOUNT_ID"', account_id)
        command = re.sub(r'"[^"]*"$', f'"{text}"', command)
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environment(AMOCHATS_SERVER=grpc),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self.lines = Lines(self._process)
        self.errors: list[str] = []
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._errors.start()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self.errors.extend(line.rstrip("\n") for line in self._process.stderr)

    def terminate(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Its exit code, when it has ended and all that it said is read."""
        code = self._process.wait(PATIENCE)
        self.lines.join()
        self._errors.join(PATIENCE)
        return code

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()


class Place:
    """A sandbox, and a server that can be killed and comes back at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sandbox = self._start("sandbox", "sandbox")
        self.account_id: str = self._sandbox.ready["accounts"][0]
        self.scope_id = f"{self._sandbox.ready['channel_id']}_{self.account_id}"
        # An address of its own, so that nothing else takes its ports while it is dead.
        parts = [random.randrange(1, 255) for _ in range(3)]
        self._host = "127." + ".".join(map(str, parts))
        self._addresses = dict.fromkeys(("listener", "grpc", "admin"), f"{self._host}:0")
        self.start()
        self.control("POST", "/api/webhook", {"url": f"http://{self._addresses['listener']}/webhook/:scope_id"})
        self.control("PATCH", "/api/switches", {"requests_per_second": None, "slow_lane_ms": None})

    def start(self) -> None:
        sections = [f'[{name}]\naddress = "{address}"\n' for name, address in self._addresses.items()]
        config = self.folder / "amochats.toml"
        config.write_text(
            "".join(sections)
            + f'[store]\npath = "{self.folder}/inbox.db"\nmin_free_bytes = 0\n'
            + "[inbox]\nmin_delay_ms = 5\nmax_delay_ms = 50\nmax_attempts = 1000000\n"
            # What was not answered 200 stays away, and what is sent is not throttled.
            + "[backfill]\non_start = false\n[outbox]\nrate = 1000\nburst = 1000\nmin_delay_ms = 10\n"
            + f'[[channel]]\nid = "{self._sandbox.ready["channel_id"]}"\n'
            + f'secret = "{self._sandbox.ready["secret"]}"\nbase_url = "{self._sandbox.ready["api"]}"\n'
        )
        self._server = self._start("server", "serve", "--config", str(config))
        for name in self._addresses:
            self._addresses[name] = self._server.ready[name].removeprefix("http://")

    def _start(self, name: str, *args: str) -> "Server":
        return Server(self.folder / f"{name}.log", *args)

    @property
    def grpc(self) -> str:
        return self._addresses["grpc"]

    def kill(self) -> None:
        """`kill -9`."""
        self._server.process.kill()
        self._server.process.wait()

    def signal_server(self, number: int) -> None:
        self._server.process.send_signal(number)

    def server_ended(self) -> int:
        return self._server.process.wait(PATIENCE)

    def server_log(self) -> str:
        return (self.folder / "server.log").read_text()

    def run(self, language: str, text: str, account_id: str | None = None) -> Example:
        return Example(EXAMPLES / language, self.grpc, account_id or self.account_id, text)

    def call(self, method: str, request: object) -> Any:
        """A call of the server, by grpcurl."""
        command = ["grpcurl", "-plaintext", "-d", json.dumps(request), self.grpc, f"amochats.v1.{method}"]
        return json.loads(subprocess.run(command, env=environment(), capture_output=True, check=True).stdout)

    def control(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._sandbox.ready["page"] + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as response:
            return json.load(response)

    def chats(self) -> list[dict[str, Any]]:
        return self.control("GET", "/api/chats")["chats"]

    def messages(self, conversation_ref_id: str) -> list[dict[str, Any]]:
        return self.control("GET", f"/api/chats/{conversation_ref_id}/messages")["messages"]

    def answer(self, conversation_ref_id: str, text: str) -> dict[str, Any]:
        """A manager answers; gives amoCRM's id of the message, and what became of its webhook."""
        return self.control("POST", f"/api/chats/{conversation_ref_id}/messages", {"text": text})

    def delivery(self, conversation_ref_id: str, message_ref_id: str) -> str:
        """The state of delivery that a manager sees under a message."""
        messages = self.messages(conversation_ref_id)
        return next(m["delivery"]["state"] for m in messages if m["message_ref_id"] == message_ref_id)

    def delivered(self) -> set[str]:
        """The managers' messages that have the tick."""
        chats = [chat["conversation_ref_id"] for chat in self.chats()]
        found = [self.control("GET", f"/api/chats/{chat}/messages?limit=200")["messages"] for chat in chats]
        return {m["message_ref_id"] for messages in found for m in messages if m["delivery"]["state"] == "delivered"}

    def webhooks(self) -> list[tuple[str, int | None]]:
        """Each message's webhook: amoCRM's id of the message, and how it was answered."""
        hooks = []
        for entry in self.journal(direction="webhook"):
            body = json.loads(self.control("GET", f"/api/journal/{entry['seq']}")["body"]["text"])
            hooks.append((body["message"]["message"]["id"], entry["status"]))
        return hooks

    def journal(self, **wanted: object) -> list[dict[str, Any]]:
        """The sandbox's record of requests and webhooks, from the oldest on."""
        entries: list[dict[str, Any]] = []
        while True:
            before = {"before": entries[0]["seq"]} if entries else {}
            query = "&".join(f"{name}={value}" for name, value in (wanted | before).items())
            page = self.control("GET", f"/api/journal?{query}")
            entries[:0] = page["entries"]
            if not page["more"]:
                return entries

    def close(self) -> None:
        for running in (self._server, self._sandbox):
            running.close()
        for log in self.folder.glob("*.log"):
            check(log.name, log.read_text(), [self._sandbox.ready["secret"]])


class Server:
    """A long-running command that says in one line where it is."""

    def __init__(self, log: Path, *args: str) -> None:
        with log.open("a") as stderr:
            self.process = subprocess.Popen(
                [AMOCHATS, *args],
                env=environment(RUST_LOG=LOG),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"amochats {args[0]} did not start: {log.read_text()}"
        self.ready: dict[str, Any] = json.loads(line)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def run(place: Place) -> Iterator[Callable[..., Example]]:
    """Runs examples against the place, and ends them in any case."""
    started: list[Example] = []

    def run(*args: str) -> Example:
        started.append(place.run(*args))
        return started[-1]

    yield run
    for example in started:
        example.kill()


def pytest_unconfigure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        count = lambda *outcomes: sum(
            report.when == "call" or outcome == "error"
            for outcome in outcomes
            for report in reporter.stats.get(outcome, [])
        )
        print(f"{count('passed')} passed, {count('failed', 'error')} failed", flush=True)
