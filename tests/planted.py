#!/usr/bin/env python3
"""Looks for what must not be said in what was said: the texts of planted.json, and what can only be a
signature, a secret or a token.

usage: planted.py WHO [ALSO...] <OUTPUT

ALSO is further text that is private in that output. Exit code 1 with a line for each leak.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PLANTED: dict[str, str] = json.loads(Path(__file__).with_name("planted.json").read_text())
# What the servers of all suites say: whatever this project's own code may say, of others as usual.
LOG = "info,amochats=debug"
# The hex of a SHA-1 or of more, also in the middle of a line; a JSON web token.
_SECRET = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{40,}(?![0-9A-Za-z])|eyJ[0-9A-Za-z]{8})")


def leaks(who: str, said: str, also: Iterable[str] = ()) -> Iterator[str]:
    """Names what was said that should not be."""
    private = [*PLANTED.values(), *also]
    for line in said.splitlines():
        yield from (f"{text!r} was said by {who}: {line}" for text in private if text in line)
        if _SECRET.search(line):
            yield f"a signature, secret or token was said by {who}: {line}"


def check(who: str, said: str, also: Iterable[str] = ()) -> None:
    """Fails where something was said that should not be."""
    found = list(leaks(who, said, also))
    assert not found, "\n".join(found)


if __name__ == "__main__":
    found = list(leaks(sys.argv[1], sys.stdin.buffer.read().decode(errors="replace"), sys.argv[2:]))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    sys.exit(bool(found))
