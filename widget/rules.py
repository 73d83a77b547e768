"""The vendor's rules for a widget's archive, each under a name; `check` finds those that are broken.

They are of the developers' pages of amoCRM and Kommo (structure, manifest.json, script.js, upload,
moderation). What only a person can judge is not here: that the form says whose password it wants, that
a failure gives a reason and a contact, that the pictures are no copy of another archive's.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import check as check_script
from scripts import missing_callbacks
from styles import css_rules, global_selector, plain

RULES = {
    # The archive
    "zip-name": "the file is called widget.zip",
    "zip-readable": "it is a zip that can be unpacked, each path once and inside of it",
    "zip-root": "the files lie at the root, not in a folder",
    "file-missing": "manifest.json, script.js, a language for each locale and every file that is named are there",
    "file-unused": "there is no file that nothing names",
    "text-encoding": "texts are UTF-8 without a byte order mark",
    "text-lines": "texts have LF line ends",
    "text-minified": "texts are neither minified nor obfuscated",
    # Pictures
    "image-missing": "the five logos are there, and logo_dp.png where digital_pipeline is used",
    "image-kind": "pictures are PNG, JPEG or GIF, and are what their names say",
    "image-size": "pictures have their exact sizes",
    "image-weight": "pictures have at most 300 KB",
    "image-animated": "pictures do not move",
    "image-margin": "logo_main.png keeps a margin of 10 px free",
    # The manifest
    "manifest-json": "manifest.json is strict JSON: no comments, no key twice",
    "manifest-required": "the required keys are there, of the right type",
    "manifest-version": "widget.version is a text",
    "manifest-interface": "widget.interface_version is the number 2",
    "manifest-locale": "widget.locale lists languages of the vendor's, each once",
    "manifest-showcase": "is_showcase is used with installation: false alone",
    "manifest-support": "there is an https link or an address for support",
    "manifest-locations": "locations are known ones, each once, with a right suffix",
    "manifest-tour": "is_tour is true, with 1 to 5 pictures for each language and a description",
    "manifest-settings": "settings have a known type, a name and whether they are required",
    "manifest-custom": "there is at most one custom setting, and then the location settings",
    "manifest-section": "dp, advanced, sms, mobile, salesbot_designer, amoforms_settings stand with their location alone",
    "manifest-obsolete": "widget.code and widget.secret_key are gone",
    # The languages
    "i18n-json": "languages are objects of objects of texts, in strict JSON",
    "i18n-keys": "every language has the same keys",
    "i18n-named": "what the manifest names is there in every language, and is not empty",
    "i18n-language": "each file is in its own language",
    "i18n-links": "there are no links to .ru in other languages than Russian",
    "name-brand": "the name does without amoCRM and Kommo",
    "name-length": "the name has at most 30 characters, the short text 50, the description 400",
    # The script
    "js-syntax": "scripts are whole: what begins in them ends",
    "js-define": "a script is one anonymous define",
    "js-callbacks": "script.js has render, init, bind_actions, settings, onSave and destroy",
    "js-eval": "no eval, Function of text or text as a timer",
    "js-dialog": "no alert, confirm or prompt",
    "js-debug": "no debugger, and no console but debug, and trace inside of a catch",
    "js-comment": "no commented-out code",
    "js-sync": "no async: false",
    "js-loop": "no calls to the CRM or to a server in loops",
    "js-inject": "no script tags, getScript or import",
    "js-external": "dependencies come by define, and not from outside",
    "js-click": "no virtual click on Install or Uninstall",
    "js-constant": "the CRM's own constants are not written to",
    "js-https": "addresses are https, but for loopback",
    # The styles
    "css-scope": "every rule stands under one class of the widget's own",
    "css-import": "nothing is loaded from outside",
    "css-switcher": "no switcher_* styles",
    "css-dark": "there are styles for the dark theme",
    # Advice
    "password-kept": "a setting of type pass or users_lp is kept by the CRM; draw the input in settings() instead",
}
# What is said but does not fail.
ADVICE = {"password-kept"}

LOGOS = {
    "logo.png": (130, 100),
    "logo_main.png": (400, 272),
    "logo_small.png": (108, 108),
    "logo_medium.png": (240, 84),
    "logo_min.png": (84, 84),
    "logo_dp.png": (174, 109),
}
TOUR = (1188, 616)
WEIGHT_MAX = 300 * 1024
UNPACKED_MAX = 32 * 1024 * 1024
MARGIN = 10
LOCALES = {"ru", "en", "es", "pt", "tr", "id"}
CARDS = {"lcard", "ccard", "comcard", "cucard"}
LISTS = {"llist", "clist", "tlist", "culist"}
LOCATIONS = {
    "settings", "lead_sources", "advanced_settings", "digital_pipeline", "whatsapp_modal", "card_sdk", "catalogs",
    "everywhere", "sms", "mobile_card", "salesbot_designer", "widget_page", "website_chat_button", "amoforms", "ai_agent",
    "tline", "tcalendar",
}  # fmt: skip
TYPES = {"text", "pass", "users", "users_lp", "custom"}
SECTIONS = {
    "dp": "digital_pipeline",
    "advanced": "advanced_settings",
    "salesbot_designer": "salesbot_designer",
    "sms": "sms",
    "mobile": "mobile_card",
    "amoforms_settings": "amoforms",
}
TEXTS = (".json", ".js", ".css", ".twig")
PICTURES = (".png", ".jpg", ".jpeg", ".gif")
LINE_MAX = 500
LENGTHS = {"name": 30, "short_description": 50, "description": 400}


@dataclass(frozen=True)
class Broken:
    """A rule that is broken, where, and how."""

    rule: str
    where: str
    says: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.says}"


class Archive:
    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.manifest: dict[str, Any] = {}
        self.languages: dict[str, Any] = {}

    def texts(self, end: str) -> Iterator[tuple[str, str]]:
        for name, content in self.files.items():
            if name.endswith(end):
                yield name, content.decode("utf-8", "replace")

    @property
    def locations(self) -> list[str]:
        listed = self.manifest.get("locations")
        return [place for place in listed if isinstance(place, str)] if isinstance(listed, list) else []

    def object(self, key: str) -> dict[str, Any]:
        found = self.manifest.get(key)
        return found if isinstance(found, dict) else {}


def check(path: Path) -> list[Broken]:
    """The rules that an archive breaks."""
    found = [] if path.name == "widget.zip" else [Broken("zip-name", path.name, "must be called widget.zip")]
    try:
        with zipfile.ZipFile(path) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in entries) > UNPACKED_MAX:
                return [*found, Broken("zip-readable", path.name, f"has more than {UNPACKED_MAX} bytes unpacked")]
            files = {entry.filename: packed.read(entry) for entry in entries}
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        return [*found, Broken("zip-readable", path.name, str(error))]
    if len(files) != len(entries):
        found.append(Broken("zip-readable", path.name, "has a path twice"))
    for name in files:
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            found.append(Broken("zip-readable", name, "leads out of the archive"))
    if "manifest.json" not in files and any(name.endswith("/manifest.json") for name in files):
        return [*found, Broken("zip-root", path.name, "the files lie in a folder: pack its content, not the folder")]
    archive = Archive(files)
    for part in (manifest, languages, present, texts, pictures, scripts, styles):
        found.extend(part(archive))
    return found


def strict_json(content: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)} stands twice")
        return dict(pairs)

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    return json.loads(content.decode("utf-8"), object_pairs_hook=once, parse_constant=constant)


def manifest(archive: Archive) -> Iterator[Broken]:
    where = "manifest.json"
    if where not in archive.files:
        yield Broken("file-missing", where, "is missing")
        return
    try:
        read = strict_json(archive.files[where])
    except ValueError as error:
        yield Broken("manifest-json", where, str(error))
        return
    if not isinstance(read, dict):
        yield Broken("manifest-json", where, "must be an object")
        return
    archive.manifest = read
    widget = archive.object("widget")

    required: list[tuple[str, dict[str, Any], str, type]] = [
        ("", read, "widget", dict),
        ("", read, "locations", list),
        ("", read, "tour", dict),
        ("widget.", widget, "name", str),
        ("widget.", widget, "description", str),
        ("widget.", widget, "short_description", str),
        ("widget.", widget, "locale", list),
        ("widget.", widget, "installation", bool),
    ]
    if widget.get("installation") is True:
        required.append(("", read, "settings", dict))
    for prefix, table, key, kind in required:
        if not isinstance(table.get(key), kind):
            yield Broken("manifest-required", where, f"{prefix}{key} is missing, or not of the type {kind.__name__}")
    if "init_once" in widget and not isinstance(widget["init_once"], bool):
        yield Broken("manifest-required", where, "widget.init_once must be true or false")
    if not isinstance(widget.get("version"), str) or not widget["version"]:
        yield Broken("manifest-version", where, "widget.version must be a text, raised with every upload")
    if widget.get("interface_version") != 2 or isinstance(widget.get("interface_version"), (bool, float)):
        yield Broken("manifest-interface", where, "widget.interface_version must be 2")
    locale = widget.get("locale")
    if isinstance(locale, list):
        unknown = [name for name in locale if not isinstance(name, str) or name not in LOCALES]
        if not locale or unknown or len(set(map(str, locale))) != len(locale):
            yield Broken("manifest-locale", where, f"widget.locale must be some of {', '.join(sorted(LOCALES))}, each once")
    if widget.get("is_showcase") and widget.get("installation") is not False:
        yield Broken("manifest-showcase", where, "widget.is_showcase needs installation: false")
    support = widget.get("support")
    link, email = (support.get("link"), support.get("email")) if isinstance(support, dict) else (None, None)
    if not (isinstance(link, str) and re.match(r"(https|http://(127\.0\.0\.1|localhost)\b)", link)) and not (
        not link and isinstance(email, str) and re.fullmatch(r"[^@\s]+@[^@\s]+", email)
    ):
        yield Broken("manifest-support", where, "widget.support must have an https link, or an email")
    for key in ("code", "secret_key"):
        if key in widget:
            yield Broken("manifest-obsolete", where, f"widget.{key} is made at the upload; leave it out")
    yield from places(archive)
    yield from tour(archive)
    yield from settings(archive)


def places(archive: Archive) -> Iterator[Broken]:
    where, listed = "manifest.json", archive.manifest.get("locations")
    if not isinstance(listed, list):
        return
    if not listed:
        yield Broken("manifest-locations", where, "locations must not be empty")
    bases = []
    for place in listed:
        base, _, suffix = place.partition("-") if isinstance(place, str) else ("", "", "")
        bases.append(base)
        panel = base in CARDS | LISTS
        if not panel and place not in LOCATIONS:
            yield Broken("manifest-locations", where, f"there is no location {place}")
        elif panel and suffix not in ("", "0", "1"):
            yield Broken("manifest-locations", where, f"{place}: the suffix must be -0 or -1")
    for base in sorted({base for base in bases if bases.count(base) > 1}):
        yield Broken("manifest-locations", where, f"{base} stands twice")
    for section, place in SECTIONS.items():
        if section in archive.manifest and place not in listed:
            yield Broken("manifest-section", where, f"{section} needs the location {place}")
    if "digital_pipeline" in listed and "action_multiple" not in archive.object("dp"):
        yield Broken("manifest-section", where, "digital_pipeline needs dp.action_multiple")
    if "advanced_settings" in listed and not isinstance(archive.object("advanced").get("title"), str):
        yield Broken("manifest-section", where, "advanced_settings needs advanced.title")


def tour(archive: Archive) -> Iterator[Broken]:
    where, said = "manifest.json", archive.object("tour")
    if not said:
        return
    if said.get("is_tour") is not True:
        yield Broken("manifest-tour", where, "tour.is_tour must be true")
    if not isinstance(said.get("tour_description"), str):
        yield Broken("manifest-tour", where, "tour.tour_description must name a text")
    shown = said.get("tour_images")
    shown = shown if isinstance(shown, dict) else {}
    locale = archive.object("widget").get("locale")
    for language in locale if isinstance(locale, list) else []:
        pictures_of = shown.get(language)
        if not isinstance(pictures_of, list) or not 1 <= len(pictures_of) <= 5:
            yield Broken("manifest-tour", where, f"tour.tour_images.{language} must list 1 to 5 pictures")
            continue
        for picture in pictures_of:
            if not isinstance(picture, str) or not picture.startswith("/images/"):
                yield Broken("manifest-tour", where, f"{picture}: must begin with /images/")
            elif picture[1:] not in archive.files:
                yield Broken("file-missing", picture[1:], "is named in tour.tour_images, but missing")


def settings(archive: Archive) -> Iterator[Broken]:
    where, customs = "manifest.json", 0
    for name, field in archive.object("settings").items():
        field = field if isinstance(field, dict) else {}
        kind = field.get("type")
        if kind not in TYPES or not isinstance(field.get("name"), str) or not isinstance(field.get("required"), bool):
            yield Broken("manifest-settings", where, f"settings.{name} must have name, required, and type: {', '.join(sorted(TYPES))}")
        if kind in ("pass", "users_lp"):
            yield Broken("password-kept", where, f"settings.{name}: the CRM keeps it, and the integration can read it")
        customs += kind == "custom"
    if customs > 1:
        yield Broken("manifest-custom", where, "there may be one custom setting, not more")
    if customs and "settings" not in archive.locations:
        yield Broken("manifest-custom", where, "a custom setting needs the location settings")


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, node


def named(archive: Archive) -> set[str]:
    """The texts that the manifest names, and those it must name."""
    widget = archive.object("widget")
    keys = {"widget.name", "widget.description", "widget.short_description"}
    keys |= {widget.get(key) for key in ("name", "description", "short_description")}
    keys |= {archive.object("tour").get("tour_description"), archive.object("advanced").get("title")}
    keys |= {field.get("name") for field in archive.object("settings").values() if isinstance(field, dict)}
    if "ai_agent" in archive.locations:
        keys.add("widget.ai_agent_description")
    return {key for key in keys if isinstance(key, str)}


def languages(archive: Archive) -> Iterator[Broken]:
    locale = archive.object("widget").get("locale")
    for language in locale if isinstance(locale, list) else []:
        where = f"i18n/{language}.json"
        if where not in archive.files:
            yield Broken("file-missing", where, f"is missing: widget.locale has {language}")
            continue
        try:
            read = strict_json(archive.files[where])
        except ValueError as error:
            yield Broken("i18n-json", where, str(error))
            continue
        if not isinstance(read, dict) or not all(isinstance(group, dict) for group in read.values()):
            yield Broken("i18n-json", where, "must be an object of objects")
            continue
        if wrong := [path for path, said in leaves(read) if not isinstance(said, str)]:
            yield Broken("i18n-json", where, f"{wrong[0]} is no text")
            continue
        archive.languages[language] = dict(leaves(read))
    keys = [set(said) for said in archive.languages.values()]
    every = set().union(*keys)
    for language, said in archive.languages.items():
        yield from language_rules(archive, language, said, every)


def language_rules(archive: Archive, language: str, said: dict[str, str], every: set[str]) -> Iterator[Broken]:
    where = f"i18n/{language}.json"
    for key in sorted(every - set(said)):
        yield Broken("i18n-keys", where, f"has no {key}, as another language has")
    for key in sorted(named(archive)):
        if not said.get(key, "").strip():
            yield Broken("i18n-named", where, f"{key} is missing or empty, and the manifest names it")
    everything = " ".join(said.values())
    cyrillic = re.search(r"[А-Яа-яЁё]{3,}", everything)
    if language == "ru" and not cyrillic:
        yield Broken("i18n-language", where, "is not Russian")
    if language != "ru" and cyrillic:
        yield Broken("i18n-language", where, f"has Russian in it: {cyrillic[0]}")
    if language != "ru" and (link := re.search(r"[\w-]+\.(?:ru|рф)\b", everything)):
        yield Broken("i18n-links", where, f"leads to {link[0]}")
    if brand := re.search(r"amo\s*crm|kommo", said.get("widget.name", ""), re.IGNORECASE):
        yield Broken("name-brand", where, f"widget.name has {brand[0]} in it")
    for key, most in LENGTHS.items():
        if len(words := said.get(f"widget.{key}", "")) > most:
            yield Broken("name-length", where, f"widget.{key} has {len(words)} characters: {most} at most")


def present(archive: Archive) -> Iterator[Broken]:
    files = archive.files
    if "script.js" not in files:
        yield Broken("file-missing", "script.js", "is missing")
    for logo in LOGOS:
        needed = logo != "logo_dp.png" or "digital_pipeline" in archive.locations
        if needed and f"images/{logo}" not in files:
            yield Broken("image-missing", f"images/{logo}", "is missing")
    locale = archive.object("widget").get("locale")
    known = {"manifest.json", "script.js", "style.css"} | {f"images/{logo}" for logo in LOGOS}
    known |= {f"i18n/{language}.json" for language in (locale if isinstance(locale, list) else [])}
    sources = " ".join(said for end in (".js", ".css", ".twig") for _, said in archive.texts(end))
    shown = json.dumps(archive.manifest)
    for name in files:
        last = name.rsplit("/", 1)[-1]
        is_source = name.endswith((".js", ".css", ".twig"))
        # A source does not count as used because it names itself.
        others = sources.replace(files[name].decode("utf-8", "replace"), "") if is_source else sources
        # A module is named by its path without the end.
        used = name.removesuffix(".js") if name.endswith(".js") else last
        if name not in known and f"/{name}" not in shown and used not in others:
            yield Broken("file-unused", name, "nothing names it")


def texts(archive: Archive) -> Iterator[Broken]:
    for name, content in archive.files.items():
        if not name.endswith(TEXTS):
            continue
        if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            yield Broken("text-encoding", name, "begins with a byte order mark")
        try:
            said = content.decode("utf-8")
        except UnicodeDecodeError as error:
            yield Broken("text-encoding", name, f"is not UTF-8 at byte {error.start}")
            continue
        if "\r" in said:
            yield Broken("text-lines", name, "has CR in its line ends")
        if name.endswith((".js", ".css")):
            lines = said.splitlines() or [""]
            if max(map(len, lines)) > LINE_MAX or re.search(r"\b_0x[0-9a-f]{3,}\b", said):
                yield Broken("text-minified", name, f"has a line of more than {LINE_MAX} characters, or names such as _0x1f")


def pictures(archive: Archive) -> Iterator[Broken]:
    said_tour = archive.object("tour").get("tour_images")
    shown = {name for listed in (said_tour.values() if isinstance(said_tour, dict) else []) if isinstance(listed, list) for name in listed}
    for name, content in archive.files.items():
        if not name.lower().endswith(PICTURES):
            if name.startswith("images/"):
                yield Broken("image-kind", name, "must be a PNG, JPEG or GIF")
            continue
        if len(content) > WEIGHT_MAX:
            yield Broken("image-weight", name, f"has {len(content)} bytes: {WEIGHT_MAX} at most")
        kind, size, moves = picture(content)
        if kind is None or not name.lower().endswith(kind):
            yield Broken("image-kind", name, "is not what its name says")
            continue
        if moves:
            yield Broken("image-animated", name, "must not move")
        wanted = LOGOS.get(name.removeprefix("images/")) or (TOUR if f"/{name}" in shown else None)
        if wanted and size != wanted:
            yield Broken("image-size", name, f"is {size[0]}x{size[1]}, and must be {wanted[0]}x{wanted[1]}")
        if name == "images/logo_main.png" and size == wanted and not has_margin(content):
            yield Broken("image-margin", name, f"has something within {MARGIN} px of its edge")


def picture(content: bytes) -> tuple[tuple[str, ...] | None, tuple[int, int], bool]:
    """Its kind as the ends of a name, its size, and whether it moves."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 33:
        return (".png",), struct.unpack(">II", content[16:24]), b"acTL" in content[:4096]
    if content.startswith((b"GIF87a", b"GIF89a")) and len(content) > 13:
        return (".gif",), struct.unpack("<HH", content[6:10]), content.count(b"\x21\xf9\x04") > 1
    if content.startswith(b"\xff\xd8"):
        at = 2
        while at + 9 < len(content) and content[at] == 0xFF:
            length = struct.unpack(">H", content[at + 2 : at + 4])[0]
            if 0xC0 <= content[at + 1] <= 0xCF and content[at + 1] not in (0xC4, 0xC8, 0xCC):
                height, width = struct.unpack(">HH", content[at + 5 : at + 9])
                return (".jpg", ".jpeg"), (width, height), False
            at += 2 + length
    return None, (0, 0), False


def has_margin(content: bytes) -> bool:
    """Whether the margin of a PNG is of one colour. Palettes and interlacing are not looked into."""
    depth, colour, _, _, interlaced = content[24:29]
    channels = {0: 1, 2: 3, 4: 2, 6: 4}.get(colour)
    if depth != 8 or channels is None or interlaced:
        return True
    data, at = b"", 8
    while at + 8 <= len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        if content[at + 4 : at + 8] == b"IDAT":
            data += content[at + 8 : at + 8 + length]
        at += 12 + length
    width, height = struct.unpack(">II", content[16:24])
    try:
        rows = unfiltered(zlib.decompress(data), width * channels, height, channels)
    except (zlib.error, IndexError):
        return False
    first = bytes(rows[0][:channels])
    edge, blank = MARGIN * channels, first * width
    return all(
        bytes(row) == blank if y < MARGIN or y >= height - MARGIN else bytes(row[:edge] + row[-edge:]) == first * (2 * MARGIN)
        for y, row in enumerate(rows)
    )


def unfiltered(data: bytes, stride: int, height: int, step: int) -> list[bytearray]:
    """The rows of a PNG without its filters (PNG specification, section 9)."""
    rows, above = [], bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + stride])
        for x in range(stride):
            left = row[x - step] if x >= step else 0
            corner = above[x - step] if x >= step else 0
            up = above[x]
            if kind == 1:
                row[x] = (row[x] + left) & 255
            elif kind == 2:
                row[x] = (row[x] + up) & 255
            elif kind == 3:
                row[x] = (row[x] + (left + up) // 2) & 255
            elif kind == 4:
                guess = left + up - corner
                nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))
                row[x] = (row[x] + nearest[2]) & 255
        rows.append(row)
        above = row
    return rows


def scripts(archive: Archive) -> Iterator[Broken]:
    for name, said in archive.texts(".js"):
        for rule, at, says in check_script(said):
            yield Broken(rule, name, f"{says}, in line {said.count(chr(10), 0, at) + 1}")
        for callback in missing_callbacks(said) if name == "script.js" else []:
            yield Broken("js-callbacks", name, f"has no callback {callback}")


def styles(archive: Archive) -> Iterator[Broken]:
    sheets = list(archive.texts(".css"))
    roots: set[str] = set()
    for name, whole in sheets:
        said = plain(whole)
        if re.search(r"@import\b|url\(\s*['\"]?(?:https?:)?//", said):
            yield Broken("css-import", name, "loads something from outside")
        if re.search(r"\.switcher_", said):
            yield Broken("css-switcher", name, "has a switcher_* style")
        for selector in css_rules(said):
            root, says = global_selector(selector)
            if says:
                yield Broken("css-scope", name, f"{selector}: {says}")
            roots.add(root)
    roots.discard("")
    if len(roots) > 1:
        yield Broken("css-scope", "style.css", f"there are several roots: {', '.join(sorted(roots))}")
    if sheets and not any(re.search(r"dark", said) for _, said in sheets):
        yield Broken("css-dark", "style.css", "has nothing for the dark theme")
