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

# The entry points of C, which libFuzzer reaches without Rust's: the library has no coverage of its own there.
if command -v clang >/dev/null; then
  cargo build --quiet --locked --package amochats-ffi
  mkdir -p fuzz/corpus/c fuzz/artifacts/c target/fuzz-c
  ln -sf ../debug/libamochats.so target/fuzz-c/libamochats.so.0
  clang -std=c11 -Iffi/include -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/c/fuzz.c \
    -o target/fuzz-c/fuzz target/fuzz-c/libamochats.so.0 -Wl,-rpath,"$PWD/target/fuzz-c"
  echo "--- c"
  target/fuzz-c/fuzz -max_total_time="${FUZZ_SECONDS:-60}" -artifact_prefix=fuzz/artifacts/c/ fuzz/corpus/c fuzz/seeds/messages
else
  echo "--- c: skipped; apt-get install clang"
fi
