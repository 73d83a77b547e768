"""The native half, for those classes that are in the whole build alone."""

import json
import os
from collections.abc import Mapping
from typing import Any

from . import _amochats

# The most that one call lists.
PAGE = 1000


def make(name: str, *arguments: Any) -> Any:
    """An object of the native class of this name."""
    cls = getattr(_amochats, name, None)
    if cls is None:
        raise ImportError(
            f"amochats.{name} is not in this build, which was made with --no-default-features and signs, "
            "verifies and parses alone; install the whole wheel"
        )
    return cls(*arguments)


def arguments(values: Mapping[str, Any] | None) -> bytes:
    """Writes the arguments of a call; None is left out."""
    if not values:
        return b"{}"
    return json.dumps({name: value for name, value in values.items() if value is not None}).encode()


def configuration(
    config: "Mapping[str, Any] | str | os.PathLike[str]", environ: Mapping[str, str] | None
) -> tuple[str, str, list[tuple[str, str]]]:
    """Where a channel's configuration comes from, for the native half."""
    variables = list((environ or {}).items())
    if isinstance(config, Mapping):
        try:
            return "json", json.dumps(dict(config), default=_plain), variables
        except (TypeError, ValueError) as error:
            raise TypeError(f"config holds what a configuration cannot: {error}") from None
    if isinstance(config, os.PathLike):
        with open(config, encoding="utf-8") as file:
            return "toml", file.read(), variables
    if isinstance(config, str):
        return "toml", config, variables
    raise TypeError(
        f"config must be a dict, the text of a TOML file or a pathlib.Path, not {type(config).__name__}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not text, a number, a flag, a list or a dict")
