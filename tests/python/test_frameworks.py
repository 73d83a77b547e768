"""Webhooks through web frameworks, by the examples, each in a server as its users start it."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import amochats
import amochats.asgi
import amochats.wsgi
import pytest
from sandbox import PATIENCE

EXAMPLES = Path(__file__).resolve().parents[2] / "python/examples"
UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--fd"]
GUNICORN = [sys.executable, "-m", "gunicorn", "--workers", "1", "--bind"]
SERVERS = {
    "fastapi": [*UVICORN, "{fd}", "fastapi_app:app"],
    "starlette": [*UVICORN, "{fd}", "starlette_app:app"],
    "starlette-gunicorn": [
        *GUNICORN,
        "fd://{fd}",
        "--worker-class",
        "uvicorn_worker.UvicornWorker",
        "starlette_app:app",
    ],
    "flask": [*GUNICORN, "fd://{fd}", "--threads", "4", "flask_app:app"],
    "django-sync": [*GUNICORN, "fd://{fd}", "--worker-class", "sync", "django_app:app"],
}
SCOPE = "channel-1_account-1"
MESSAGE = (
    b'{"account_id":"account-1","time":1704067200,"message":{"receiver":{"id":"r-1"},'
    b'"sender":{"id":"s-1"},"conversation":{"id":"cr-1","client_id":"c-1"},'
    b'"timestamp":1704067200,"message":{"id":"mr-%d","type":"text","text":"hi"}}}'
)


def config(folder: Path, **listener: object) -> dict[str, Any]:
    return {
        "listener": {"address": "127.0.0.1:0", **listener},
        "admin": {"address": "127.0.0.1:0"},
        "store": {"path": str(folder / "amochats.db")},
        "channel": [{"id": "channel-1", "secret": "channel-secret", "base_url": "http://127.0.0.1:9"}],
    }


def write(folder: Path) -> Path:
    def line(values: dict[str, Any]) -> str:
        return "\n".join(f'{name} = "{value}"' for name, value in values.items())

    sections = config(folder)
    (channel,) = sections.pop("channel")
    tables = [f"[{name}]\n{line(values)}" for name, values in sections.items()]
    path = folder / "amochats.toml"
    path.write_text("\n".join([*tables, "[[channel]]", line(channel)]))
    return path


@contextmanager
def server(command: list[str], folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Its port, where connections wait until it takes them, and its process."""
    with socket.create_server(("127.0.0.1", 0)) as listening, (folder / "log").open("w") as log:
        listening.set_inheritable(True)
        command = [word.format(fd=listening.fileno()) for word in command]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("AMOCHATS_")}
        environment = {**plain, "CHANNEL_CONFIG": str(write(folder)), "PYTHONWARNINGS": "error"}
        process = subprocess.Popen(
            command, cwd=EXAMPLES, env=environment, pass_fds=[listening.fileno()], stdout=log, stderr=log
        )
        port = listening.getsockname()[1]
        # Only the server has it now: who asks one that has ended is refused.
        listening.close()
        try:
            yield port, process
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            print((folder / "log").read_text())


def ask(port: int, method: str, path: str, body: bytes = b"", signature: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {} if signature is None else {"X-Signature": signature}
    try:
        # Who answers without reading all closes the connection under it; the answer is there all the same.
        with suppress(ConnectionError):
            connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def kept(folder: Path) -> list[str | None]:
    """What the next process finds on disk."""
    with amochats.BlockingChannel(config(folder)) as channel:
        return [getattr(event, "message_ref_id", None) for event in channel.list_events()]


@pytest.mark.parametrize("name", SERVERS)
def test_a_webhook_is_kept_before_it_is_answered(name: str, tmp_path: Path) -> None:
    path = f"/webhook/{SCOPE}"
    body = MESSAGE % 1
    signature = amochats.sign_body("channel-secret", body)
    with server(SERVERS[name], tmp_path) as (port, process):
        assert ask(port, "POST", path, body, signature)[0] == 200
        assert ask(port, "POST", path, body, signature)[0] == 200
        assert ask(port, "POST", path, body, "0" * 40)[0] == 401
        assert ask(port, "POST", path, body)[0] == 401
        assert ask(port, "GET", path)[0] == 405
        assert ask(port, "POST", "/webhook/other_account-1", body, signature)[0] == 404
        assert ask(port, "POST", "/webhook/a/b", body, signature)[0] == 404
        large = b" " * (3 << 20)
        assert ask(port, "POST", path, large, amochats.sign_body("channel-secret", large))[0] == 413
    # uvicorn ends by the signal that ended it.
    assert process.returncode in (0, -signal.SIGTERM)
    assert kept(tmp_path) == ["mr-1"]


def test_what_was_answered_200_outlives_a_kill(tmp_path: Path) -> None:
    body = MESSAGE % 2
    signature = amochats.sign_body("channel-secret", body)
    with server(SERVERS["starlette"], tmp_path) as (port, process):
        assert ask(port, "POST", f"/webhook/{SCOPE}", body, signature)[0] == 200
        process.kill()
    assert kept(tmp_path) == ["mr-2"]


class Slow:
    """A channel whose store does not commit in time."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.left: float | None = None

    def ingest(self, *_: object, timeout: float) -> None:
        self.left = timeout
        raise self.error


def test_what_is_not_kept_is_answered_503_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    for error in (amochats.StoreError("the disk is full"), amochats.RequestTimeoutError("late"), KeyError("hi Anna")):
        slow = Slow(error)
        app = amochats.wsgi.WebhookApp(slow, deadline=3.0)  # type: ignore[arg-type]
        told: list[str] = []
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/s", "wsgi.input": None, "wsgi.input_terminated": False}
        environ["wsgi.input"] = open(os.devnull, "rb")  # noqa: SIM115
        answer = b"".join(app(environ, lambda status, _headers: told.append(status)))
        environ["wsgi.input"].close()
        assert told == ["503 Service Unavailable"] and answer == b"not kept\n"
        assert slow.left is not None and 0 < slow.left <= 3.0
    assert "is lost" in caplog.text and "Anna" not in caplog.text


def test_a_body_that_stalls_is_answered_in_time() -> None:
    async def stall() -> int:
        app = amochats.asgi.WebhookApp(None, deadline=0.05)  # type: ignore[arg-type]
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.Event().wait()

        scope = {"type": "http", "method": "POST", "path": "/s", "headers": []}
        await app(scope, receive, send)
        return int(sent[0]["status"])

    assert asyncio.run(asyncio.wait_for(stall(), PATIENCE)) == 503


def test_the_app_alone_opens_and_closes_its_channel(tmp_path: Path) -> None:
    async def live() -> list[str]:
        channel = amochats.Channel(config(tmp_path))
        app = amochats.asgi.WebhookApp(channel)
        sent: list[str] = []

        async def receive() -> Any:
            if sent:
                assert channel.listener_url
            return {"type": "lifespan"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await app({"type": "lifespan"}, receive, send)
        with pytest.raises(amochats.ClosedError):
            _ = channel.listener_url
        return sent

    assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
