#!/usr/bin/env bash
# Makes target/docs/c/html of the C and C++ headers and the guide; `make docs` calls it. What Doxygen warns of
# is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v doxygen >/dev/null; then
  echo "doxygen is missing: apt-get install doxygen" >&2
  exit 3
fi
version=$(${CARGO:-cargo} pkgid --package amochats-ffi)
rm -rf target/docs/c
mkdir -p target/docs/c
(cat packaging/c/Doxyfile && echo "PROJECT_NUMBER = ${version##*[@#]}") | doxygen -
echo "$PWD/target/docs/c/html/index.html"
