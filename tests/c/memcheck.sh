#!/usr/bin/env bash
# The whole library in a build of release, under Valgrind's memcheck: no error, no leak. `make torture` calls it, as a
# build of release takes minutes; run.sh does the same with what is built for tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v valgrind >/dev/null || { echo "memcheck: valgrind is missing: apt-get install valgrind" >&2 && exit 3; }

cargo build --locked --release --package amochats-ffi
cargo build --locked --package amochats-server
target=${CARGO_TARGET_DIR:-target}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cp "$target/release/libamochats.so" "$temp/libamochats.so.0"
ln -s libamochats.so.0 "$temp/libamochats.so"
memcheck=(valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9)

for program in channel crm admin; do
  "${CC:-gcc}" -std=c11 -g -pthread -Iffi/include "tests/c/$program.c" -o "$temp/$program" "-L$temp" -lamochats "-Wl,-rpath,$temp"
done
# What a child of fork() leaves behind is no leak: it may not touch it.
CHECK_WITHOUT_FORK=1 "${memcheck[@]}" "$temp/channel"
for program in crm admin; do
  python3 tests/c/sandbox.py "$target/debug/amochats" "${memcheck[@]}" "$temp/$program"
done
