#!/usr/bin/env bash
# The API reference, by pdoc. A warning is an error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}")
venv=$target/python-docs-venv

if [ ! -x "$venv/bin/pdoc" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --constraint "$here/../tests/python/requirements.txt" \
        pdoc pytest django
fi
# What is documented is Python: the smallest and fastest build has all of it.
MATURIN_PEP517_ARGS="--profile dev --no-default-features" \
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$here"
cd "$target"
"$venv/bin/python" -I -W error -m pdoc --docformat google --output-directory "$target/python-docs" \
    amochats amochats.asgi amochats.wsgi amochats.django amochats.sandbox amochats.pytest_plugin
echo "$target/python-docs/index.html"
