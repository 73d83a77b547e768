#!/usr/bin/env bash
# Does what a manager and a developer do on the pages of `amochats dev` and `amochats sandbox`, in
# headless Chromium. Arguments go to node's test runner. Screenshots are kept in
# tests/artifacts/browser. The last line is `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}

if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || ! command -v npm >/dev/null; then
    echo "Node 20 or later with npm is needed: apt-get install nodejs npm" >&2
    exit 3
fi
if [ -z "$CHROMIUM" ]; then
    echo "Chromium is needed: apt-get install chromium, or set CHROMIUM" >&2
    exit 3
fi
if [ -z "${AMOCHATS_BIN:-}" ]; then
    (cd "$root" && cargo build --quiet --locked --package amochats-server)
    AMOCHATS_BIN=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/debug/amochats
fi
AMOCHATS_BIN=$(realpath "$AMOCHATS_BIN")
export AMOCHATS_BIN

cd "$here"
# npm writes this file last. Another run in this folder waits for the end of the installation.
(
    if command -v flock >/dev/null; then flock 9; fi
    if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
        npm ci --no-audit --no-fund --loglevel=error
    fi
) 9<run.sh

tap=$(mktemp)
trap 'rm -f "$tap"' EXIT
code=0
# The browsers wait more than they work.
node --test --test-concurrency=3 --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$tap" "$@" || code=$?
count() { awk -v kind="$1" '$1 == "#" && $2 == kind { n = $3 } END { print n + 0 }' "$tap"; }
echo "$(count pass) passed, $(($(count fail) + $(count cancelled))) failed"
exit "$code"
