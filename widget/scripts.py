"""The vendor's rules for scripts, by tokens. What a script makes up only when it runs is beyond them: a name that is
put together of variables is told of, not resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator

from javascript import HEADS, NOTHING, Token, Unreadable, folded, pairs, tokens

CALLBACKS = ("render", "init", "bind_actions", "settings", "onSave", "destroy")
GLOBALS = ("window", "globalThis", "self", "top", "parent", "frames")
TIMERS = ("setTimeout", "setInterval", "setImmediate", "execScript")
DIALOGS = ("alert", "confirm", "prompt")
BORROWED = ("call", "apply", "bind")
WRITES = ("=", "+=", "-=", "||=", "&&=", "??=", "++", "--")
EACH = ("each", "forEach", "map", "some", "every", "filter", "reduce")
CODE_LINE = re.compile(
    r"^(?:(?:var|let|const|return|if|for|while|else|self|this|\$|function|console)\b.*[;{})]|[\w$.\[\]'\"]+\s*(?:=|\().*;|\}\)?;?)$"
)
Found = tuple[str, int, str]


def check(code: str) -> Iterator[Found]:
    """Each rule that is broken, where in the text, and how."""
    try:
        everything = tokens(code)
    except Unreadable as error:
        yield "js-syntax", error.at, str(error)
        return
    for token in everything:
        if token.kind == "comment" and (line := code_in(token.value)) is not None:
            yield "js-comment", token.at + line, "has code in a comment"
    yield from Script(everything).check()


def code_in(comment: str) -> int | None:
    """Where in a comment a line reads as code."""
    at = 0
    for line in comment.splitlines(keepends=True):
        said = line.strip().removeprefix("/**").removeprefix("/*").removesuffix("*/").lstrip("/* ").strip()
        if CODE_LINE.match(said):
            return at
        at += len(line)
    return None


class Script:
    def __init__(self, everything: list[Token]) -> None:
        self.all = folded(everything)
        self.closed = pairs(self.all)
        self.clicks = any(token.kind == "string" and re.search(r"js-widget-(?:un)?install", token.value) for token in self.all)
        self.own = {self[n + 1].value for n, token in enumerate(self.all) if token.is_name("function", "var", "let", "const") and self[n + 1].kind == "name"}

    def __getitem__(self, number: int) -> Token:
        return self.all[number] if 0 <= number < len(self.all) else NOTHING

    def is_key(self, number: int) -> bool:
        """Whether a name stands before its value in an object, or is a method there."""
        if not self[number - 1].is_mark("{", ","):
            return False
        method = self[number + 1].is_mark("(") and self[number].value not in HEADS
        return self[number + 1].is_mark(":") or method and self[self.closed.get(number + 1, -2) + 1].is_mark("{")

    def is_global(self, number: int) -> bool:
        """Whether a name is no member of anything but the window, and no key."""
        if self[number - 1].is_mark(".", "?."):
            return self[number - 2].is_name(*GLOBALS) and not self[number - 3].is_mark(".", "?.")
        return not self.is_key(number)

    def is_called(self, number: int) -> bool:
        after = self[number + 1]
        return after.is_mark("(") or after.is_mark(".", "?.") and self[number + 2].is_name(*BORROWED)

    def arguments(self, number: int) -> list[list[Token]]:
        """Those of the call whose bracket this is."""
        end, parts, at = self.closed.get(number, number), [[]], number + 1
        while at < end:
            past = self.closed.get(at, at)
            if self[at].is_mark(","):
                parts.append([])
            else:
                parts[-1].extend(self.all[at : past + 1])
            at = past + 1
        return parts if parts != [[]] else []

    def check(self) -> Iterator[Found]:
        if not self[0].is_name("define") or not self[1].is_mark("(") or not (self[2].is_mark("[") or self[2].is_name("function")):
            yield "js-define", self[0].at, "must be one define([...], function ...) without a name"
        defines = [n for n, token in enumerate(self.all) if token.is_name("define") and self[n + 1].is_mark("(") and not self[n - 1].is_mark(".")]
        if len(defines) > 1:
            yield "js-define", self[defines[1]].at, "has a second define"
        for number, token in enumerate(self.all):
            if token.kind == "name":
                for rule, says in self.name(number, token.value):
                    yield rule, token.at, says
            elif token.kind == "string":
                for rule, says in self.string(number, token.value):
                    yield rule, token.at, says
        yield from self.loops()

    def name(self, number: int, value: str) -> Iterator[tuple[str, str]]:
        before, after = self[number - 1], self[number + 1]
        member = before.is_mark(".", "?.")
        if value in ("window", "globalThis", "console", "APP", "AMOCRM") and not member and after.is_mark("[", "?.") and self[number + 1 + after.is_mark("?.")].is_mark("["):
            yield ("js-debug" if value == "console" else "js-constant" if value in ("APP", "AMOCRM") else "js-eval"), f"looks up a name of {value} that is put together"
        if value == "eval" and self.is_global(number) or value == "globalEval" and member:
            yield "js-eval", "runs text as code"
        if value == "Function" and self.is_global(number) and (before.is_name("new") or self.is_called(number) or not after.is_mark(".") and before.is_mark("=", "(", ",") or before.is_name("return")):
            yield "js-eval", "makes a function of text"
        if value == "constructor" and member and after.is_mark("(") and not self[number - 2].is_name("this", "self"):
            yield "js-eval", "may make a function of text"
        if value in TIMERS and after.is_mark("(") and (value == "execScript" or self[number + 2].kind == "string"):
            yield "js-eval", "runs text as code"
        if value in DIALOGS and self.is_global(number) and self.is_called(number) and (member or value not in self.own):
            yield "js-dialog", "opens a dialog of the browser"
        if value == "debugger" and not member and not self.is_key(number):
            yield "js-debug", "has debugger"
        if value == "console" and self.is_global(number):
            if after.is_mark(".", "?."):
                method = self[number + 2].value
                if method != "debug" and not (method == "trace" and self.after_failure(number)):
                    yield "js-debug", f"has console.{method}"
            elif before.is_mark("=") and not after.is_mark("&&", "||", "?"):
                yield "js-debug", "gives console another name"
        if value == "async" and (after.is_mark(":") or member and after.is_mark("=")) and self.is_false(self.all[number + 2 : number + 4]):
            yield "js-sync", "has async: false"
        if value == "open" and member and after.is_mark("(") and len(given := self.arguments(number + 1)) > 2 and self.is_false(given[2]):
            yield "js-sync", "opens a request that is waited for"
        if value in ("getScript", "importScripts") and after.is_mark("(") or value == "import" and not member:
            yield "js-inject", "loads a script"
        if value == "createElement" and after.is_mark("(") and self[number + 2].kind == "string" and self[number + 2].value.lower() == "script":
            yield "js-inject", "makes a script tag"
        if value in ("APP", "AMOCRM") and self.is_global(number) and self.is_written(number):
            yield "js-constant", "writes to the CRM's object"
        if value in ("define", "require") and not member and after.is_mark("(") and self[number + 2].is_mark("["):
            named = self.all[number + 3 : self.closed.get(number + 2, number)]
            if any(token.kind == "string" and re.match(r"(?:https?:)?//", token.value) for token in named):
                yield "js-external", "has a dependency from outside"
        if self.clicks and (value == "click" and member and after.is_mark("(") and self[number + 2].is_mark(")") or value in ("MouseEvent", "dispatchEvent")):
            yield "js-click", "clicks on Install or Uninstall"
        if self.clicks and value in ("trigger", "triggerHandler") and after.is_mark("(") and self[number + 2].value == "click":
            yield "js-click", "clicks on Install or Uninstall"

    def string(self, number: int, value: str) -> Iterator[tuple[str, str]]:
        if re.search(r"<\s*script\b", value, re.IGNORECASE):
            yield "js-inject", "makes a script tag"
        if found := re.search(r"http://(?!127\.0\.0\.1|localhost)[\w.-]+", value):
            yield "js-https", f"has {found[0]}, an address that is not https"
        if re.match(r"\s*javascript:", value, re.IGNORECASE):
            yield "js-eval", "runs text as code"
        if value == "async" and self[number + 1].is_mark(":") and self.is_false(self.all[number + 2 : number + 4]):
            yield "js-sync", "has async: false"

    @staticmethod
    def is_false(found: list[Token]) -> bool:
        return bool(found) and (found[0].is_name("false") or found[0].value == "0" or found[0].is_mark("!") and len(found) > 1 and found[1].value == "1")

    def is_written(self, number: int) -> bool:
        """Whether a name, or something of it, is assigned to, deleted or extended."""
        first = number - 2 if self[number - 1].is_mark(".") else number
        if self[first - 1].is_name("delete") or self[first - 1].is_mark("++", "--"):
            return True
        if self[first - 1].is_mark("(") and self[first - 2].is_name("assign", "extend", "defineProperty", "defineProperties"):
            return True
        # A variable of the widget's own may have the same name.
        if self[first - 1].is_name("var", "let", "const"):
            return False
        at = number + 1
        while self[at].is_mark(".", "["):
            at = at + 2 if self[at].is_mark(".") else self.closed.get(at, at) + 1
        return self[at].is_mark(*WRITES)

    def around(self, number: int) -> Iterator[int]:
        """The brackets that are open at a token, from the inside."""
        for opened in range(number - 1, -1, -1):
            if self.closed.get(opened, -1) > number:
                yield opened

    def after_failure(self, number: int) -> bool:
        """Whether it stands where a failure is handled: catch, .catch, .fail, the second function of .then."""
        for opened in self.around(number):
            head = self[opened - 1]
            if self[opened].is_mark("{") and head.is_mark(")"):
                start = next((begin for begin, end in self.closed.items() if end == opened - 1), 0)
                if self[start - 1].is_name("catch"):
                    return True
            if self[opened].is_mark("{") and head.is_name("catch"):
                return True
            if self[opened].is_mark("(") and self[opened - 2].is_mark(".", "?."):
                if head.is_name("catch", "fail"):
                    return True
                inside = self.all[opened:number]
                if head.is_name("then") and any(token.is_mark(",") and next(self.around(opened + nth)) == opened for nth, token in enumerate(inside) if nth):
                    return True
        return False

    def call(self, number: int) -> str | None:
        """What is called over the network by a name, if anything."""
        value, after = self[number].value, self[number + 1]
        if value in ("$authorizedAjax", "crm_post", "XMLHttpRequest"):
            return value
        if value in ("$", "jQuery") and after.is_mark(".") and self[number + 2].is_name("ajax", "post", "get", "getJSON") and self[number + 3].is_mark("("):
            return f"{value}.{self[number + 2].value}"
        if value == "fetch" and after.is_mark("(") and self.is_global(number) and "fetch" not in self.own:
            return value
        return None

    def functions(self) -> dict[str, range]:
        """The script's functions that have a name, with their bodies."""
        found = {}
        for number, token in enumerate(self.all):
            if not token.is_name("function"):
                continue
            name = self[number + 1] if self[number + 1].kind == "name" else self[number - 2] if self[number - 1].is_mark("=", ":") else NOTHING
            opened = number + 2 if self[number + 1].kind == "name" else number + 1
            body = self.closed.get(opened, opened) + 1
            if name.kind == "name" and body in self.closed:
                found[name.value] = range(body, self.closed[body])
        return found

    def loops(self) -> Iterator[Found]:
        """Calls over the network in loops, also by way of functions of the script."""
        functions, calling = self.functions(), {}
        more = True
        while more:
            more = False
            for name, body in functions.items():
                if name not in calling and (said := self.called_in(body, calling)):
                    calling[name] = said
                    more = True
        for number, token in enumerate(self.all):
            body = self.loop(number, token)
            if body and (said := self.called_in(body, calling)):
                yield "js-loop", token.at, f"calls {said} in a loop"

    def loop(self, number: int, token: Token) -> range | None:
        if token.kind != "name" or self.is_key(number):
            return None
        opened, member = number + 1, self[number - 1].is_mark(".", "?.")
        if token.value in EACH and member and self[opened].is_mark("("):
            return range(opened, self.closed[opened])
        if token.value == "do" and not member and self[opened].is_mark("{"):
            return range(opened, self.closed[opened])
        if token.value in ("for", "while") and not member:
            opened += self[opened].is_name("await")
            if not self[opened].is_mark("("):
                return None
            end = self.closed[opened]
            if self[end + 1].is_mark("{"):
                return range(opened, self.closed[end + 1])
            while end < len(self.all) and not self[end].is_mark(";"):
                end = self.closed.get(end + 1, end + 1)
            return range(opened, end)
        return None

    def called_in(self, body: range, calling: dict[str, str]) -> str | None:
        for number in body:
            token = self[number]
            if token.kind != "name" or self.is_key(number):
                continue
            if said := self.call(number):
                return said
            own = not self[number - 1].is_mark(".", "?.") or self[number - 2].is_name("self", "this", "that")
            if own and token.value in calling and not self[number - 1].is_name("function"):
                return calling[token.value]
        return None


def missing_callbacks(code: str) -> list[str]:
    """The callbacks that a script.js does not have."""
    try:
        script = Script(tokens(code))
    except Unreadable:
        return []
    has = set()
    for number, token in enumerate(script.all):
        named = token.kind in ("name", "string")
        if named and (script.is_key(number) or token.kind == "string" and script[number + 1].is_mark(":")):
            has.add(token.value)
        if named and script[number - 2].is_name("callbacks") and script[number + 1].is_mark("="):
            has.add(token.value)
    return [name for name in CALLBACKS if name not in has]
