#!/usr/bin/env python3
"""The main job through a program in C or C++, against a running sandbox.

usage: mainjob.py AMOCHATS PROGRAM...

Each program is an example that shows what managers answer. It is killed with -9 between two answers, is
down during some, and ends with SIGTERM; nothing may be lost and the order must hold. A line per test.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

from sandbox import PATIENCE, PLANTED, Sandbox

ANSWERS = 30


def text_of(number: int) -> str:
    return f"answer {number} {PLANTED['text']} {PLANTED['phone']} {PLANTED['email']}"


class Lines:
    """What a program prints, line by line; `wait` waits for a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def read(self, stream) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait(self, accept) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: accept(self.lines), PATIENCE):
                raise AssertionError(f"did not come: the last lines are {self.lines[-5:]}")


class Program:
    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.out = Lines()
        self._reader = threading.Thread(target=self.out.read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        self.out.wait(lambda lines: any(line.startswith("listening on ") for line in lines))
        self.address = next(line for line in self.out.lines if line.startswith("listening on ")).split()[-1]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


def main_job(amochats: str, program: str, folder: pathlib.Path) -> None:
    sandbox = Sandbox(amochats)
    shown: list[str] = []
    running = None
    try:
        config = folder / "amochats.toml"
        ready = sandbox.ready
        config.write_text(f"""
            [listener]
            address = "127.0.0.1:0"
            [admin]
            address = "127.0.0.1:0"
            [store]
            path = "{folder}/store.db"
            [backfill]
            rate = 50.0
            [[channel]]
            id = "{ready["channel_id"]}"
            secret = "{ready["secret"]}"
            base_url = "{ready["api"]}"
            [[channel.account]]
            id = "{sandbox.account}"
            connect = true
        """)
        speaks = pathlib.Path(program).name.startswith("channel")
        command = [program, str(config)] + ([sandbox.account] if speaks else [])

        def start() -> Program:
            program = Program(command)
            sandbox.control("POST", "/api/webhook", {"url": f"http://{program.address}/webhook/:scope_id"})
            return program

        running = start()
        if not speaks:
            # Somebody has to write first, which these programs do not.
            def connected() -> bool:
                accounts = sandbox.control("GET", "/api/state")["accounts"]
                return any(account["connections"] for account in accounts)

            sandbox.until(connected, "the account is connected")
            scope = f"{ready['channel_id']}_{sandbox.account}"
            environment = os.environ | {"AMOCHATS_SECRET": ready["secret"]}
            send = [amochats, "send", "--base-url", ready["api"], "--scope-id", scope, "--conversation-id", "c-1"]
            send += ["--user-id", "anna", "--name", "Anna", "--text", PLANTED["text"]]
            subprocess.run(send, env=environment, capture_output=True, check=True)
        chat = sandbox.until(lambda: sandbox.control("GET", "/api/chats")["chats"], "a chat")[0]["conversation_ref_id"]

        def answer(number: int) -> None:
            sandbox.control("POST", f"/api/chats/{chat}/messages", {"text": text_of(number)})

        def has(number: int):
            return lambda lines: f"manager: {text_of(number)}" in lines

        for number in range(ANSWERS):
            answer(number)
            if number == ANSWERS // 3:
                running.out.wait(has(number - 2))
                # Mid-run: an answer may be on its way, shown and not acknowledged, or acknowledged.
                running.end(signal.SIGKILL)
                shown += running.out.lines
            if number == ANSWERS // 2:
                # It was down for the last few: they are fetched from the history.
                running = start()
        running.out.wait(has(ANSWERS - 1))
        running.out.wait(lambda lines: all(
            f"manager: {text_of(number)}" in {*lines, *shown} for number in range(ANSWERS)
        ))
        if speaks:
            def delivered() -> bool:
                page = sandbox.control("GET", f"/api/chats/{chat}/messages?limit=200")["messages"]
                mine = [one for one in page if one["content"]["text"].startswith("answer ")]
                return len(mine) == ANSWERS and all(one["delivery"]["state"] == "delivered" for one in mine)

            sandbox.until(delivered, "every answer is reported as delivered")
        assert running.end(signal.SIGTERM) == 0, "SIGTERM ends it well"
        firsts = {}
        for place, line in enumerate(shown + running.out.lines):
            firsts.setdefault(line, place)
        # What came by webhooks is in order; what the history brought comes at the end, as it says.
        hooks = [firsts[f"manager: {text_of(number)}"] for number in range(ANSWERS // 3)]
        assert hooks == sorted(hooks), "in the order of the conversation"
        running = None
    finally:
        if running is not None and running.process.poll() is None:
            running.end(signal.SIGKILL)
        sandbox.close()


def run() -> int:
    failed = 0
    for program in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as folder:
            name = f"main job, killed and resumed: {pathlib.Path(program).name}"
            try:
                main_job(sys.argv[1], program, pathlib.Path(folder))
                print(f"ok {name}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"  {error}\nnot ok {name}", flush=True)
    return 1 if failed or len(sys.argv) < 3 else 0


if __name__ == "__main__":
    sys.exit(run())
