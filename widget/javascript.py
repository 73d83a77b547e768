"""Reads JavaScript as a sequence of tokens (ECMAScript 2023, chapter 12), so that no comment, string or regular
expression is taken for code, and no code for one of them. Nothing is run."""

from __future__ import annotations

import re
from dataclasses import dataclass

SPACE = re.compile(r"[\s\ufeff]+")
COMMENT = re.compile(r"//[^\n\r\u2028\u2029]*|/\*.*?\*/", re.DOTALL)
STRING = re.compile(r"""'(?:\\(?:\r\n|.)|[^'\\\n\r])*'|"(?:\\(?:\r\n|.)|[^"\\\n\r])*\"""", re.DOTALL)
CHUNK = re.compile(r"(?:\\.|\$(?!\{)|[^\\`$])*", re.DOTALL)
REGEX = re.compile(r"/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/\w*")
NUMBER = re.compile(r"0[xXoObB][\da-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?n?")
NAME = re.compile(r"#?(?:[$\w]|\\u[\da-fA-F]{4}|\\u\{[\da-fA-F]+\})+")
MARK = re.compile(r">>>=|\.\.\.|===|!==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|==|!=|<=|>=|&&|\|\||\?\?|\?\.(?!\d)|\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|>>|\*\*|[{}()\[\];,<>+\-*/%&|^!~?:=.@]")
ESCAPE = re.compile(r"\\(u\{[\da-fA-F]+\}|u[\da-fA-F]{4}|x[\da-fA-F]{2}|[0-7]{1,3}|\r\n|.)", re.DOTALL)
SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "\n": "", "\r\n": "", "\r": "", "\u2028": "", "\u2029": ""}
# After these an expression begins, and with it a slash.
BEFORE = set("return typeof instanceof in of new delete void throw case do else yield await default".split())
HEADS = {"if", "while", "for", "with", "catch", "switch"}
CLOSES = {")": "(", "]": "[", "}": "{"}


class Unreadable(ValueError):
    """Where the text ends to be a script."""

    def __init__(self, at: int, says: str) -> None:
        super().__init__(says)
        self.at = at


@dataclass(frozen=True)
class Token:
    """A part of a script; `value` is what a string says, or a name without escapes."""

    kind: str
    value: str
    at: int

    def is_mark(self, *marks: str) -> bool:
        return self.kind == "mark" and self.value in marks

    def is_name(self, *names: str) -> bool:
        return self.kind == "name" and self.value in names


NOTHING = Token("end", "", 0)


def unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        said = found[1]
        if said[0] in "ux" and len(said) > 1:
            code = int(said[1:].strip("{}"), 16)
            return chr(code) if code < 0x110000 else ""
        return chr(int(said, 8)) if said[0] in "01234567" else SHORT.get(said, said)

    return ESCAPE.sub(one, text) if "\\" in text else text


def tokens(code: str) -> list[Token]:
    """All tokens with the comments among them. The parts of a template are strings with their expressions between
    `${` and `}`."""
    found: list[Token] = []
    # Brackets that are open: which, and whether a value has ended where it is closed.
    opened: list[tuple[str, bool, int]] = []
    # Whether a value has ended just now: then a slash divides.
    ended, at = False, 0
    last = NOTHING

    def match(pattern: re.Pattern[str], says: str) -> str:
        if not (part := pattern.match(code, at)):
            raise Unreadable(at, says)
        return part[0]

    def chunk(start: int) -> tuple[int, bool]:
        """A part of a template; whether an expression follows it."""
        end = start + len(CHUNK.match(code, start)[0])  # type: ignore[index]
        found.append(Token("string", unescaped(code[start:end]), start))
        if code.startswith("${", end):
            found.append(Token("mark", "${", end))
            opened.append(("`", True, end))
            return end + 2, True
        if not code.startswith("`", end):
            raise Unreadable(start, "a template has no end")
        return end + 1, False

    while at < len(code):
        if space := SPACE.match(code, at):
            at = space.end()
            continue
        sign = code[at]
        if code.startswith(("//", "/*"), at):
            said = match(COMMENT, "a comment has no end")
            found.append(Token("comment", said, at))
            at += len(said)
            continue
        begins = at
        if sign in "'\"":
            said = match(STRING, "a string has no end")
            token, ended = Token("string", unescaped(said[1:-1]), at), True
            at += len(said)
        elif sign == "`":
            at, follows = chunk(at + 1)
            last, ended = found[-1], not follows
            continue
        elif sign.isdigit() or sign == "." and code[at + 1 : at + 2].isdigit():
            said = match(NUMBER, "a number cannot be read")
            token, ended = Token("number", said, at), True
            at += len(said)
        elif name := NAME.match(code, at):
            value = unescaped(name[0])
            token, at = Token("name", value, at), name.end()
            ended = value not in BEFORE or last.is_mark(".", "?.")
        elif sign == "/" and not ended:
            said = match(REGEX, "a regular expression has no end")
            token, ended = Token("regex", said, at), True
            at += len(said)
        else:
            said = match(MARK, f"there is a {sign!r} where none can be")
            token = Token("mark", said, at)
            at += len(said)
            if said in "([{":
                head = said == "(" and last.kind == "name" and last.value in HEADS
                block = said == "{" and (not last.value or last.is_mark(")", "{", "}", ";", "=>") or last.is_name("else", "do", "try", "finally"))
                opened.append((said, not head and not block, begins))
                ended = False
            elif said in CLOSES:
                if not opened:
                    raise Unreadable(begins, f"a {said} closes nothing")
                bracket, ended, _ = opened.pop()
                if said == "}" and bracket == "`":
                    found.append(token)
                    at, follows = chunk(at)
                    last, ended = found[-1], not follows
                    continue
                if bracket != CLOSES[said]:
                    raise Unreadable(begins, f"a {said} closes a {bracket}")
            elif said not in ("++", "--"):
                ended = False
        found.append(token)
        last = token
    if opened:
        raise Unreadable(opened[-1][2], f"a {opened[-1][0]} is not closed")
    return found


def folded(found: list[Token]) -> list[Token]:
    """The same without comments, with strings that are added put together, and `a['b']` written as `a.b`."""
    out: list[Token] = []
    for token in found:
        if token.kind == "comment":
            continue
        out.append(token)
        changed = True
        while changed:
            changed = fold(out)
    return out


def fold(out: list[Token]) -> bool:
    def kinds(*kinds: str) -> bool:
        return len(out) >= len(kinds) and all(token.value == kind if token.kind == "mark" else token.kind == kind for token, kind in zip(out[-len(kinds) :], kinds, strict=True))

    if kinds("string", "+", "string"):
        left, _, right = out[-3:]
        # Not where something stronger binds the left one, as in `a * 'b' + 'c'`.
        if len(out) < 4 or not out[-4].is_mark("*", "/", "%", "-", "**"):
            out[-3:] = [Token("string", left.value + right.value, left.at)]
            return True
    if kinds("(", "string", ")") and not (len(out) > 3 and is_value(out[-4])):
        out[-3:] = [out[-2]]
        return True
    if kinds("[", "string", "]") and len(out) > 3 and is_value(out[-4]) and re.fullmatch(r"[$\w]+", out[-2].value):
        key = Token("name", out[-2].value, out[-2].at)
        out[-3:] = [Token("mark", ".", key.at), key] if not out[-4].is_mark("?.") else [key]
        return True
    return False


def is_value(token: Token) -> bool:
    """Whether a value ends with this token, so that a bracket after it calls or looks up."""
    return token.is_mark(")", "]", "?.") or token.kind == "string" or token.kind == "name" and token.value not in BEFORE | HEADS


def pairs(found: list[Token]) -> dict[int, int]:
    """Which bracket is closed by which, by their numbers."""
    open_, closed = [], {}
    for number, token in enumerate(found):
        if token.is_mark("(", "[", "{", "${"):
            open_.append(number)
        elif token.is_mark(")", "]", "}") and open_:
            closed[open_.pop()] = number
    return closed
