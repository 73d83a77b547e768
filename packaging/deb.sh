#!/usr/bin/env bash
# Builds target/deb/amochats_VERSION_ARCH.deb; `make deb` calls it. PROFILE names another profile of cargo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=${PROFILE:-dist}
version=3.8.0
export PATH=$PWD/target/tools/bin:$PATH

command -v cargo-deb >/dev/null || cargo install --quiet --locked --root target/tools --version "$version" cargo-deb
cargo build --locked --profile "$profile" --package amochats-server
amochats=target/${profile/#dev/debug}/amochats

rm -rf target/deb
mkdir -p target/deb
"$amochats" man --out target/deb/man >/dev/null
for shell in bash zsh fish; do "$amochats" completions "$shell" >"target/deb/$shell"; done
"$amochats" config example >target/deb/amochats.toml
cargo deb --quiet --no-build --profile "$profile" --package amochats-server --output target/deb/
echo target/deb/*.deb
