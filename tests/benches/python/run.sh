#!/usr/bin/env bash
# The Python module beside what people would write, and its memory; builds the wheel that is shipped and prints
# its size. AMOCHATS_EVENTS=100000 makes it short.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
venv=$target/python-bench-venv
python=${PYTHON:-python3}

[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --constraint "$root/tests/python/requirements.txt" \
    orjson msgspec pydantic amojowrapper
rm -rf "$target/wheels"
"$root/packaging/wheel.sh"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "$target"/wheels/*.whl
cd "$target/wheels"
"$venv/bin/python" -I "$here/speed.py"
"$venv/bin/python" -I "$here/memory.py"
