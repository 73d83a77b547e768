#!/usr/bin/env python3
"""A running sandbox for a program, which finds it in its environment.

usage: sandbox.py AMOCHATS PROGRAM [ARGUMENT]...

Its exit code is the program's.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted import LOG, PLANTED  # noqa: E402

PATIENCE = 60


class Sandbox:
    def __init__(self, amochats: str, *arguments: str) -> None:
        command = [amochats, "sandbox", *arguments]
        # What other tests set would be options of this command.
        clean = {name: text for name, text in os.environ.items() if not name.startswith("AMOCHATS_")}
        # What it says goes to where run.sh looks for what must not be said.
        with open(os.environ.get("CHECK_LOG", os.devnull), "a") as log:
            self.process = subprocess.Popen(command, env=clean | {"RUST_LOG": LOG}, stdout=subprocess.PIPE, stderr=log)
        self.ready = json.loads(self.process.stdout.readline())
        self.account = self.ready["accounts"][0]
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._changes = 0
        self._changed = threading.Condition()
        events = self._http.open(self.ready["page"] + "/api/events", timeout=PATIENCE)
        threading.Thread(target=self._count, args=(events,), daemon=True).start()

    def _count(self, events) -> None:
        try:
            for line in events:
                if line.startswith(b"event:"):
                    with self._changed:
                        self._changes += 1
                        self._changed.notify_all()
        except (OSError, ValueError):
            pass  # it ended

    def control(self, method: str, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.ready["page"] + path, data, headers, method=method)
        with self._http.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def until(self, condition, what: str):
        """Looks again whenever something has changed."""
        ends = time.monotonic() + PATIENCE
        while True:
            with self._changed:
                seen = self._changes
            if found := condition():
                return found
            with self._changed:
                if not self._changed.wait_for(lambda: self._changes != seen, ends - time.monotonic()):
                    raise AssertionError(f"did not happen: {what}")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)


def run() -> int:
    sandbox = Sandbox(sys.argv[1], "--switch", "crm_requests_per_second=null")
    try:
        integration = sandbox.ready["integrations"][0]

        def issued(what: str) -> dict:
            return sandbox.control("POST", f"/api/crm/integrations/{integration['client_id']}/{what}", {})

        known = {
            "API": sandbox.ready["api"],
            "PAGE": sandbox.ready["page"],
            "CHANNEL": sandbox.ready["channel_id"],
            "SECRET": sandbox.ready["secret"],
            "ACCOUNT": sandbox.account,
            "CLIENT_ID": integration["client_id"],
            "CLIENT_SECRET": integration["client_secret"],
            "REDIRECT_URI": integration["redirect_uri"],
            "TOKEN": issued("token")["token"],
            "CODE": issued("code")["code"],
            "ONE_TIME_TOKEN": issued("one_time_token")["token"],
        }
        with tempfile.TemporaryDirectory() as folder:
            found = {f"SANDBOX_{name}": text for name, text in known.items()}
            return subprocess.run(sys.argv[2:], env=os.environ | found | {"TMPDIR": folder}).returncode
    finally:
        sandbox.close()


if __name__ == "__main__":
    sys.exit(run())
