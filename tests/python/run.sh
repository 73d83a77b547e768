#!/usr/bin/env bash
# Builds the wheel and tests it as its users get it: installed, beside nothing but what tests it.
# Arguments go to pytest. The last line is `N passed, N failed`.
# AMOCHATS_EXITS=300 runs so many scripts that end in the middle of something.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
python=${PYTHON:-python3}

if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "Python 3.10 or later with venv is needed: apt-get install python3 python3-venv, or set PYTHON" >&2
    exit 3
fi

# The environments are made once for each Python, list of requirements and place: they cannot be moved.
key=$({ "$python" -VV && echo "$target" && cat "$here/requirements.txt"; } | sha256sum | cut -c1-12)
venv=$target/python-venv-$key
mkdir -p "$target"
# Another run in this folder waits for the end of this one.
exec 9>"$venv.lock"
if command -v flock >/dev/null; then flock 9; fi
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    for name in build test; do
        "$python" -m venv "$venv/$name"
    done
    install=(install --quiet --disable-pip-version-check --constraint "$here/requirements.txt")
    "$venv/build/bin/pip" "${install[@]}" maturin
    "$venv/test/bin/pip" "${install[@]}" pytest pytest-xdist mypy pyright uvloop anyio \
        uvicorn gunicorn uvicorn-worker fastapi starlette flask django django-stubs pdoc
    touch "$venv/complete"
fi

if [ -z "${AMOCHATS_BIN:-}" ]; then
    (cd "$root" && cargo build --quiet --locked --package amochats-server)
    AMOCHATS_BIN=$target/debug/amochats
fi
AMOCHATS_BIN=$(realpath "$AMOCHATS_BIN")
export AMOCHATS_BIN

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$venv/build/bin/maturin" build --quiet --locked --profile dev --manifest-path "$root/python/Cargo.toml" \
    --target-dir "$target" --interpreter "$venv/test/bin/python" --out "$work/dist"
"$venv/test/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "$work"/dist/*.whl

# From a folder with nothing in it, so that only the installed package can be imported.
mkdir "$work/cwd"
cd "$work/cwd"
export MYPY_CACHE_DIR=$venv/mypy-cache
unset MYPYPATH
"$venv/test/bin/python" -IB -m pytest -c "$here/pytest.ini" --rootdir "$here" -n 2 "$here" "$@"
