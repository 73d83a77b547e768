#!/usr/bin/env bash
# Runs each fuzz target for a while (FUZZ_SECONDS, 60 unless set) from its seeds. `make fuzz` calls it.
# What it finds is in fuzz/artifacts; put the input into fuzz/seeds once it is mended, and the tests
# run it for ever.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=0.13.2
if ! command -v cargo-fuzz >/dev/null; then
  export PATH=$PWD/target/tools/bin:$PATH
  command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root target/tools --version "$version" cargo-fuzz
fi
# cargo-fuzz has no --locked.
cargo metadata --locked --format-version=1 --manifest-path fuzz/Cargo.toml >/dev/null
# The sanitizer's flags are unstable; this lets a stable compiler take them.
export RUSTC_BOOTSTRAP=1
for seeds in fuzz/seeds/*/; do
  target=$(basename "$seeds")
  mkdir -p "fuzz/corpus/$target"
  echo "--- $target"
  cargo fuzz run "$target" "fuzz/corpus/$target" "$seeds" -- -max_total_time="${FUZZ_SECONDS:-60}"
done
