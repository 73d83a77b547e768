#!/usr/bin/env python3
"""Builds the examples of gRPC clients as their heads say, and runs them against a server and a sandbox.

`make interop` calls it. What they need is installed (Debian's packages as root, else the line to run
is shown); what was built is kept below target/ until an example or a .proto file changes. Arguments
go to pytest. The last line is `N passed, N failed`.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WORK = TARGET / "interop"


def languages() -> list[str]:
    return sorted(folder.name for folder in (ROOT / "examples").iterdir() if folder.is_dir())


def commands(language: str) -> list[str]:
    """The commands in the head of an example, which begin with a dollar sign."""
    (source,) = (ROOT / "examples" / language).glob("[cC]hannel.*")
    return re.findall(r"^\W*\$ (.*)$", source.read_text(encoding="utf-8"), re.MULTILINE)


def install_packages() -> bool:
    lines = [line for language in languages() for line in commands(language)]
    wanted = {name for line in lines for name in line.partition("apt-get install")[2].split()}
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *sorted(wanted)]
    try:
        known = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:
        known = []
    missing = sorted(wanted - {line.split()[0] for line in known if line.endswith(" installed")})
    if not missing:
        return True
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"missing: sudo apt-get install {' '.join(missing)}", file=sys.stderr)
        return False
    print(f"installing {' '.join(missing)}", flush=True)
    started = time.monotonic()
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    for args in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        # What it says goes to a log: only an error is of interest.
        ended = subprocess.run([*apt, *args], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        print(ended.stdout[-2000:] + ended.stderr[-2000:], file=sys.stderr)
        return False
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)
    return True


def files(folder: Path) -> list[Path]:
    """The files of a folder, without what somebody built there."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."]
    listed = subprocess.run(git, cwd=folder, capture_output=True, text=True, check=True).stdout
    return sorted(folder / name for name in filter(None, listed.split("\0")))


def digest(sources: list[Path]) -> str:
    found = hashlib.sha256(sys.version.encode())
    for source in sources:
        found.update(str(source).encode() + b"\0" + source.read_bytes())
    return found.hexdigest()


def build(language: str) -> None:
    """Builds an example in a copy of its folder. What goes wrong stands in its build.log."""
    source, copy = ROOT / "examples" / language, WORK / "examples" / language
    stamp, key = copy / "built", digest([*files(source), *files(ROOT / "proto"), HERE / "requirements.txt"])
    if stamp.exists() and stamp.read_text() == key:
        return
    started = time.monotonic()
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in files(source):
        (copy / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy / file.relative_to(source))
    script = "\n".join(line for line in commands(language)[:-1] if "apt-get" not in line)
    with (copy / "build.log").open("w") as log:
        bash = ["bash", "-euxo", "pipefail", "-c", script]
        # The same versions in every run.
        environment = os.environ | {"PIP_CONSTRAINT": str(HERE / "requirements.txt")}
        null = subprocess.DEVNULL
        ended = subprocess.run(bash, cwd=copy, env=environment, stdin=null, stdout=log, stderr=log, check=False)
    if ended.returncode == 0:
        stamp.write_text(key)
    what = "built" if ended.returncode == 0 else "could not be built"
    print(f"{language} {what}, {time.monotonic() - started:.0f} s", flush=True)


def test_environment() -> Path:
    requirements = HERE / "requirements.txt"
    venv, key = WORK / "venv", hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()
    stamp = venv / "complete"
    if not stamp.exists() or stamp.read_text() != key:
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
        subprocess.run(pip, check=True)
        stamp.write_text(key)
    return venv / "bin"


def main() -> int:
    if not install_packages():
        print("0 passed, 0 failed, 1 skipped")
        return 0
    environment = os.environ.copy()
    if "AMOCHATS_BIN" not in environment:
        cargo = ["cargo", "build", "--quiet", "--locked", "--package", "amochats-server"]
        subprocess.run(cargo, cwd=ROOT, check=True)
        environment["AMOCHATS_BIN"] = str(TARGET / "debug/amochats")
    (WORK / "examples").mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        # Another run in this folder waits for the end of this one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(WORK / "proto", ignore_errors=True)
        shutil.copytree(ROOT / "proto", WORK / "proto")
        tools = test_environment()
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            # The longest first.
            list(workers.map(build, sorted(languages(), key=lambda name: name != "cpp")))
        environment |= {
            "INTEROP_EXAMPLES": str(WORK / "examples"),
            "PATH": f"{tools}:{environment['PATH']}",
        }
        pytest = [tools / "python", "-IB", "-m", "pytest", "-c", HERE / "pytest.ini", "--rootdir", HERE, HERE]
        return subprocess.run([*pytest, *sys.argv[1:]], cwd=WORK, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
