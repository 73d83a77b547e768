#!/usr/bin/env bash
# Builds the wheel that is shipped and its source distribution, checks the wheel with auditwheel and prints the
# sizes. Arguments go to maturin: packaging/wheel.sh --no-default-features is the small one, which signs,
# verifies and parses. It is built as version X+small, so that nobody takes one for the other.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
venv=$target/wheel-venv

if [ ! -x "$venv/bin/wheel" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --constraint "$root/tests/python/requirements.txt" \
        maturin auditwheel wheel
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
manifest=(--manifest-path "$root/python/Cargo.toml" --out "$out")
profile=wheel
case " $* " in
*" --no-default-features "*) profile=small ;;
# There is one source distribution, from which all of them are built.
*) "$venv/bin/maturin" sdist "${manifest[@]}" ;;
esac
"$venv/bin/maturin" build "${manifest[@]}" --quiet --locked --profile "$profile" --strip --target-dir "$target" \
    --interpreter "$venv/bin/python" "$@"
if [ "$profile" = small ]; then
    # Its version is in its names and its metadata; the bill of materials is that of the whole one.
    "$venv/bin/wheel" unpack --dest "$out/unpacked" "$out"/*.whl
    rm "$out"/*.whl
    info=$(echo "$out"/unpacked/*/*.dist-info)
    sed -i 's/^Version: .*/&+small/' "$info/METADATA"
    rm -r "$info/sboms"
    mv "$info" "${info%.dist-info}+small.dist-info"
    "$venv/bin/wheel" pack --dest-dir "$out" "$out"/unpacked/*
    rm -r "$out/unpacked"
fi
"$venv/bin/auditwheel" show "$out"/*.whl
mkdir -p "$target/wheels"
for made in "$out"/*; do
    cp "$made" "$target/wheels/"
    printf '%s: %d KiB\n' "$(basename "$made")" "$(($(stat -c %s "$made") / 1024))"
done
