#!/usr/bin/env bash
# Builds the source distribution, from it the wheel that is shipped, checks it with auditwheel and prints
# the sizes. Arguments go to maturin, which then builds from the checkout:
# packaging/wheel.sh --no-default-features is the small one, which signs, verifies and parses.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
venv=$target/wheel-venv

if [ ! -x "$venv/bin/auditwheel" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --constraint "$root/tests/python/requirements.txt" \
        maturin auditwheel
fi
# A source distribution is of the whole module: a smaller one would lack crates.
source=(--sdist)
[ $# -eq 0 ] || source=()
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$venv/bin/maturin" build "${source[@]}" --quiet --locked --profile dist --strip --manifest-path "$root/python/Cargo.toml" \
    --target-dir "$target" --interpreter "$venv/bin/python" "$@" --out "$out"
"$venv/bin/auditwheel" show "$out"/*.whl
mkdir -p "$target/wheels"
for wheel in "$out"/*; do
    cp "$wheel" "$target/wheels/"
    printf '%s: %d KiB\n' "$(basename "$wheel")" "$(($(stat -c %s "$wheel") / 1024))"
done
