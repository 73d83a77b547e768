"""Reads style sheets as far as the rules need it."""

from __future__ import annotations

import re
from collections.abc import Iterator

STRINGS = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""
# Classes that the CRM's own pages have: a widget may stand below them, and must not style them.
SYSTEM = re.compile(
    r"^(?:widget[-_]settings|modal|button-input|text-input|control|card|list|pipeline|switcher|n-|js-|h-|page|body|content|nav|feed|todo|digital-pipeline)"
)


def plain(sheet: str) -> str:
    """The same without comments."""
    return re.sub(rf"({STRINGS})|/\*.*?\*/", lambda found: found[1] or " ", sheet, flags=re.DOTALL)


def closing(code: str, at: int) -> int:
    """Where the bracket that opens at `at` is closed."""
    depth = 0
    for place in range(at, len(code)):
        if code[place] in "([{":
            depth += 1
        elif code[place] in ")]}":
            depth -= 1
            if depth == 0:
                return place
    return len(code)


def css_rules(sheet: str) -> Iterator[str]:
    """Each selector of each rule; those inside of @media too, the steps of @keyframes not. Takes what is plain."""
    yield from block(re.sub(STRINGS, '""', sheet))


def block(sheet: str) -> Iterator[str]:
    at = 0
    while (opened := sheet.find("{", at)) >= 0:
        head = sheet[at:opened].rsplit(";", 1)[-1].strip()
        end = closing(sheet, opened)
        if head.startswith("@"):
            if re.match(r"@(?:media|supports|layer|container)\b", head):
                yield from block(sheet[opened + 1 : end])
        else:
            yield from (part.strip() for part in head.split(","))
        at = end + 1


def global_selector(selector: str) -> tuple[str, str]:
    """The class at the root of a selector, and what is wrong with it, if anything."""
    root = re.match(r"\.([A-Za-z_][\w-]*)", selector)
    if not root:
        return "", "must begin with the widget's own class"
    if SYSTEM.match(root[1]):
        return "", f".{root[1]} is a class of the CRM"
    return root[1], ""
