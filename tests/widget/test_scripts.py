"""What the rules for scripts must find however it is written, and what they must leave alone."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "widget"))
from scripts import check, missing_callbacks

EVASIONS = {
    "js-eval": [
        "window.eval('1');",
        "window['eval']('1');",
        "window['ev' + 'al']('1');",
        "window['ev' + ('a' + 'l')]('1');",
        "window[`eval`]('1');",
        "window?.['eval']('1');",
        "window['\\x65val']('1');",
        "\\u0065val('1');",
        "(0, eval)('1');",
        "var run = eval;",
        "eval.call(null, '1');",
        "eval/* (1) */('1');",
        "var t = `${eval('1')}`;",
        "window[name]('1');",
        "globalThis[name]('1');",
        "new Function('return 1')();",
        "Function('return 1')();",
        "window.Function('return 1');",
        "new window['Function']('1');",
        "Function.apply(null, ['1']);",
        "var F = Function;",
        "(function () {}).constructor('return 1')();",
        "[]['constructor']['constructor']('return 1')();",
        "setTimeout('go()', 5);",
        'setTimeout("go()", 5);',
        "setTimeout(`go()`, 5);",
        "window.setInterval('go' + '()', 5);",
        "window['setTimeout']('go()', 5);",
        "setTimeout('go(' + what + ')', 5);",
        "$.globalEval('1');",
        "link.href = 'javascript:go()';",
        "a = b / c; eval('1'); d = e / f;",
        "if (a) /\\/*/.test(b); eval('1'); /* */",
        "var s = '\\'; '; eval('1');",
        "var s = '// '; eval('1');",
    ],
    "js-dialog": [
        "alert('1');",
        "window.alert('1');",
        "window['al' + 'ert']('1');",
        "confirm.call(window, '1');",
        "self.prompt('1');",
        "x = y ? confirm('1') : 0;",
    ],
    "js-debug": [
        "console.log(1);",
        "console['log'](1);",
        "console /* out */ .error(1);",
        "window.console.warn(1);",
        "console[kind](1);",
        "var c = console;",
        "console.trace(1);",
        "// catch\nconsole.trace(1);",
        "try { a(); } catch (e) { b(); } console.trace(1);",
        "call().then(function () { console.trace(1); });",
        "if (a) { debugger; }",
    ],
    "js-sync": ["$.ajax({ 'async': false });", "$.ajax({ async: !1 });", "options.async = false;", "xhr.open('GET', address, false);"],
    "js-inject": [
        "document.createElement('scr' + 'ipt');",
        "document.createElement('SCRIPT');",
        "document['createElement']('script');",
        "$('<scr' + 'ipt src=x>');",
        "$(`<script src=x>`);",
        "$['getScript'](SERVER);",
        "import('./x.js');",
    ],
    "js-external": ["require(['//cdn.example.org/a.js'], go);", "require(['https:' + '//cdn.example.org/a.js'], go);"],
    "js-constant": [
        "APP.lang_id = 'en';",
        "APP['lang_id'] = 'en';",
        "window['APP'].data.current_card = null;",
        "AMOCRM.data.list[0].id += 1;",
        "delete APP.data;",
        "Object.assign(APP, {});",
        "$.extend(true, {}, 1); $.extend(APP, {});",
        "APP[key] = 1;",
    ],
    "js-https": ["var a = 'http:' + '//chat.example.org';", "var a = `http://chat.example.org/${path}`;"],
    "js-loop": [
        "while (more()) { $['ajax'](1); }",
        "do { fetch(SERVER); } while (more());",
        "items.forEach(function (one) { if (one) { self.$authorizedAjax(one); } });",
        "for (const one of items) self.crm_post(one);",
        "function send(one) { $.post(SERVER, one); } items.forEach(send);",
        "function send(one) { $.post(SERVER, one); } function all(one) { send(one); } for (;;) { all(1); }",
        "self.send = function () { $.ajax({}); }; while (a) self.send();",
    ],
    "js-click": ["$('.js-widget-' + 'install').click();", "$('.js-widget-install').trigger('cli' + 'ck');"],
    "js-comment": ["/**\n * a();\n * self.init();\n */", "// var a = 'b';", "x(); // if (a) { b(); }"],
    "js-define": ["define([], function () {});"],
    "js-syntax": ["'", "`${", "/* ", "a(];", "}", "var a = \u20ac;"],
}

ALLOWED = [
    "var a = 'eval(1); alert(2); debugger;';",
    "var a = \"new Function('x'); console.log(1);\";",
    "var a = `setTimeout('x') alert(1) // debugger`;",
    "var a = /eval\\(alert\\(debugger/g.test(b);",
    "var a = /['\"`]/; var b = /[/'\"]+/;",
    "var a = b / c / d; var s = 'x';",
    "return /'/.test(a);",
    "if (a) /'/.test(b);",
    "var o = { a: 1 } / 2;",
    "a++ / 2; '/';",
    "/* An alert is shown (by eval): nothing is debugged. */",
    "// the console shows it; http://chat.example.org is not called",
    "var o = { eval: 1, alert: 2, debugger: 3, Function: 4 };",
    "o.alert('1'); o.confirm(2); o.eval(3); view.prompt(4);",
    "function confirm(question) { return question; } confirm('1');",
    "if (a instanceof Function || typeof Function === 'function') { b(); }",
    "Function.prototype.call.apply(a);",
    "var twin = new this.constructor(1);",
    "setTimeout(function () { go('x'); }, 5); setTimeout(go, 5);",
    "console.debug('1'); if (window.console && console.debug) { console.debug(2); }",
    "try { a(); } catch (error) { if (error) { console.trace(error); } }",
    "call().fail(function (xhr) { console.trace(xhr); });",
    "call().then(function () {}, function (xhr) { console.trace(xhr); });",
    "call().catch((error) => console.trace(error));",
    "var app = window.APP || window.AMOCRM; var lang = APP.lang_id; if (APP.lang_id === 'en') { a(); }",
    "var list = [APP.constant('user')]; APP.notifications.show_message({ text: 'a' });",
    "$.ajax({ async: true }); window.open('https://chat.example.org', 'x', opened);",
    "document.createElement('style'); var words = 'a script';",
    "window.name; window.innerWidth; window['innerWidth']; items[at] = 1;",
    "var a = 'http://127.0.0.1:9/' + 'http://localhost/';",
    "items.forEach(function (one) { show(one); }); $.ajax({});",
    "function send() { $.ajax({}); } items.forEach(show); send();",
    "function later(run) { setTimeout(function () { run().then(go); }, 1); }",
    "$('.js-widget-install').on('click', go); $('.own').click(go);",
    "var tag = html`a`; a?.b?.(c); a ??= 1; x = a ? .5 : 1; var \u00e9t\u00e9 = 1_000n;",
    "var f = async (a) => { for await (const b of a) { c(b); } };",
    "class A { #b = 1; static get c() { return this.#b; } }",
    "var s = 'one \\\n two'; var t = `a${`b${c}`}d`;",
]


def whole(code: str) -> str:
    return f"define(['jquery'], function ($) {{\n  'use strict';\n{code}\n}});\n"


class Scripts(unittest.TestCase):
    def test_what_is_forbidden_is_found_however_it_is_written(self) -> None:
        for rule, codes in EVASIONS.items():
            for code in codes:
                with self.subTest(rule=rule, code=code):
                    text = whole(code)
                    found = {name: text.count("\n", 0, at) for name, at, _ in check(text)}
                    self.assertIn(rule, found)
                    if rule != "js-syntax":
                        self.assertGreaterEqual(found[rule], 2, "the line is named")

    def test_nothing_else_is_found(self) -> None:
        for code in ALLOWED:
            with self.subTest(code=code):
                self.assertEqual(list(check(whole(code))), [])

    def test_a_callback_is_found_in_each_form(self) -> None:
        code = "self.callbacks = { render: f, 'init': f, bind_actions() { return true; }, [`settings`]: f }; self.callbacks.onSave = f; self['callbacks'].destroy = f;"
        self.assertEqual(missing_callbacks(whole(code)), ["settings"], "a computed name is none")
        said = "/* settings: */ var a = 'destroy: function () {}'; self.callbacks = {};"
        self.assertEqual(len(missing_callbacks(whole(said))), 6)


if __name__ == "__main__":
    unittest.main()
