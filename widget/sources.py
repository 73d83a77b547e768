"""Reads scripts and styles as far as the rules need it: no parser, and none of the code is run."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A comment, a string, a regular expression where one can stand.
TOKENS = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      |(?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)
      |(?P<regex>(?<=[=(,:;!&|?{}\[])\s*/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*)""",
    re.VERBOSE | re.DOTALL,
)
LOOPS = re.compile(r"\b(?:for|while)\s*\(|\bdo\s*\{|\.(?:each|forEach|map|some|every|filter|reduce)\s*\(")
CALLS = re.compile(r"\$authorizedAjax|crm_post|\$\s*\.\s*(?:ajax|post|get|getJSON)\s*\(|\bfetch\s*\(|XMLHttpRequest")
CODE_LINE = re.compile(
    r"^(?:(?:var|let|const|return|if|for|while|else|self|this|\$|function|console)\b.*[;{})]|[\w$.\[\]'\"]+\s*(?:=|\().*;|\}\)?;?)$"
)
# Classes that the CRM's own pages have: a widget may stand below them, and must not style them.
SYSTEM = re.compile(
    r"^(?:widget[-_]settings|modal|button-input|text-input|control|card|list|pipeline|switcher|n-|js-|h-|page|body|content|nav|feed|todo|digital-pipeline)"
)


def plain(code: str, *, strings: bool = True) -> str:
    """The same text, every line in its place, without comments, and without what strings say unless `strings`."""

    def blank(found: re.Match[str]) -> str:
        keep = found.lastgroup == "string" and strings
        return found[0] if keep else re.sub(r"[^\n]", " ", found[0])

    return TOKENS.sub(blank, code)


def commented_out(code: str) -> int | None:
    """The line of the first comment that reads as code."""
    for found in TOKENS.finditer(code):
        if found.lastgroup != "comment":
            continue
        for offset, line in enumerate(found[0].splitlines()):
            said = line.strip().removeprefix("/**").removeprefix("/*").removesuffix("*/").lstrip("/* ").strip()
            if CODE_LINE.match(said):
                return code.count("\n", 0, found.start()) + offset + 1
    return None


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


def in_loops(code: str) -> str | None:
    """The first call over the network that stands inside of a loop. Takes code without comments and strings."""
    for loop in LOOPS.finditer(code):
        opened = loop.end() - 1
        end = closing(code, opened)
        if loop[0].startswith(("for", "while")):
            # The body is a block behind the head, or one statement.
            rest = re.match(r"\s*\{", code[end + 1 :])
            end = closing(code, end + rest.end()) if rest else code.find(";", end) + 1 or len(code)
        if call := CALLS.search(code, opened, end):
            return call[0].rstrip("( ")
    return None


def css_rules(sheet: str) -> Iterator[str]:
    """Each selector of each rule; those inside of @media too, the steps of @keyframes not."""
    sheet = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    yield from block(sheet)


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
