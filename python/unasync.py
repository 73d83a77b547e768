"""Writes the blocking classes in `amochats/_sync` from the asynchronous ones in `amochats/_async`.

    python python/unasync.py           # writes
    python python/unasync.py --check   # fails if something would change
"""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "python" / "amochats"
FILES = ["channel.py", "client.py", "consumer.py", "crm.py", "delivery.py", "media.py", "outbox.py", "widget.py"]
HEADER = "# Generated from _async/{name} by python/unasync.py: edit that file.\n"

# In this order. What is asynchronous by name loses that part; the channel's classes, whose
# asynchronous form has the plain name, get one.
WORDS = [
    (r"\n *# unasync: off\n.*?# unasync: on\n", "\n"),
    (r", ``with`` a :class:`BlockingChannel` with the same methods", ""),
    (r"\bAsync(Client|CrmClient|Iterator)\b", r"\1"),
    (r"\b(async|await) ", ""),
    (r"`async with`", "`with`"),
    (r"__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"(?<!make\(\")\b(Channel|ChannelMedia|ChannelWidget|EventStream|Outbox|Delivery|Delivered\w*)\b(?!\")", r"Blocking\1"),
    (r"\"(EventStream|Outbox|Channel)\"(?=[):\]])", r'"Blocking\1"'),
    (r"make\(\"BlockingChannel\"", 'make("Channel"'),
]


def blocking(name: str) -> str:
    text = (PACKAGE / "_async" / name).read_text(encoding="utf-8")
    for pattern, replacement in WORDS:
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    return HEADER.format(name=name) + text


def main() -> int:
    stale = []
    for name in FILES:
        path, text = PACKAGE / "_sync" / name, blocking(name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"run python/unasync.py: {', '.join(stale)} differ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
