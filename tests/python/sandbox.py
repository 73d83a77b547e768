"""A sandbox as its users start it, what a manager does in it, and a channel for it."""

import json
import logging
import os
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planted import LOG, check

# More than anything takes on the slowest machine.
PATIENCE = 60


class Sandbox:
    """A running `amochats sandbox`."""

    def __init__(self, *flags: str) -> None:
        command = [os.environ["AMOCHATS_BIN"], "sandbox", *flags]
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

    def control(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._page + path, data=data, headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as response:
            answer = response.read()
        return json.loads(answer) if answer else None

    def config(self, folder: Path, **sections: object) -> dict[str, Any]:
        """A channel's configuration, with its store in this folder."""
        channel = {"id": self.channel_id, "secret": self.secret, "base_url": self.api}
        return {
            "listener": {"address": "127.0.0.1:0"},
            "admin": {"address": "127.0.0.1:0"},
            "store": {"path": str(folder / "amochats.db")},
            "channel": [channel],
            **sections,
        }

    def webhooks_to(self, listener_url: str) -> None:
        self.control("POST", "/api/webhook", {"url": f"{listener_url}/webhook/:scope_id"})

    def chats(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "/api/chats")["chats"]
        return found

    def messages(self, conversation_ref_id: str) -> list[dict[str, Any]]:
        path = f"/api/chats/{conversation_ref_id}/messages"
        found: list[dict[str, Any]] = self.control("GET", path)["messages"]
        return found

    def answer(self, conversation_ref_id: str, text: str) -> None:
        """The manager answers."""
        self.control("POST", f"/api/chats/{conversation_ref_id}/messages", {"text": text})

    def close(self) -> None:
        self._process.kill()
        self._process.wait(timeout=PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()
        with self._log as log:
            log.seek(0)
            check("the sandbox", log.read(), [self.secret])


class Logged(logging.Handler):
    """The records of amochats; `arrived` is set by the first that holds some words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self._all: list[logging.LogRecord] = []
        self.arrived = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self._all.append(record)
        if self._words in record.getMessage():
            self.arrived.set()

    @property
    def records(self) -> list[logging.LogRecord]:
        """Those with the words: those of a channel before may still come."""
        return [record for record in self._all if self._words in record.getMessage()]


@contextmanager
def logged(words: str) -> Iterator[Logged]:
    """Hears what channels log that are made inside."""
    logger, handler = logging.getLogger("amochats"), Logged(words)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
