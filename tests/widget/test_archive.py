"""The archive that `make widget` makes, held against the vendor's rules, each of which is broken here once.

The rules are written down anew, from the vendor's pages, as changes that break them: an archive with one such
change must be refused, and the rule be named.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "widget" / "build.py"
CONFIG = (ROOT / "widget" / "widget.toml").read_text(encoding="utf-8")
Files = dict[str, bytes]


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, BUILD, *args], capture_output=True, text=True, check=False, timeout=120)


def make(folder: Path, config: str = CONFIG) -> subprocess.CompletedProcess[str]:
    (folder / "widget.toml").write_text(config, encoding="utf-8")
    return run("--config", folder / "widget.toml", "--out", folder / "out")


def unpack(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def png(width: int, height: int, *, dot: bool = False, chunk: bytes = b"") -> bytes:
    """A white picture; `dot` is a black one in its corner, `chunk` stands before the data."""
    rows = bytearray((b"\0" + b"\xff" * 3 * width) * height)
    if dot:
        rows[1:4] = b"\0\0\0"

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk + part(b"IDAT", zlib.compress(bytes(rows))) + part(b"IEND", b"")


def animation() -> bytes:
    data = struct.pack(">II", 2, 0)
    return struct.pack(">I", len(data)) + b"acTL" + data + struct.pack(">I", zlib.crc32(b"acTL" + data))


# What breaks a rule: a change of the files.
Change = Callable[[Files], None]


def put(name: str, content: bytes) -> Change:
    return lambda files: files.update({name: content})


def drop(name: str) -> Change:
    return lambda files: files.__delitem__(name)


def replace(name: str, old: str, new: str) -> Change:
    def change(files: Files) -> None:
        said = files[name].decode()
        assert old in said, f"{name} has no {old}"
        files[name] = said.replace(old, new, 1).encode()

    return change


def manifest(act: Callable[[dict], object]) -> Change:
    def change(files: Files) -> None:
        said = json.loads(files["manifest.json"])
        act(said)
        files["manifest.json"] = json.dumps(said, indent=2).encode()

    return change


def words(language: str, group: str, key: str, said: str | None) -> Change:
    def change(files: Files) -> None:
        name = f"i18n/{language}.json"
        tree = json.loads(files[name])
        if said is None:
            del tree[group][key]
        else:
            tree[group][key] = said
        files[name] = json.dumps(tree, ensure_ascii=False, indent=2).encode()

    return change


def script(code: str) -> Change:
    """Puts code where the script's own begins."""
    return replace("script.js", "  'use strict';\n", f"  'use strict';\n{code}\n")


def style(rule: str) -> Change:
    def change(files: Files) -> None:
        files["style.css"] += f"\n{rule}\n".encode()

    return change


def nothing_dark(files: Files) -> None:
    files["style.css"] = files["style.css"].replace(b"dark", b"dusk")


def in_a_folder(files: Files) -> None:
    for name in list(files):
        files[f"widget/{name}"] = files.pop(name)


def no_cyrillic(files: Files) -> None:
    files["i18n/ru.json"] = files["i18n/en.json"]


LOOP = "  function all(items) {{\n    {}\n  }}"
BROKEN: dict[str, list[Change]] = {
    "zip-root": [in_a_folder],
    "file-missing": [drop("manifest.json"), drop("script.js"), drop("i18n/pt.json"), drop("images/tour_2_es.png")],
    "file-unused": [
        put("notes.txt", b"to do\n"),
        put("lib/unused.js", b"define([], function () {\n  return 1;\n});\n"),
        put("i18n/tr.json", b"{}\n"),
        put("images/logo_old.png", png(10, 10)),
    ],
    "text-encoding": [
        lambda files: files.update({"i18n/en.json": b"\xef\xbb\xbf" + files["i18n/en.json"]}),
        lambda files: files.update({"style.css": files["style.css"] + b"/* caf\xe9 */\n"}),
    ],
    "text-lines": [lambda files: files.update({"script.js": files["script.js"].replace(b"\n", b"\r\n")})],
    "text-minified": [script("  var a = [" + "0, " * 300 + "0];"), script("  var _0x3fa2 = 1;")],
    "image-missing": [drop(f"images/{name}.png") for name in ("logo", "logo_main", "logo_small", "logo_medium", "logo_min")]
    + [lambda files: (manifest(lambda said: said.update(locations=["settings", "digital_pipeline"], dp={"action_multiple": True}))(files), drop("images/logo_dp.png")(files))],
    "image-kind": [put("images/logo.png", b"GIF89a" + bytes(20)), put("images/logo.svg", b"<svg/>")],
    "image-size": [
        put("images/logo.png", png(130, 101)),
        put("images/logo_main.png", png(400, 300)),
        put("images/logo_small.png", png(100, 108)),
        put("images/logo_medium.png", png(480, 168)),
        put("images/logo_min.png", png(84, 48)),
        put("images/logo_dp.png", png(174, 108)),
        put("images/tour_1_en.png", png(1188, 615)),
    ],
    "image-weight": [lambda files: files.update({"images/logo.png": files["images/logo.png"] + bytes(300 * 1024)})],
    "image-animated": [put("images/logo.png", png(130, 100, chunk=animation()))],
    "image-margin": [put("images/logo_main.png", png(400, 272, dot=True))],
    "manifest-json": [
        replace("manifest.json", "{", "{ // the widget\n"),
        replace("manifest.json", '"init_once": false,', '"init_once": false, "init_once": true,'),
        put("manifest.json", b"[]\n"),
    ],
    "manifest-required": [
        *(manifest(lambda said, key=key: said["widget"].pop(key)) for key in ("name", "description", "short_description", "locale", "installation")),
        *(manifest(lambda said, key=key: said.pop(key)) for key in ("locations", "settings", "tour")),
        manifest(lambda said: said["widget"].update(init_once="no")),
    ],
    "manifest-version": [manifest(lambda said: said["widget"].update(version=1))],
    "manifest-interface": [manifest(lambda said: said["widget"].update(interface_version="2"))],
    "manifest-locale": [manifest(lambda said: said["widget"].update(locale=["ru", "de"])), manifest(lambda said: said["widget"].update(locale=[]))],
    "manifest-showcase": [manifest(lambda said: said["widget"].update(is_showcase=True))],
    "manifest-support": [manifest(lambda said: said["widget"].pop("support")), manifest(lambda said: said["widget"].update(support={"link": "http://chat.example.org"}))],
    "manifest-locations": [
        manifest(lambda said: said.update(locations=["settings", "sidebar"])),
        manifest(lambda said: said.update(locations=["settings", "lcard-1", "lcard-0"])),
        manifest(lambda said: said.update(locations=["settings", "everywhere-1"])),
        manifest(lambda said: said.update(locations=[])),
    ],
    "manifest-tour": [
        manifest(lambda said: said["tour"].update(is_tour=False)),
        manifest(lambda said: said["tour"]["tour_images"].pop("en")),
        manifest(lambda said: said["tour"]["tour_images"].update(en=["/images/tour_1_en.png"] * 6)),
        manifest(lambda said: said["tour"].pop("tour_description")),
    ],
    "manifest-settings": [
        manifest(lambda said: said["settings"]["link_state"].update(type="checkbox")),
        manifest(lambda said: said["settings"]["link_state"].pop("required")),
    ],
    "manifest-custom": [
        manifest(lambda said: said["settings"].update(second=dict(said["settings"]["link_state"]))),
        manifest(lambda said: said.update(locations=["lead_sources"])),
    ],
    "manifest-section": [
        manifest(lambda said: said.update(sms={"endpoint": "https://chat.example.org"})),
        manifest(lambda said: said["locations"].append("digital_pipeline")),
        manifest(lambda said: said["locations"].append("advanced_settings")),
    ],
    "manifest-obsolete": [manifest(lambda said: said["widget"].update(secret_key="x"))],
    "i18n-json": [put("i18n/en.json", b'{ "widget": "flat" }\n'), put("i18n/en.json", b"{,}\n"), put("i18n/en.json", b'{ "widget": { "name": 5 } }\n')],
    "i18n-keys": [words("pt", "link", "connect", None)],
    "i18n-named": [words("es", "widget", "tour_description", ""), manifest(lambda said: said["settings"]["link_state"].update(name="settings.other"))],
    "i18n-language": [words("en", "link", "login", "Логин"), no_cyrillic],
    "i18n-links": [words("en", "link", "support", "See chat.example.ru")],
    "name-brand": [words("en", "widget", "name", "Chat for Kommo"), words("ru", "widget", "name", "Чат для amoCRM")],
    "name-length": [words("en", "widget", "name", "n" * 31), words("en", "widget", "short_description", "s" * 51), words("en", "widget", "description", "d" * 401)],
    "js-syntax": [script("  var a = 'b"), script("  if (a) {"), script("  var t = `${1`;")],
    "js-define": [replace("script.js", "define(['jquery']", "define('chat', ['jquery']"), replace("script.js", "define(['jquery'], ", "jQuery(")],
    "js-callbacks": [replace("script.js", f"{name}: function", f"other_{name}: function") for name in ("render", "init", "bind_actions", "settings", "onSave", "destroy")],
    "js-eval": [script("  eval('1');"), script("  new Function('return 1');"), script("  setTimeout('go()', 5);")],
    "js-dialog": [script("  alert(1);"), script("  window.confirm(SERVER);"), script("  prompt(1);")],
    "js-debug": [script("  console.log(1);"), script("  debugger;"), script("  console.trace(1);")],
    "js-comment": [script("  // self.init();"), script("  /* var a = 1; */")],
    "js-sync": [script("  $.ajax({ url: SERVER, async: false });")],
    "js-loop": [
        script(LOOP.format("for (var i = 0; i < 9; i += 1) { $.ajax(items[i]); }")),
        script(LOOP.format("$.each(items, function () { self.crm_post(this); });")),
        script(LOOP.format("while (items.pop()) self.$authorizedAjax(items);")),
    ],
    "js-inject": [script("  document.createElement('script');"), script("  $('body').append('<script src=x>');"), script("  $.getScript(SERVER);")],
    "js-external": [replace("script.js", "define(['jquery']", "define(['https://cdn.example.org/a.js', 'jquery']")],
    "js-click": [script("  $('.js-widget-install').trigger('click');"), script("  $('.js-widget-uninstall').click();")],
    "js-constant": [script("  APP.lang_id = 'en';"), script("  window.APP = {};")],
    "js-https": [script("  var other = 'http://chat.example.org';")],
    "css-scope": [
        style("p { margin: 0; }"),
        style(".modal-body { color: red; }"),
        style(".other-widget p { color: red; }"),
        style("@media (min-width: 9px) { body { color: red; } }"),
    ],
    "css-import": [style("@import 'https://cdn.example.org/a.css';"), style(".chat-link-chat-example-org { background: url(//cdn.example.org/a.png); }")],
    "css-switcher": [style(".chat-link-chat-example-org .switcher_wrapper { color: red; }")],
    "css-dark": [nothing_dark],
    "password-kept": [manifest(lambda said: said["settings"].update(password={"name": "settings.link_state", "type": "pass", "required": True}))],
}
# Those that are of the file and not of what is in it.
OF_THE_FILE = {"zip-name", "zip-readable"}
ADVICE = {"password-kept"}


class Archive(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        made = make(cls.path)
        assert made.returncode == 0, made.stderr
        cls.files = unpack(cls.path / "out" / "widget.zip")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.folder.cleanup()

    def checked(self, files: Files, name: str = "widget.zip") -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            with zipfile.ZipFile(path, "w") as archive:
                for file, content in files.items():
                    archive.writestr(file, content)
            return run("check", path)

    def test_every_rule_is_broken_here(self) -> None:
        listed = {line.split()[0] for line in run("rules").stdout.splitlines()}
        self.assertEqual(listed, set(BROKEN) | OF_THE_FILE)

    def test_what_is_made_keeps_all_rules(self) -> None:
        self.assertEqual(self.checked(self.files).returncode, 0)

    def test_a_broken_rule_is_named(self) -> None:
        for rule, changes in BROKEN.items():
            for at, change in enumerate(changes):
                with self.subTest(rule=rule, change=at):
                    files = dict(self.files)
                    change(files)
                    found = self.checked(files)
                    self.assertEqual(found.returncode, 0 if rule in ADVICE else 1, found.stderr)
                    self.assertIn(rule, {line.split(":")[0] for line in found.stderr.splitlines()}, found.stderr)

    def test_the_file_itself(self) -> None:
        self.assertIn("zip-name: ", self.checked(self.files, "chat.zip").stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "widget.zip"
            for content in (b"", b"PK\3\4 no archive"):
                path.write_bytes(content)
                found = run("check", path)
                self.assertEqual((found.returncode, found.stderr.split(":")[0]), (1, "zip-readable"))
        self.assertIn("zip-readable: ", self.checked(self.files | {"../style.css": b""}).stderr)

    def test_what_is_allowed_is_not_held_against_it(self) -> None:
        for change in (
            script("  function quiet(run) {\n    try {\n      run();\n    } catch (error) {\n      console.trace(error);\n    }\n  }"),
            script("  console.debug('eval(1)');"),
            script("  /* An alert (in red) is shown; nothing is installed for (or by) the user. */"),
            script("  var words = 'for (;;) { $.ajax(1); } // http://127.0.0.1:9/';"),
            replace("style.css", ".chat-link", "@media print {\n  .chat-link-chat-example-org a:hover, .chat-link-chat-example-org > b { color: red; }\n}\n\n.chat-link"),
            manifest(lambda said: said["widget"].update(support={"email": "help@chat.example.org"})),
            manifest(lambda said: said["locations"].extend(["lcard-0", "ccard-1", "tlist"])),
        ):
            files = dict(self.files)
            change(files)
            found = self.checked(files)
            self.assertEqual(found.returncode, 0, found.stderr)

    def test_the_same_sources_make_the_same_bytes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(make(Path(folder)).returncode, 0)
            again = (Path(folder) / "out" / "widget.zip").read_bytes()
        self.assertEqual((self.path / "out" / "widget.zip").read_bytes(), again)
        with zipfile.ZipFile(self.path / "out" / "widget.zip") as archive:
            entries = archive.infolist()
        self.assertEqual([entry.filename for entry in entries], sorted(self.files))
        self.assertEqual({(entry.date_time, entry.external_attr >> 16) for entry in entries}, {((1980, 1, 1, 0, 0, 0), 0o100644)})

    def test_no_placeholder_is_left_and_no_password_is_kept(self) -> None:
        for name, content in self.files.items():
            if not name.endswith(".png"):
                self.assertNotRegex(content.decode(), "@[A-Z_]+@", name)
        settings = json.loads(self.files["manifest.json"])["settings"]
        self.assertEqual([field["type"] for field in settings.values()], ["custom"])


class Config(unittest.TestCase):
    def test_it_decides_name_server_colours_languages_and_links(self) -> None:
        config = CONFIG
        for old, new in (
            ("Example Chat", "Other & Co"),
            ('"https://chat.example.org"', '"https://other.example.net:8443"'),
            ('["ru", "en", "es", "pt"]', '["es", "en"]'),
            ("#2a62dc", "#123456"),
            ("https://chat.example.org/help", "https://other.example.net/soporte"),
        ):
            self.assertIn(old, config)
            config = config.replace(old, new)
        with tempfile.TemporaryDirectory() as folder:
            made = make(Path(folder), config)
            self.assertEqual(made.returncode, 0, made.stderr)
            files = unpack(Path(folder) / "out" / "widget.zip")
        said = json.loads(files["manifest.json"])
        self.assertEqual((said["widget"]["locale"], sorted(said["tour"]["tour_images"])), (["es", "en"], ["en", "es"]))
        self.assertEqual(said["widget"]["support"], {"link": "https://other.example.net/soporte"})
        self.assertNotIn("i18n/ru.json", files)
        self.assertNotIn("images/tour_1_ru.png", files)
        self.assertIn("'https://other.example.net:8443'", files["script.js"].decode())
        self.assertIn("#123456", files["style.css"].decode())
        self.assertIn(".chat-link-other-example-net-8443", files["style.css"].decode())
        self.assertEqual(json.loads(files["i18n/en.json"])["widget"]["name"], "Other & Co")

    def test_what_cannot_be_used_is_named(self) -> None:
        for old, new, names in (
            ('name = "Example Chat"', f'name = "{"n" * 31}"', "name: "),
            ('name = "Example Chat"', "", "name: "),
            ('name = "Example Chat"', 'name = "Chat for Kommo"', "name-brand: "),
            ('server = "https://', 'server = "http://', "server: "),
            ('server = "https://chat.example.org"', 'server = "https://chat.example.org/"', "server: "),
            ('server = "https://chat.example.org"', "server = \"https://chat.example.org';alert(1)//\"", "server: "),
            ('"#2a62dc"', '"blue"', "colours.accent: "),
            ('["ru", "en", "es", "pt"]', '["en", "de"]', "languages: "),
            ('["ru", "en", "es", "pt"]', "[]", "languages: "),
            ('version = "1.0.0"', 'version = "1"', "version: "),
            ('version = "1.0.0"', 'version = "1.0.0"\ntitle = "x"', "title: there is no such setting"),
            ('version = "1.0.0"', "version = ", "cannot be read: "),
        ):
            with self.subTest(new=new), tempfile.TemporaryDirectory() as folder:
                self.assertIn(old, CONFIG)
                made = make(Path(folder), CONFIG.replace(old, new, 1))
                self.assertNotEqual(made.returncode, 0)
                self.assertIn(names, made.stderr)
                self.assertNotIn("Traceback", made.stderr)


if __name__ == "__main__":
    # With what is beside it.
    arguments = [sys.argv[0], "discover", "--start-directory", str(Path(__file__).parent)]
    result = unittest.main(module=None, argv=arguments, exit=False, verbosity=1).result
    wrong = {getattr(failed, "test_case", failed).id() for failed, _ in [*result.failures, *result.errors]}
    print(f"{result.testsRun - len(wrong)} passed, {len(wrong)} failed")
    sys.exit(1 if wrong else 0)
