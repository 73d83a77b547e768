"""Sandboxes and clients for tests; how many vectors ran, and the closing line that the build reads."""

import asyncio
import inspect
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# For sandbox.py, also in the processes that tests start, and for planted.py.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from planted import leaks  # noqa: E402
from sandbox import Sandbox  # noqa: E402


class Blocking:
    """The asynchronous client behind blocking methods, so that one test covers both."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            async def run() -> Any:
                answer = attribute(*arguments, **options)
                if inspect.isasyncgen(answer):
                    return [item async for item in answer]
                return await answer if inspect.isawaitable(answer) else answer

            return self._loop.run_until_complete(run())

        return call

    def end(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class Overheard(logging.Handler):
    """Hears what the module logs, and notes what it must not say."""

    def __init__(self) -> None:
        super().__init__()
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] == "amochats":
            self.leaks += leaks(record.name, record.getMessage())


@pytest.fixture(autouse=True, scope="session")
def nothing_private_is_logged() -> Iterator[None]:
    """In no test at all: no secret, no signature, no text, phone or address that was planted."""
    overheard = Overheard()
    # Whatever the module may say.
    logging.getLogger("amochats").setLevel(logging.DEBUG)
    logging.getLogger().addHandler(overheard)
    yield
    logging.getLogger().removeHandler(overheard)
    assert not overheard.leaks


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox of one's own."""
    started = Sandbox()
    yield started
    started.close()


@pytest.fixture(params=["blocking", "asynchronous"])
def form(request: pytest.FixtureRequest) -> Any:
    """Makes a client of the one form or of the other: each test runs with both."""
    wrapped: list[Blocking] = []

    def of(blocking: Any, asynchronous: Any, **settings: Any) -> Any:
        if request.param == "blocking":
            return blocking(**settings)
        wrapped.append(Blocking(asynchronous(**settings)))
        return wrapped[-1]

    yield of
    for client in wrapped:
        client.end()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def _reports(reporter: pytest.TerminalReporter, *outcomes: str) -> list[pytest.TestReport]:
    return [report for outcome in outcomes for report in reporter.stats.get(outcome, [])]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran: Counter[object] = Counter()
    for report in _reports(terminalreporter, "passed", "failed"):
        ran.update(value for name, value in report.user_properties if name == "operation")
    if ran:
        counts = ", ".join(f"{operation} {count}" for operation, count in sorted(ran.items()))
        terminalreporter.write_line(f"vectors: {counts}")


def pytest_unconfigure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        passed = len(_reports(reporter, "passed"))
        failed = len(_reports(reporter, "failed", "error"))
        print(f"{passed} passed, {failed} failed", flush=True)
