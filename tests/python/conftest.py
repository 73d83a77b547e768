"""Sandboxes for tests; how many vectors ran, and the closing line that the build reads."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

# For sandbox.py, also in the processes that tests start.
sys.path.insert(0, str(Path(__file__).parent))

from sandbox import Sandbox  # noqa: E402


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox of one's own."""
    started = Sandbox()
    yield started
    started.close()


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
