#!/usr/bin/env python3
"""Runs every suite, or those named as arguments; `make test` calls it.

What is missing is installed where that is possible (as root on Debian), else the line to run is
shown. A suite that cannot run is one skipped test, and with CI=true a failed one. A test that finds
that this machine cannot run it says so in the file AMOCHATS_SKIPPED, and counts as skipped also
with CI=true. What the suites print is shown as it comes; the last line is the sum, `N passed, N failed`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI") == "true"
# A hang is a failure with a name. Half of it would do for a first build on two cores.
LIMIT_SECONDS = 15 * 60
# What a suite ends with when something has to be installed first.
NEEDS_MORE = 3


@dataclass(frozen=True)
class Need:
    """Something a suite needs, and the Debian package that has it."""

    package: str
    present: Callable[[], bool]


def command(*names: str, package: str | None = None) -> Need:
    return Need(package or names[0], lambda: any(shutil.which(name) for name in names))


def succeeds(*args: str, stdin: str = "") -> bool:
    try:
        return subprocess.run(args, input=stdin.encode(), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


COMPILER = command("cc", "gcc", package="gcc")
VENV = Need("python3-venv", lambda: succeeds("python3", "-c", "import venv, ensurepip"))
# Reads TOML, for widget/build.py.
PYTHON_311 = Need("python3.11", lambda: succeeds("python3", "-c", "import tomllib"))
JANSSON = Need("libjansson-dev", lambda: succeeds("cc", "-E", "-", stdin="#include <jansson.h>\n"))


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def closing_line(lines: Iterable[str]) -> Counts | None:
    """The last line `N passed, N failed`, to which `, N skipped` may be added."""
    found = None
    for line in lines:
        if match := re.fullmatch(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", line.strip()):
            found = Counts(*(int(count or 0) for count in match.groups()))
    return found


def nextest(lines: Iterable[str]) -> Counts | None:
    """`Summary [1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped`."""
    summary = re.compile(r"Summary .*?(\d+) tests? run: (\d+) passed.*?, (\d+) skipped")
    for line in lines:
        if match := summary.search(line):
            run, passed, skipped = map(int, match.groups())
            return Counts(passed, run - passed, skipped)
    return None


def cargo_test(lines: Iterable[str]) -> Counts | None:
    """The sum of the lines `test result: ok. 7 passed; 1 failed; 2 ignored; …`, one for each program."""
    result = re.compile(r"test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored")
    matches = [match for line in lines if (match := result.match(line))]
    return Counts(*(sum(int(match[group]) for match in matches) for group in (1, 2, 3))) if matches else None


@dataclass(frozen=True)
class Suite:
    name: str
    args: list[str]
    count: Callable[[Iterable[str]], Counts | None]
    needs: tuple[Need, ...] = ()
    # Without these, only some of its tests are skipped.
    wishes: tuple[Need, ...] = ()


def suites() -> list[Suite]:
    # The Python module links only through maturin; its suite builds it. The feature is named,
    # although other members ask for it too, since the tests of the client depend on it.
    packages = ["--locked", "--workspace", "--exclude", "amochats-python", "--features", "amochats/client"]
    # For disks whose power is cut, and clocks that are stepped.
    wishes = (command("mkfs.ext4", package="e2fsprogs"), command("losetup", package="mount"), command("faketime"))
    if shutil.which("cargo-nextest"):
        rust = Suite("rust", ["cargo", "nextest", "run", *packages], nextest, (COMPILER,), wishes)
    else:
        targets = ["--lib", "--bins", "--tests", "--no-fail-fast"]
        rust = Suite("rust", ["cargo", "test", *packages, *targets], cargo_test, (COMPILER,), wishes)
    return [
        rust,
        Suite("rust-docs", ["cargo", "test", "--doc", "--no-fail-fast", *packages], cargo_test, (COMPILER,)),
        Suite(
            "c",
            ["tests/c/run.sh"],
            closing_line,
            (command("gcc"), command("g++"), command("nm", package="binutils"), JANSSON),
            (
                Need("libuv1-dev", lambda: succeeds("cc", "-D_GNU_SOURCE", "-E", "-", stdin="#include <uv.h>\n")),
                command("pkg-config"),
                Need("libglib2.0-dev", lambda: succeeds("pkg-config", "--exists", "glib-2.0")),
                command("clang++", package="clang"),
                command("valgrind"),
                command("cmake"),
                command("groff"),
                Need("libsqlite3-dev", lambda: succeeds("cc", "-E", "-", stdin="#include <sqlite3.h>\n")),
                command("abidw", package="abigail-tools"),
                command("doxygen"),
            ),
        ),
        Suite("python", ["tests/python/run.sh"], closing_line, (VENV,)),
        Suite("widget", ["python3", "tests/widget/test_archive.py"], closing_line, (PYTHON_311,)),
        Suite(
            "browser",
            ["tests/browser/run.sh"],
            closing_line,
            (command("chromium"), command("node", package="nodejs"), command("npm"), PYTHON_311),
        ),
        Suite(
            "foreign",
            ["tests/foreign/run.sh"],
            closing_line,
            (
                VENV,
                command("node", package="nodejs"),
                command("npm"),
                command("php", package="php-cli"),
                command("openssl"),
            ),
        ),
        Suite(
            "interop",
            ["make", "--silent", "interop"],
            closing_line,
            (VENV, command("make"), command("node", package="nodejs"), command("npm")),
        ),
        Suite(
            "packaging",
            ["tests/packaging/run.sh"],
            closing_line,
            (
                COMPILER,
                VENV,
                command("systemd-analyze", package="systemd"),
                Need("nginx-light", lambda: shutil.which("nginx", path="/usr/sbin:" + os.environ["PATH"]) is not None),
                command("caddy"),
                command("openssl"),
                command("curl"),
            ),
        ),
        Suite("readme", ["python3", "tests/readme/run.py"], closing_line, (COMPILER, VENV)),
        # A build of its own: the command that is shipped has no traces in it.
        Suite(
            "otlp",
            ["cargo", "test", "--locked", "--package", "amochats-server", "--features", "otlp", "--test", "otlp"],
            cargo_test,
            (COMPILER,),
        ),
    ]


def install(needs: Iterable[Need]) -> None:
    packages = sorted({need.package for need in needs if not need.present()})
    if not packages:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"missing: sudo apt-get install {' '.join(packages)}, or what your system calls them", flush=True)
        return
    print(f"installing {' '.join(packages)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for args in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-qq", *args], env=environment, stdin=subprocess.DEVNULL, check=False)


def run(suite: Suite) -> Counts:
    if missing := [need.package for need in suite.needs if not need.present()]:
        print(f"{suite.name}: skipped, since {', '.join(missing)} is missing", flush=True)
        return Counts(skipped=1)
    lines: list[str] = []
    # In a process group of its own, so that nothing it started outlives it.
    process = subprocess.Popen(
        suite.args,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    limit = threading.Timer(LIMIT_SECONDS, end_group, [process.pid])
    limit.start()
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        code = process.wait()
    finally:
        limit.cancel()
        end_group(process.pid)
    if code == NEEDS_MORE:
        print(f"{suite.name}: skipped, see above for what it needs", flush=True)
        return Counts(skipped=1)
    counts = suite.count(lines)
    if counts is None:
        print(f"{suite.name}: ended with exit code {code} and without a count", flush=True)
        return Counts(failed=1)
    if code != 0 and counts.failed == 0:
        print(f"{suite.name}: ended with exit code {code}", flush=True)
        counts.failed = 1
    return counts


def end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def restore_signals() -> None:
    """Undoes what nohup and a shell's `&` ignore: every child would inherit it, and no test could press Ctrl+C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def main() -> int:
    restore_signals()
    every = suites()
    names = sys.argv[1:] or [suite.name for suite in every]
    if unknown := set(names) - {suite.name for suite in every}:
        known = ", ".join(suite.name for suite in every)
        print(f"no such suite: {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        return 2
    chosen = [suite for suite in every if suite.name in names]
    install(need for suite in chosen for need in (*suite.needs, *suite.wishes))

    # The tests run the command as their users have it: built on its own, without what tests add.
    build = ["cargo", "build", "--locked", "--package", "amochats-server"]
    if subprocess.run(build, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        print("0 passed, 1 failed")
        return 1

    table = [f"{'suite':<10} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}"]
    total = Counts()
    for suite in chosen:
        print(f"\n--- {suite.name}: {' '.join(suite.args)}", flush=True)
        started = time.monotonic()
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as notes:
            os.environ["AMOCHATS_SKIPPED"] = notes.name
            counts = run(suite)
            skipped_tests = notes.read().splitlines()
        seconds = time.monotonic() - started
        if IN_CI:
            counts = Counts(counts.passed, counts.failed + counts.skipped)
        for note in skipped_tests:
            print(f"SKIPPED: {note}", flush=True)
        counts.passed -= len(skipped_tests)
        counts.skipped += len(skipped_tests)
        total.passed += counts.passed
        total.failed += counts.failed
        total.skipped += counts.skipped
        table.append(
            f"{suite.name:<10} {counts.passed:>7} {counts.failed:>7} {counts.skipped:>8} {seconds:>8.0f}"
        )
    print("\n" + "\n".join(table) + "\n")
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
