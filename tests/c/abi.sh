#!/usr/bin/env bash
# Compares the ABI of libamochats with the committed one, ffi/abi.xml: additions are named, and what breaks
# programs that are built already fails. `tests/c/abi.sh baseline` writes it anew; `make abi` calls that.
#
# The library is Rust, whose debug information tells of Rust's types. What C may rely on is the header, which
# is made from the sources; that the library has its functions, and no others, is a test in run.sh. So a
# library is looked at that has each function of the header with nothing in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
baseline=ffi/abi.xml
header=${AMOCHATS_HEADER:-ffi/include/amochats.h}
major=$(sed -n 's/^#define AMOCHATS_VERSION_MAJOR //p' "$header")

for tool in g++ abidw abidiff; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is missing: apt-get install g++ abigail-tools" >&2
    exit 3
  fi
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

# As C++, where the enums are the types of what the functions return. Without comments a declaration of a
# function is what ends in ");" and begins at the start of a line, and is no type.
g++ -E -P -x c++ "$header" | tr '\n' ' ' | sed 's/\([;{}]\)/\1\n/g' |
  sed -E '/typedef/! s/(amochats_[a-z0-9_]+ *\(.*\)) *;$/\1 { __builtin_trap(); }/' >"$temp/library.cpp"
# Some enums are arguments as numbers alone; here are all by their names.
grep -oE '^enum amochats_[a-z_]+' "$header" | paste -sd, | sed 's/.*/void all_enums(&) {}/' >>"$temp/library.cpp"
g++ -std=c++17 -x c++ -w -g "-fdebug-prefix-map=$temp=." -fPIC -shared \
  "-Wl,-soname,libamochats.so.$major" "$temp/library.cpp" -o "$temp/libamochats.so"
g++ -E -P -x c++ "$header" | grep -oE '\bamochats_[a-z0-9_]+\(' | tr -d '(' | sort -u |
  diff - <(nm -D --defined-only "$temp/libamochats.so" | awk '$3 ~ /^amochats_/ { print $3 }' | sort -u)
abidw --no-show-locs --no-corpus-path --no-comp-dir-path --out-file "$temp/abi.xml" \
  "$temp/libamochats.so"

if [[ ${1:-} == baseline ]]; then
  cp "$temp/abi.xml" "$baseline"
  exit
fi
compare() { abidiff --no-show-locs "$@" "$baseline" "$temp/abi.xml"; }
if ! compare --no-added-syms >"$temp/breaks"; then
  cat "$temp/breaks"
  echo "The ABI breaks: raise the major version, and then run \`make abi\`." >&2
  exit 1
fi
if ! compare --harmless >"$temp/additions"; then
  cat "$temp/additions"
  echo "The ABI has additions alone; with the next release run \`make abi\`."
fi
