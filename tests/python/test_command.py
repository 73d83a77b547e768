"""`python -m amochats`, beside the Rust command, which it must agree with."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import amochats
import pytest
from sandbox import PATIENCE

BODY = b'{"receiver":"u","conversation_id":"c-9","type":"text","text":"hi"}'
SIGNATURE = amochats.sign_body("channel-secret", BODY)
SECRET = ["--secret", "channel-secret"]
RUST = [os.environ["AMOCHATS_BIN"]]
PYTHON = [sys.executable, "-I", "-m", "amochats"]


def run(command: list[str], *arguments: str, stdin: bytes = BODY, **environ: str) -> tuple[int, bytes, bytes]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AMOCHATS_")}
    done = subprocess.run(
        [*command, *arguments], input=stdin, capture_output=True, env={**plain, **environ}, timeout=PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


REQUEST = ["sign", "request", "--method", "POST", "--path", "/v2/x", "--date", "Mon, 01 Jan 2024 00:00:00 +0000"]
# Arguments here, and those of the Rust command where they differ.
SAME: list[tuple[list[str], list[str], bytes]] = [
    (["sign", "body", *SECRET], [], BODY),
    ([*REQUEST, *SECRET], [], BODY),
    (["verify", "--signature", SIGNATURE, *SECRET], ["webhook"], BODY),
    (["verify", "--signature", SIGNATURE, "--secret", "old", *SECRET, "--json"], ["webhook"], BODY),
    (["verify", "--signature", "0" * 40, *SECRET, "--json"], ["webhook"], BODY),
    (["verify", "--signature", "", *SECRET], ["webhook"], BODY),
    (["parse"], ["webhook"], BODY),
    (["parse"], ["webhook"], b"{"),
    (["sign", "body"], [], BODY),
    (["sign", "body", "--secret", "has blank"], [], BODY),
    (["sign", "body", *SECRET, *SECRET], [], BODY),
    (["sign", "body", "--secret-file", "/nowhere/secret"], [], BODY),
    (["sign", "body", "--sekret", "hunter2"], [], BODY),
    (["sign"], [], BODY),
    (["sandbox", "--api", "nowhere"], [], b""),
    (["sandbox", "--api", "192.0.2.1:1"], [], b""),
]


@pytest.mark.parametrize("case", SAME, ids=lambda case: " ".join(case[0])[:60])
def test_it_answers_as_the_rust_command(case: tuple[list[str], list[str], bytes]) -> None:
    arguments, before, body = case
    code, out, err = run(PYTHON, *arguments, stdin=body)
    expected, rust_out, _ = run(RUST, *before, *arguments, stdin=body)
    assert code == expected, err
    if "--json" in arguments:
        words, rust_words = json.loads(out), json.loads(rust_out)
        assert (words["valid"], words["verdict"]) == (rust_words["valid"], rust_words["verdict"])
    elif "request" in arguments:
        assert json.loads(out) == json.loads(rust_out)
    elif "verify" not in arguments:
        assert out == rust_out
    # One line that says what to do, and nothing that may be secret.
    assert (err.count(b"\n") == 1 and err.startswith(b"amochats: ")) == (code != 0 and not out), err
    assert b"hunter2" not in err and b"Traceback" not in err


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"channel-secret\r\n")
    expected = (0, f"{SIGNATURE}\n".encode(), b"")
    assert run(PYTHON, "sign", "body", "--secret-file", str(file)) == expected
    assert run(PYTHON, "sign", "body", AMOCHATS_SECRET="channel-secret") == expected
    file.write_bytes(b"x" * 5000)
    assert run(PYTHON, "sign", "body", "--secret-file", str(file))[0] == 2


@pytest.mark.parametrize("command", ["", "sign", "sign body", "sign request", "verify", "parse", "sandbox"])
def test_help_tells_what_to_do(command: str) -> None:
    code, out, err = run(PYTHON, *command.split(), "--help")
    assert (code, err) == (0, b"") and b"python -m amochats" in out
    if not command:
        assert b"exit codes:" in out and all(name.encode() in out for name in ("sign", "verify", "parse", "sandbox"))


def test_whoever_reads_may_have_enough() -> None:
    process = subprocess.Popen([*PYTHON, "parse"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(BODY, timeout=PATIENCE)
    assert (process.returncode, err) == (3, b"")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_runs_until_it_is_told_to_end(end: signal.Signals, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    command = [*PYTHON, "sandbox", "--state", str(state), "--account", "a-1", *SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        ready = json.loads(process.stdout.readline())
        client = amochats.Client(ready["channel_id"], "channel-secret", base_url=ready["api"])
        assert client.connect("a-1", title="Shop").scope_id == f"{ready['channel_id']}_a-1"
        process.send_signal(end)
        assert process.wait(PATIENCE) == 0
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
    assert state.exists()
