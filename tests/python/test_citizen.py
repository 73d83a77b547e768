"""The module beside others in a process: its end, signals, forks, event loops, logging, threads."""

import asyncio
import concurrent.futures
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import amochats
import anyio
import pytest
import uvloop
from sandbox import PATIENCE, logged

# 300 shows that there is no crash; this many show a wrong build soon.
EXITS = int(os.environ.get("AMOCHATS_EXITS", "60"))


@pytest.fixture
def silent() -> Iterator[str]:
    """A service that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def python(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", "-X", "faulthandler", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


# Each ends in the middle of something. sys.argv: where nobody answers, and a folder.
PRELUDE = """
import asyncio, json, sys, threading, time
import amochats
URL, FOLDER = sys.argv[1:]
HOOK = b'{"account_id":"A","message":{"conversation":{"id":"C"},"message":{"id":"M%d","type":"text","text":"x"}}}'
def config():
    return {"listener": {"address": "127.0.0.1:0"}, "admin": {"address": "127.0.0.1:0"},
            "store": {"path": FOLDER + "/amochats.db"},
            "channel": [{"id": "ch", "secret": "s", "base_url": URL}]}
def fill(channel):
    for number in range(5):
        body = HOOK % number
        channel.ingest(body, amochats.sign_body("s", body), "ch_A")
def client():
    return amochats.Client("ch", "s", base_url=URL)
"""
EXIT_SCRIPTS = {
    "a call in flight": """
async def main():
    call = asyncio.create_task(amochats.AsyncClient("ch", "s", base_url=URL).disconnect("A"))
    await asyncio.sleep(0.01)
    sys.exit()
asyncio.run(main())
""",
    "a call that ended": """
async def main():
    try:
        await amochats.AsyncClient("ch", "s", base_url="http://127.0.0.1:1").disconnect("A")
    except amochats.TransportError:
        pass
asyncio.run(main())
""",
    "daemon threads in calls": """
for _ in range(4):
    threading.Thread(target=client().disconnect, args=("A",), daemon=True).start()
time.sleep(0.01)
""",
    "daemon threads that go on calling": """
def work():
    while True:
        try:
            amochats.Client("ch", "s", base_url="http://127.0.0.1:1").disconnect("A")
        except amochats.AmochatsError:
            amochats.sign_body("s", b"x" * 5000)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.02)
""",
    "cancelled tasks": """
async def main():
    calls = [asyncio.create_task(amochats.AsyncClient("ch", "s", base_url=URL).disconnect("A")) for _ in range(20)]
    await asyncio.sleep(0.01)
    for call in calls:
        call.cancel()
asyncio.run(main())
""",
    "a channel left open with pending events": """
channel = amochats.Channel(config()).__enter__()
fill(channel)
events = channel.events("crm", create=True)
event = next(events)
""",
    "a loop in a daemon thread that waits for events": """
def work():
    async def main():
        async with amochats.Channel(config()) as channel:
            opened.set()
            async for event in channel.events("crm", create=True):
                pass
    asyncio.run(main())
opened = threading.Event()
threading.Thread(target=work, daemon=True).start()
opened.wait()
""",
    "an exception inside a channel": """
import logging
logging.basicConfig(level=logging.DEBUG, stream=open(FOLDER + "/log", "w"))
sys.excepthook = lambda *_: None
with amochats.Channel(config()) as channel:
    fill(channel)
    for event in channel.events("crm", create=True):
        raise SystemExit(0)
""",
}


@pytest.mark.parametrize("what", EXIT_SCRIPTS)
def test_a_process_ends_cleanly_in_the_middle_of(what: str, silent: str, tmp_path: Path) -> None:
    def once(number: int) -> "subprocess.CompletedProcess[str]":
        folder = tmp_path / str(number)
        folder.mkdir()
        return python(PRELUDE + EXIT_SCRIPTS[what], silent, str(folder))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in pool.map(once, range(-(-EXITS // len(EXIT_SCRIPTS)))):
            assert done.returncode == 0, (done.returncode, done.stderr)
            assert "Fatal" not in done.stderr and "panicked" not in done.stderr, done.stderr


def test_ctrl_c_ends_a_blocking_call(silent: str) -> None:
    script = """
import sys, time
import amochats
client = amochats.Client("ch", "s", base_url=sys.argv[1])
try:
    print("calling", flush=True)
    client.disconnect("A")
except KeyboardInterrupt:
    print("interrupted")
"""
    command = [sys.executable, "-I", "-c", script, silent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "calling\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
        assert process.wait(PATIENCE) == 0


def test_a_forked_process_is_refused() -> None:
    script = """
import os
import amochats
client = amochats.Client("ch", "s", base_url="http://127.0.0.1:1")
child = os.fork()
if child == 0:
    refused = 0
    for call in (lambda: client.disconnect("A"), lambda: amochats.Client("ch", "s", region="ru")):
        try:
            call()
        except amochats.ForkedError as error:
            refused += error.code == "FORKED" and "spawn" in str(error)
    del client
    # What needs no runtime works.
    assert amochats.sign_body("s", b"x")
    # The whole end of a process, atexit too.
    raise SystemExit(refused)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
try:
    client.disconnect("A")
except amochats.TransportError:
    print("the parent goes on")
"""
    done = python(script)
    assert (done.returncode, done.stdout) == (0, "the parent goes on\n"), done.stderr


def test_a_process_that_was_forked_before_is_fine() -> None:
    script = """
import os
import amochats
child = os.fork()
try:
    amochats.Client("ch", "s", base_url="http://127.0.0.1:1").disconnect("A")
except amochats.TransportError:
    pass
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = python(script)
    assert done.returncode == 0, done.stderr


def test_spawned_processes_work() -> None:
    script = """
import multiprocessing, sys
import amochats
sys.path.insert(0, sys.argv[1])
from spawned import refused_connection
if __name__ == "__main__":
    refused_connection("http://127.0.0.1:1")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(refused_connection, ["http://127.0.0.1:1"] * 4))
"""
    done = python(script, str(Path(__file__).parent))
    assert (done.returncode, done.stdout) == (0, f"{['TRANSPORT'] * 4}\n"), done.stderr


def test_another_interpreter_is_refused() -> None:
    script = """
import amochats
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
interpreter = interpreters.create()
try:
    # Raises up to 3.12, and returns what was raised from then on.
    said = interpreters.run_string(interpreter, "import amochats")
except interpreters.RunFailedError as error:
    said = error
print("ImportError" in str(said))
"""
    done = python(script)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


# Event loops


async def many_calls() -> None:
    client = amochats.AsyncClient("ch", "s", base_url="http://127.0.0.1:1", requests_per_second=0)
    results = await asyncio.gather(*(client.disconnect("A") for _ in range(200)), return_exceptions=True)
    assert {type(result) for result in results} == {amochats.TransportError}


def test_asyncio_and_uvloop() -> None:
    asyncio.run(many_calls())
    uvloop.run(many_calls())


def test_anyio(silent: str) -> None:
    async def main() -> None:
        client = amochats.AsyncClient("ch", "s", base_url=silent)
        with anyio.move_on_after(0.05) as scope:
            await client.disconnect("A")
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(many_calls)
            group.start_soon(many_calls)

    anyio.run(main)


def test_a_cancelled_task_cancels_its_call() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(PATIENCE)
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            # It would not end by itself while this test waits.
            client = amochats.AsyncClient("ch", "s", base_url=url, timeout=1000.0, deadline=1000.0)
            call = asyncio.create_task(client.disconnect("A"))
            connection, _ = await asyncio.to_thread(server.accept)
            connection.settimeout(PATIENCE)
            assert (await asyncio.to_thread(connection.recv, 1 << 16)).startswith(b"DELETE")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            # The connection is given up: nobody waits for the answer.
            assert await asyncio.to_thread(connection.recv, 1) == b""
            connection.close()

    asyncio.run(main())


def test_threads_share_a_client(silent: str) -> None:
    client = amochats.Client("ch", "s", base_url=silent, timeout=0.3, send_once=True, requests_per_second=0)
    # All at once: a call that kept the interpreter would make the others wait for it.
    barrier = threading.Barrier(8)

    def call(_: int) -> str:
        barrier.wait(PATIENCE)
        with pytest.raises(amochats.RequestTimeoutError) as caught:
            client.disconnect("A")
        return caught.value.code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == ["TIMEOUT"] * 8


# Logging


def test_rust_logs_arrive_in_logging(tmp_path: Path) -> None:
    config = {
        "listener": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "store": {"path": str(tmp_path / "amochats.db")},
        "channel": [{"id": "ch", "secret": "channel-secret", "base_url": "http://127.0.0.1:1"}],
    }
    body = json.dumps({"receiver": "u-5", "type": "text", "text": "private words"}).encode()
    with logged("scope=ch_logged") as log, amochats.Channel(config) as channel:
        channel.ingest(body, amochats.sign_body("channel-secret", body), "ch_logged")
        assert log.arrived.wait(PATIENCE)
    [record] = log.records
    assert record.name == "amochats.runtime.accounts" and record.levelno == logging.INFO
    assert record.getMessage() == "first webhook of this account scope=ch_logged"
    assert record.pathname.endswith(".rs") and record.lineno > 0
