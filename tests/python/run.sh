#!/usr/bin/env bash
# Builds the wheels and tests them as their users get them: installed, beside nothing but what tests them. The
# whole one with this CPython and, a part of the tests, with a newer one; then the small one of
# --no-default-features, which pip builds from the source distribution. Arguments go to pytest, which then runs with this CPython and the whole wheel alone.
# The last line is `N passed, N failed`.
# AMOCHATS_EXITS=300 runs so many scripts that end in the middle of something. AMOCHATS_NEWER_PYTHON names the
# newer CPython; `none` leaves it out.
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
key=$({ "$python" -VV && echo "$target" && cat "$here/requirements.txt" "$here/run.sh"; } | sha256sum | cut -c1-12)
venv=$target/python-venv-$key
mkdir -p "$target"
# Another run in this folder waits for the end of this one.
exec 9>"$venv.lock"
if command -v flock >/dev/null; then flock 9; fi
install=(install --quiet --disable-pip-version-check --constraint "$here/requirements.txt")
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    for name in build test small; do
        "$python" -m venv "$venv/$name"
    done
    "$venv/build/bin/pip" "${install[@]}" maturin
    "$venv/small/bin/pip" "${install[@]}" pytest pytest-xdist
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
# From a folder with nothing in it, so that only the installed package can be imported.
mkdir "$work/cwd"
cd "$work/cwd"
export MYPY_CACHE_DIR=$venv/mypy-cache
unset MYPYPATH
failed=0

whole() {
    "$venv/build/bin/maturin" build --quiet --locked --profile dev --manifest-path "$root/python/Cargo.toml" \
        --target-dir "$target" --interpreter "$venv/test/bin/python" --out "$work/whole"
}

small() {
    "$venv/build/bin/maturin" sdist --manifest-path "$root/python/Cargo.toml" --out "$work/sdist" 2>/dev/null
    # Always the same place, so that cargo knows what it has built.
    rm -rf "$target/sdist"
    mkdir "$target/sdist"
    tar -xzf "$work"/sdist/amochats-*.tar.gz -C "$target/sdist" --strip-components 1
    PATH=$venv/build/bin:$PATH CARGO_TARGET_DIR=$target MATURIN_PEP517_ARGS="--profile dev --no-default-features" \
        "$venv/build/bin/pip" wheel --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        --wheel-dir "$work/small" "$target/sdist"
}

# suite ENVIRONMENT WHEEL ARGUMENT... installs the wheel and runs pytest.
suite() {
    "$1/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "$work/$2"/*.whl
    "$1/bin/python" -IB -m pytest -c "$here/pytest.ini" --rootdir "$here" -n 2 "${@:3}" | tee -a "$work/said" || failed=1
}

# A CPython that is newer than this one: one that is there, or else one that uv brings.
newer() {
    local minor wanted found
    minor=$("$python" -c 'import sys; print(sys.version_info.minor)')
    # The newest first, but not one whose requirements may have no wheels yet.
    for wanted in $(seq 14 -1 "$((minor + 1))"); do
        for found in "python3.$wanted" "$HOME"/.pyenv/versions/"3.$wanted".*/bin/python3; do
            if "$found" -c 'import venv, ensurepip' 2>/dev/null; then
                command -v "$found"
                return
            fi
        done
    done
    [ "$minor" -lt 14 ] || return 0
    "$venv/build/bin/pip" "${install[@]}" uv
    export UV_PYTHON_INSTALL_DIR=$venv/uv UV_CACHE_DIR=$venv/uv-cache
    if timeout 300 "$venv/build/bin/uv" --no-progress python install --no-bin 3.14 >&2; then
        "$venv/build/bin/uv" python find 3.14
    fi
}

whole
suite "$venv/test" whole "$here" --ignore "$here/test_small.py" "$@"
if [ $# -eq 0 ]; then
    newer=${AMOCHATS_NEWER_PYTHON:-$(newer)}
    if [ -z "$newer" ] || [ "$newer" = none ]; then
        echo "NOT TESTED with a newer CPython: there is none; set AMOCHATS_NEWER_PYTHON"
    else
        "$newer" -VV
        if [ ! -e "$venv/newer/complete" ]; then
            rm -rf "$venv/newer"
            "$newer" -m venv "$venv/newer"
            "$venv/newer/bin/pip" "${install[@]}" pytest pytest-xdist uvloop anyio
            touch "$venv/newer/complete"
        fi
        AMOCHATS_EXITS=${AMOCHATS_EXITS:-16} suite "$venv/newer" whole \
            "$here"/test_{channel,citizen,client,embedded,exceptions,vectors}.py
    fi
    small
    suite "$venv/small" small "$here"/test_{small,events,exceptions,messages,signing,vectors,webhooks}.py
fi
awk '/^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
    END { printf "%d passed, %d failed\n", passed, failed }' "$work/said"
exit "$failed"
