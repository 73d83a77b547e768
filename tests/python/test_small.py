"""The wheel of --no-default-features: it signs, verifies and parses, and says where the rest is."""

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amochats
import amochats.sandbox
import pytest
from amochats import _amochats

BODY = b'{"receiver":"u","conversation_id":"c-9","type":"text","text":"hi"}'
CONFIG: dict[str, Any] = {"channel": [{"id": "ch", "secret": "s", "base_url": "http://127.0.0.1:9"}]}
MISSING: dict[str, Callable[[], object]] = {
    "Channel": lambda: amochats.Channel(CONFIG),
    "Client": lambda: amochats.Client("ch", "s", region="ru"),
    "CrmClient": lambda: amochats.CrmClient(base_url="http://127.0.0.1:9"),
    "Sandbox": amochats.sandbox.Sandbox,
}
# Both forms share the native class.
ALIKE: dict[str, Callable[[], object]] = {
    "Channel": lambda: amochats.BlockingChannel(CONFIG),
    "Client": lambda: amochats.AsyncClient("ch", "s", region="ru"),
    "CrmClient": lambda: amochats.AsyncCrmClient(base_url="http://127.0.0.1:9"),
}


def test_this_is_the_small_build() -> None:
    assert not [name for name in dir(_amochats) if name in {"start", "block", *MISSING}]
    assert len(amochats.__all__) == len([name for name in amochats.__all__ if hasattr(amochats, name)])


@pytest.mark.parametrize(("name", "make"), [*MISSING.items(), *ALIKE.items()])
def test_what_is_missing_says_where_it_is(name: str, make: Callable[[], object]) -> None:
    with pytest.raises(ImportError) as caught:
        make()
    assert str(caught.value).startswith(f"amochats.{name} is not in this build")
    assert str(caught.value).endswith("install the whole wheel")


def test_the_fixtures_say_so_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(amochats_sandbox): pass")
    result = pytester.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ImportError: amochats.Sandbox is not in this build*"])


def command(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([sys.executable, "-I", "-m", "amochats", *arguments], input=BODY, capture_output=True)


def test_the_command_does_what_it_can() -> None:
    signature = amochats.sign_body("s", BODY)
    assert command("sign", "body", "--secret", "s").stdout.decode() == f"{signature}\n"
    assert command("verify", "--secret", "s", "--signature", signature).returncode == 0
    assert json.loads(command("parse").stdout)["text"] == "hi"
    sandbox = command("sandbox")
    assert sandbox.returncode == 2
    assert sandbox.stderr.startswith(b"amochats: amochats.Sandbox is not in this build")


def test_requests_are_checked_as_they_are_sent() -> None:
    message = amochats.NewMessage("c-1", "m-1", amochats.Sender("u-1", "Anna"), amochats.Text("hi"))
    assert json.loads(amochats.encode_message(message))["payload"]["msgid"] == "m-1"


def test_a_process_ends_cleanly() -> None:
    script = "import amochats, threading; threading.Thread(target=amochats.sign_body, args=('s', bytes(10**7)), daemon=True).start()"
    done = subprocess.run([sys.executable, "-I", "-W", "error", "-c", script], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_imports_do_not_depend_on_the_build() -> None:
    modules = {module.name for module in pkgutil.iter_modules(amochats.__path__)}
    for name in modules - {"__main__", "_amochats", "django"}:
        importlib.import_module(f"amochats.{name}")
    assert {"asgi", "wsgi", "django", "sandbox", "pytest_plugin"} <= modules
    assert Path(amochats.__file__).with_name("py.typed").exists()
