#!/usr/bin/env python3
"""Makes widget.zip of widget/src and widget.toml, and checks archives against the vendor's rules.

    widget/build.py [--config widget/widget.toml] [--out target/widget]
    widget/build.py check some/widget.zip
    widget/build.py rules

The first also leaves the unpacked files in OUT/unpacked, for `amochats sandbox --widget`. The same
sources and configuration give the same bytes. Python's standard library is enough.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    sys.exit("widget/build.py needs Python 3.11 or later, which reads TOML; this is Python " + sys.version.split()[0])

from rules import ADVICE, RULES, check

HERE = Path(__file__).resolve().parent
LANGUAGES = ("ru", "en", "es", "pt")
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
COLOURS = ("accent", "on_accent", "accent_dark", "on_accent_dark")
TEXTS = {"manifest.json", "script.js", "style.css"}


class Unusable(Exception):
    """What is wrong with the configuration."""


@dataclass(frozen=True)
class Config:
    name: str
    version: str
    server: str
    support: str
    privacy: str
    languages: tuple[str, ...]
    colours: dict[str, str]
    images: Path

    @property
    def root(self) -> str:
        """The class under which all styles stand: two services in one account never share it."""
        return "chat-link-" + re.sub(r"[^a-z0-9]+", "-", urlsplit(self.server).netloc.lower()).strip("-")

    def fill(self, text: str) -> str:
        values = {
            "NAME": self.name,
            "VERSION": self.version,
            "SERVER": self.server,
            "SUPPORT": self.support,
            "PRIVACY": self.privacy,
            "ROOT": self.root,
            **{name.upper(): colour for name, colour in self.colours.items()},
        }
        return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)


def text(table: dict[str, Any], key: str, rule: str, says: str) -> str:
    value = table.pop(key, None)
    if not isinstance(value, str) or not re.fullmatch(rule, value):
        raise Unusable(f"{key}: {says}")
    return value


def address(table: dict[str, Any], key: str, *, path: bool) -> str:
    says = "must be an https:// address without blanks and quotes" + ("" if path else ", and without a path: https://chat.example.org")
    value = text(table, key, r"https?://[^\s'\"\\<>@?#]+", says)
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise Unusable(f"{key}: must begin with https://; the CRM's pages call nothing else")
    if not path and parts.path:
        raise Unusable(f"{key}: {says}")
    return value


def read_config(path: Path) -> Config:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unusable(f"cannot be read: {error}") from error
    languages = table.pop("languages", None)
    if not isinstance(languages, list) or not languages or not set(languages) <= set(LANGUAGES) or len(set(languages)) != len(languages):
        raise Unusable(f"languages: must be some of {', '.join(LANGUAGES)}, each once")
    colours = table.pop("colours", None)
    if not isinstance(colours, dict) or set(colours) != set(COLOURS):
        raise Unusable(f"[colours]: must have {', '.join(COLOURS)} and nothing else")
    for name, colour in colours.items():
        if not isinstance(colour, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise Unusable(f"colours.{name}: must be as #2a62dc")
    images = table.pop("images", None)
    if images is not None and (not isinstance(images, str) or not (path.parent / images).is_dir()):
        raise Unusable("images: must be a folder beside the configuration")
    config = Config(
        name=text(table, "name", r"[^\"\\@*\x00-\x1f<>]{1,30}", 'must be 1 to 30 characters, without " \\ @ * < >'),
        version=text(table, "version", r"\d+\.\d+\.\d+", "must be as 1.0.0"),
        server=address(table, "server", path=False),
        support=address(table, "support", path=True),
        privacy=address(table, "privacy", path=True),
        languages=tuple(languages),
        colours=colours,
        images=path.parent / images if images else HERE / "src" / "images",
    )
    if table:
        raise Unusable(f"{', '.join(sorted(table))}: there is no such setting")
    return config


def filled(config: Config, node: Any) -> Any:
    """The same tree with the configuration's values in its texts."""
    if isinstance(node, dict):
        return {key: filled(config, value) for key, value in node.items()}
    return config.fill(node) if isinstance(node, str) else node


def written(tree: Any) -> bytes:
    return (json.dumps(tree, ensure_ascii=False, indent=2) + "\n").encode()


def assemble(config: Config) -> dict[str, bytes]:
    """The archive's files by their paths."""
    source = HERE / "src"
    files = {name: config.fill((source / name).read_text(encoding="utf-8")).encode() for name in TEXTS}
    manifest = json.loads(files["manifest.json"])
    manifest["widget"]["locale"] = list(config.languages)
    pictures = {path.name: path.read_bytes() for path in sorted(config.images.glob("*.png"))}
    for language in config.languages:
        tour = sorted(name for name in pictures if re.fullmatch(rf"tour_\d+_{language}\.png", name))
        manifest["tour"]["tour_images"][language] = [f"/images/{name}" for name in tour]
        words = json.loads((source / "i18n" / f"{language}.json").read_text(encoding="utf-8"))
        files[f"i18n/{language}.json"] = written(filled(config, words))
    files["manifest.json"] = written(manifest)
    shown = {name for tour in manifest["tour"]["tour_images"].values() for name in tour}
    for name, picture in pictures.items():
        if name.startswith("logo") or f"/images/{name}" in shown:
            files[f"images/{name}"] = picture
    return files


def pack(files: dict[str, bytes], path: Path) -> None:
    """Writes the archive: the same files give the same bytes, whenever and wherever."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            # Stored: what a compressor writes differs between versions of zlib, and pictures are compressed already.
            entry.compress_type = zipfile.ZIP_STORED
            archive.writestr(entry, files[name])


def report(path: Path) -> int:
    found = check(path)
    for broken in found:
        print(broken, file=sys.stderr)
    wrong = [broken for broken in found if broken.rule not in ADVICE]
    if wrong:
        print(f"{path}: {len(wrong)} broken rule{'s' if len(wrong) > 1 else ''}", file=sys.stderr)
        return 1
    print(f"{path}: keeps all {len(RULES) - len(ADVICE)} rules")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes and checks widget.zip.")
    parser.add_argument("--config", type=Path, default=HERE / "widget.toml")
    parser.add_argument("--out", type=Path, default=HERE.parent / "target" / "widget")
    commands = parser.add_subparsers(dest="command")
    checking = commands.add_parser("check", help="check an archive against the vendor's rules")
    checking.add_argument("zip", type=Path)
    commands.add_parser("rules", help="list the rules")
    args = parser.parse_args()
    if args.command == "rules":
        print("\n".join(f"{name:<20} {says}" for name, says in RULES.items()))
        return 0
    if args.command == "check":
        return report(args.zip)
    try:
        config = read_config(args.config)
        files = assemble(config)
    except Unusable as error:
        print(f"{args.config}: {error}", file=sys.stderr)
        return 2
    unpacked = args.out / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for name, content in files.items():
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_bytes(content)
    pack(files, args.out / "widget.zip")
    return report(args.out / "widget.zip")


if __name__ == "__main__":
    sys.exit(main())
