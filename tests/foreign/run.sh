#!/usr/bin/env bash
# Clients that others wrote for the live service, against `amochats sandbox`: installed from their
# registries, unmodified but for the address. Arguments go to pytest. The last line is
# `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
python=${PYTHON:-python3}

if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "Python 3.10 or later with venv is needed: apt-get install python3 python3-venv, or set PYTHON" >&2
    exit 3
fi
if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || ! command -v npm >/dev/null; then
    echo "Node 20 or later with npm is needed: apt-get install nodejs npm" >&2
    exit 3
fi
if ! php -r 'exit(function_exists("hash_hmac") ? 0 : 1);' 2>/dev/null || ! command -v openssl >/dev/null; then
    echo "PHP and OpenSSL are needed: apt-get install php-cli openssl" >&2
    exit 3
fi
if [ -z "${AMOCHATS_BIN:-}" ]; then
    (cd "$root" && cargo build --quiet --locked --package amochats-server)
    AMOCHATS_BIN=$target/debug/amochats
fi
AMOCHATS_BIN=$(realpath "$AMOCHATS_BIN")
export AMOCHATS_BIN

# Installed once for each Python and list of versions.
key=$({ "$python" -VV && echo "$target" && cat "$here"/requirements.txt "$here"/package-lock.json; } | sha256sum | cut -c1-12)
installed=$target/foreign-$key
mkdir -p "$target"
# Another run in this folder waits for the end of this one.
exec 9>"$installed.lock"
if command -v flock >/dev/null; then flock 9; fi
if [ ! -e "$installed/complete" ]; then
    rm -rf "$installed"
    "$python" -m venv "$installed/python"
    "$installed/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    mkdir "$installed/node"
    cp "$here"/package.json "$here"/package-lock.json "$installed/node"
    (cd "$installed/node" && npm ci --no-audit --no-fund --loglevel=error)
    touch "$installed/complete"
fi
export NODE_PATH=$installed/node/node_modules

exec "$installed/python/bin/python" -IB -m pytest -c "$here/pytest.ini" --rootdir "$here" "$here" "$@"
