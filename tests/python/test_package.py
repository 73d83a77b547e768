"""The package as it is installed: its types, its documentation, its example."""

import ast
import builtins
import dataclasses
import doctest
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import amochats
import amochats.asgi
import amochats.django
import amochats.pytest_plugin
import amochats.sandbox
import amochats.wsgi
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ["amochats", *(f"amochats.{module.name}" for module in pkgutil.iter_modules(amochats.__path__))]


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", *command], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def with_path(*folders: Path) -> dict[str, str]:
    return {**os.environ, "MYPYPATH": os.pathsep.join(map(str, folders))}


def test_the_installed_package_is_tested() -> None:
    assert Path(amochats.__file__).is_relative_to(sysconfig.get_path("purelib"))
    assert len(MODULES) == 22


def test_the_version_is_that_of_the_workspace() -> None:
    workspace = re.search(
        r'^\[workspace\.package\]\nversion = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE
    )
    assert workspace is not None
    assert amochats.__version__ == workspace[1] == importlib.metadata.version("amochats")


def public_items() -> dict[str, object]:
    """What is public by its name, with the members that classes have of their own."""
    public: dict[str, object] = {name: getattr(amochats, name) for name in amochats.__all__}
    for module in (amochats.asgi, amochats.wsgi, amochats.django, amochats.sandbox, amochats.pytest_plugin):
        assert inspect.getdoc(module)
        public |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    for name, value in list(public.items()):
        if inspect.isclass(value):
            own = {member: held for member, held in vars(value).items() if not member.startswith("_")}
            public |= {f"{name}.{member}": held for member, held in own.items()}
    return public


def test_everything_public_is_documented() -> None:
    assert sorted(amochats.__all__) == sorted(set(amochats.__all__))
    public, missing = public_items(), []
    for name, value in public.items():
        if isinstance(value, type | property | classmethod | staticmethod) or inspect.isfunction(value):
            # A dataclass writes its signature where there is nothing.
            if not inspect.getdoc(value) or str(value.__doc__).startswith(f"{name}("):
                missing.append(name)
    assert missing == [] and len(public) > 300


# In seconds, wherever they stand.
DURATIONS = {"timeout", "connect_timeout", "deadline", "request_interval", "lease", "delay", "expires_in"}


def sections(doc: str) -> dict[str, dict[str, str]]:
    """`Args` and `Raises` of a docstring: each entry with what it says."""
    found: dict[str, dict[str, str]] = {}
    for title, text in re.findall(r"^(Args|Raises):\n((?:(?:    .*)?\n?)+)", doc, re.MULTILINE):
        entries = re.findall(r"^    (\w+): (.+(?:\n     +.+)*)", text, re.MULTILINE)
        found[title] = dict(entries)
    return found


def test_the_documentation_says_what_the_signatures_say() -> None:
    wrong, checked, raised = [], 0, 0
    for name, value in public_items().items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        told = sections(inspect.getdoc(function) or "")
        # What has no arguments to tell of is made by a method of another class.
        made_by_users = inspect.isclass(value) and "Args" in told and not dataclasses.is_dataclass(value)
        if not inspect.isfunction(function) and not made_by_users:
            continue
        for error in told.get("Raises", {}):
            raised += 1
            if not hasattr(amochats, error) and not hasattr(builtins, error):
                wrong.append(f"{name} raises {error}, which does not exist")
        assert callable(function)
        parameters = {p.name: p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")}
        untyped = [p.name for p in parameters.values() if p.annotation is p.empty]
        if "Args" in told and set(told["Args"]) != parameters.keys():
            wrong.append(f"{name} tells of {sorted(told['Args'])} and takes {sorted(parameters)}")
        for parameter in DURATIONS & parameters.keys():
            checked += 1
            if "econds" not in told.get("Args", {}).get(parameter, ""):
                wrong.append(f"{name} does not say that {parameter} is in seconds")
        wrong += [f"{name} does not type {parameter}" for parameter in untyped]
    assert wrong == []
    assert checked > 20 and raised > 80


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_the_documentation_work(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module), report=True).failed == 0


def test_some_examples_were_run() -> None:
    finder = doctest.DocTestFinder()
    tested = {
        test.name
        for module in MODULES
        for test in finder.find(importlib.import_module(module))
        if test.examples
    }
    functions = {f"{f.__module__}.{f.__name__}" for f in vars(amochats).values() if inspect.isfunction(f)}
    assert tested == functions | {"amochats", *(f"amochats.{name}" for name in ("asgi", "enums", "payloads", "sandbox"))}


def test_the_blocking_classes_are_those_that_are_generated() -> None:
    done = run(ROOT / "python/unasync.py", "--check")
    assert done.returncode == 0, done.stderr


def test_the_readme_works() -> None:
    channel, receive, send = re.findall(r"```python\n(.*?)```", (ROOT / "python/README.md").read_text(), re.DOTALL)
    # What it does is in test_channel.py; its names are there.
    compile(channel, "README.md", "exec")
    assert all(hasattr(amochats, name) for name in re.findall(r"amochats\.(\w+)", channel))
    told: list[tuple[object, ...]] = []
    names: dict[str, object] = {
        "deliver": lambda *said: told.append(said),
        "show_typing": lambda *said: told.append(said),
    }
    exec(receive, names)
    webhook = names["webhook"]
    assert callable(webhook)
    body = b'{"receiver":"u","conversation_id":"c-9","type":"text","text":"hi"}'
    assert webhook(body, amochats.sign_body("channel-secret", body)) == 200
    assert webhook(body, "0" * 40) == 401
    assert told == [("c-9", "hi")]

    class requests:
        @staticmethod
        def post(url: str, data: bytes, headers: dict[str, str]) -> None:
            told.append((url, headers["X-Signature"], len(data) > 100))

    exec(send, {"amochats": amochats, "path": "/v2/x", "host": "https://amojo.example", "requests": requests})
    assert told[1][0] == "https://amojo.example/v2/x" and told[1][2]


def test_the_guide_works() -> None:
    guide = ROOT / "docs/python.md"
    assert doctest.testfile(str(guide), module_relative=False).failed == 0
    text = guide.read_text()
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(program, "python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    examples = re.findall(r"\(\.\./(python/examples/\w+\.py)\)", text)
    assert len(examples) >= 6 and all((ROOT / example).exists() for example in examples)


def test_the_reference_is_built_without_warnings(tmp_path: Path) -> None:
    modules = ["amochats", "amochats.asgi", "amochats.wsgi", "amochats.django", "amochats.sandbox"]
    done = run("-W", "error", "-m", "pdoc", "--docformat", "google", "--output-directory", tmp_path, *modules)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "amochats.html").read_text()
    assert all(f'id="{name}"' in page for name in amochats.__all__ if name != "__version__")


def test_the_example_program_works() -> None:
    program = ROOT / "python/examples/verify.py"
    body = b'{"receiver":"u","conversation_id":"c-9","type":"text","text":"Hello"}\n'
    good = amochats.sign_body("channel-secret", body.strip())
    for signature, code, said in [
        (good, 0, "MessageEvent("),
        ("0" * 40, 1, "does not belong"),
        ("x", 1, "40 hex digits"),
    ]:
        done = subprocess.run(
            [sys.executable, "-I", program, signature],
            input=body,
            capture_output=True,
            env={**os.environ, "AMOCHATS_SECRET": "channel-secret"},
        )
        assert (done.returncode, said in (done.stdout + done.stderr).decode()) == (code, True), done
        assert b"Hello" not in done.stdout + done.stderr


def test_types_hold_for_the_package_its_tests_and_a_users_program() -> None:
    done = run("-m", "mypy", "--strict", "--python-version", "3.10", "-p", "amochats")
    assert done.returncode == 0, done.stdout
    here = Path(__file__).parent
    allowed: list[str | Path] = ["--allowlist", here / "stubtest.allowlist", "--ignore-unused-allowlist"]
    done = run("-m", "mypy.stubtest", "amochats", *allowed)
    assert done.returncode == 0, done.stdout
    others = [here / name for name in ("conftest.py", "sandbox.py", "typed_program.py", "typed_channel.py")]
    examples = (ROOT / "python/examples").glob("*.py")
    programs = [*here.glob("test_*.py"), *others, *examples]
    done = run("-m", "mypy", "--strict", "--python-version", "3.10", *programs, env=with_path(here, here.parent))
    assert done.returncode == 0, done.stdout
    done = run(here / "typed_program.py")
    assert (done.returncode, done.stdout) == (0, "c-9: hi\n"), done.stderr


def test_pyright_finds_users_programs_clean() -> None:
    programs = sorted(Path(__file__).parent.glob("typed_*.py"))
    done = run("-m", "pyright", "--pythonpath", sys.executable, *programs)
    assert len(programs) == 2 and done.returncode == 0, done.stdout + done.stderr


def test_types_refuse_what_would_fail(tmp_path: Path) -> None:
    wrong = {
        'amochats.sign_body("s", "text")': "arg-type",
        'amochats.verify_webhook(b"s", b"", None)': "arg-type",
        "amochats.parse_webhook(b'').text": "union-attr",
        "amochats.TypingEvent().time = 5": "misc",
        "amochats.AmochatsError().code": "call-arg",
    }
    program = tmp_path / "wrong.py"
    program.write_text("import amochats\n" + "\n".join(wrong))
    said = run("-m", "mypy", "--strict", program).stdout
    found = dict(re.findall(r"wrong\.py:(\d+): error: .*\[([a-z-]+)\]", said))
    assert found == {str(line): code for line, code in enumerate(wrong.values(), 2)}, said
