#!/usr/bin/env bash
# Tests the C ABI: the vectors, misuse, the channel and the C++ wrapper, with sanitizers, against the shared
# and the static library; the channel under Valgrind, too; the examples against a sandbox. The last line is
# "N passed, N failed".
#
# Exit codes: 0 all passed, 1 some failed, 3 something has to be installed first.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
CC=${CC:-gcc}
CXX=${CXX:-g++}

for tool in "$CC" "$CXX" nm readelf; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is missing: apt-get install gcc g++ binutils" >&2
    exit 3
  fi
done
if ! echo '#include <jansson.h>' | "$CC" -E - >/dev/null 2>&1; then
  echo "jansson.h is missing: apt-get install libjansson-dev" >&2
  exit 3
fi

cargo build --quiet --package amochats-ffi
cargo build --quiet --package amochats-server
built=${CARGO_TARGET_DIR:-target}/debug

temp=$(mktemp -d)
export TMPDIR=$temp
trap 'rm -rf "$temp"' EXIT
# As an installation has them: the program loads what the SONAME names.
mkdir "$temp/lib"
cp "$built/libamochats.so" "$temp/lib/libamochats.so.0"
ln -s libamochats.so.0 "$temp/lib/libamochats.so"

include=$root/ffi/include
strict=(-Wall -Wextra -Wpedantic -Werror "-I$include")
sanitized=("${strict[@]}" -g -fsanitize=address,undefined -fno-sanitize-recover=all -pthread)
shared=("-L$temp/lib" -lamochats "-Wl,-rpath,$temp/lib")
static=("$built/libamochats.a" -ldl -lm)

passed=0
failed=0

# check NAME COMMAND...: one test, which is that the command succeeds.
check() {
  if "${@:2}" >"$temp/log" 2>&1; then
    echo "ok $1"
    passed=$((passed + 1))
  else
    cat "$temp/log"
    echo "not ok $1"
    failed=$((failed + 1))
  fi
}

# suite NAME COMMAND...: a program that prints a line per test, see check.h.
suite() {
  local status=0 oks nots
  : >"$temp/said"
  CHECK_LOG=$temp/said "${@:2}" >"$temp/log" 2>&1 || status=$?
  sed -E "s#^(ok|not ok) #\1 $1: #" "$temp/log"
  oks=$(grep -c '^ok ' "$temp/log" || true)
  nots=$(grep -c '^not ok ' "$temp/log" || true)
  if ((status != 0 && nots == 0)) || ((status == 0 && oks == 0)); then
    echo "not ok $1: ended with exit code $status"
    nots=$((nots + 1))
  fi
  # Whatever the library or a server beside it logged is in there.
  if ! cat "$temp/said" "$temp/log" | python3 tests/planted.py "$1"; then
    echo "not ok $1: says what is private"
    nots=$((nots + 1))
  fi
  passed=$((passed + oks))
  failed=$((failed + nots))
}

exports_only_amochats() {
  nm -D --defined-only "$temp/lib/libamochats.so" | awk '{ print $NF }' >"$temp/symbols"
  grep -q '^amochats_version$' "$temp/symbols" && ! grep -v '^amochats_' "$temp/symbols"
}

# Every function of the header is exported, and the other way round.
exports_the_header() {
  grep -oE '\bamochats_[a-z0-9_]+\(' "$include/amochats.h" | tr -d '(' | sort -u >"$temp/declared"
  nm -D --defined-only "$temp/lib/libamochats.so" | awk '{ print $NF }' | sort -u | diff "$temp/declared" -
}

names_its_abi() {
  readelf -d "$temp/lib/libamochats.so" >"$temp/dynamic"
  grep -q 'SONAME.*\[libamochats\.so\.0\]' "$temp/dynamic" && grep -q NODELETE "$temp/dynamic"
}

# example PROGRAM: a hook of the vendor's pages, which ends with a line feed that is not signed.
example() {
  local hook signature out status
  hook='{"receiver":"U1","conversation_id":"c59678affa1db6","type":"text","text":"Yes, of course. This is just what I was looking for","media":"","thumbnail":"","file_name":"","file_size":0}'
  signature=ef2d1762bee0caef369991e584279e37383cc29f
  export AMOCHATS_SECRET=da39a3ee5e6b4b0d3255bfef95601890afd80709
  out=$("$1" "$signature" <<<"$hook")
  [[ $out == "message in c59678affa1db6: Yes, of course. This is just what I was looking for" ]] || return 1
  status=0 && "$1" "$signature" <<<"$hook " || status=$?
  [[ $status == 1 ]] || return 1
  status=0 && "$1" <<<"$hook" || status=$?
  [[ $status == 2 ]] || return 1
  status=0 && AMOCHATS_SECRET='' "$1" "$signature" <<<"$hook" || status=$?
  [[ $status == 2 ]]
}

# The guide promises programs that can be read at one go.
short() {
  (($(wc -l <ffi/examples/channel.c) < 150 && $(wc -l <ffi/examples/channel.cpp) < 80))
}

# The guide says how long they are.
as_the_guide_says() {
  grep -q "channel\.c) is a whole messenger in $(wc -l <ffi/examples/channel.c) lines" docs/embed-c.md &&
    grep -q "^the same in $(wc -l <ffi/examples/channel.cpp):" docs/embed-c.md
}

reports_a_race() {
  local status=0
  "${drd[@]}" "$temp/race" || status=$?
  [[ $status == 9 ]] && grep -q 'Conflicting .* by thread' "$temp/log"
}

compilers=("$CC $CXX")
if command -v clang++ >/dev/null; then
  compilers+=("clang clang++")
else
  echo "C: the headers compiled by clang (apt-get install clang)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi
for pair in "${compilers[@]}"; do
  read -r c cxx <<<"$pair"
  for standard in c99 c11 c17; do
    check "amochats.h alone, $standard, $c" "$c" "-std=$standard" "${strict[@]}" -fsyntax-only -include amochats.h -xc /dev/null
  done
  for standard in c++11 c++17 c++20; do
    check "amochats.h alone, $standard, $cxx" "$cxx" "-std=$standard" "${strict[@]}" -fsyntax-only -include amochats.h -xc++ /dev/null
  done
  for standard in c++17 c++20; do
    check "amochats.hpp alone, $standard, $cxx" "$cxx" "-std=$standard" "${strict[@]}" -fsyntax-only -include amochats.hpp -xc++ /dev/null
  done
done
check "the guide's programs are short" short
check "the guide's programs are as long as it says" as_the_guide_says
check "only amochats_* is exported" exports_only_amochats
check "the header's functions are exported" exports_the_header
check "the shared library names its ABI and stays loaded" names_its_abi

cases=()
while IFS= read -r case; do cases+=("$case"); done < <(cd tests/vectors && find . -name '*.json' -not -path './channel/*' -not -path './vendor/*' -printf '%P\n' | sort)
vectors() { (cd tests/vectors && "$1" "${cases[@]}"); }
with_sandbox() { python3 tests/c/sandbox.py "$built/amochats" "$@"; }

# build PROGRAM SOURCE ARGUMENTS...: compiles without a warning.
build() {
  case $2 in
    *.c) check "build $1" "$CC" "-std=$standard" "${sanitized[@]}" "$2" -o "$temp/$1" "${@:3}" ;;
    *.cpp) check "build $1" "$CXX" -std=c++17 "${sanitized[@]}" "$2" -o "$temp/$1" "${@:3}" ;;
  esac
}

for kind in shared static; do
  declare -n library=$kind
  for standard in c99 c11; do
    label=$standard-$kind
    build "vectors-$label" tests/c/vectors.c "${library[@]}" -ljansson
    suite "vectors-$label" vectors "$temp/vectors-$label"
    build "misuse-$label" tests/c/misuse.c "${library[@]}"
    suite "misuse-$label" "$temp/misuse-$label"
    build "example-$label" ffi/examples/verify.c "${library[@]}"
    check "example-$label" example "$temp/example-$label"
  done
  # From C11 on, for a test that needs thread-locals.
  build "channel-$label" tests/c/channel.c "${library[@]}"
  suite "channel-$label" "$temp/channel-$label"
  build "linking-$label" tests/c/linking.c "${library[@]}"
  LINKING_TOKEN_1=$(python3 tests/c/token.py 1) LINKING_TOKEN_2=$(python3 tests/c/token.py 2)
  export LINKING_TOKEN_1 LINKING_TOKEN_2
  suite "linking-$label" "$temp/linking-$label"
  for program in crm admin; do
    build "$program-$label" "tests/c/$program.c" "${library[@]}"
    suite "$program-$label" with_sandbox "$temp/$program-$label"
  done
  build "embedded-$label" ffi/examples/channel.c "${library[@]}"
  label=c++17-$kind
  build "wrapper-$label" tests/c/wrapper.cpp "${library[@]}"
  suite "wrapper-$label" "$temp/wrapper-$label"
  build "admin-$label" tests/c/admin.cpp "${library[@]}"
  suite "admin-$label" with_sandbox "$temp/admin-$label"
  build "vectors-$label" tests/c/vectors.cpp "${library[@]}" -ljansson
  suite "vectors-$label" vectors "$temp/vectors-$label"
  build "example-$label" ffi/examples/verify.cpp "${library[@]}"
  check "example-$label" example "$temp/example-$label"
  build "embedded-$label" ffi/examples/channel.cpp "${library[@]}"
done

# A program that loads the library, uses the channel, unloads it and goes on.
build dlopen tests/c/dlopen.c -ldl
check "works under dlopen" "$temp/dlopen" "$temp/lib/libamochats.so"

if command -v abidw >/dev/null; then
  check "the ABI is compatible with ffi/abi.xml" tests/c/abi.sh
else
  echo "C: the ABI (apt-get install abigail-tools)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi
if command -v doxygen >/dev/null; then
  check "the documentation is made without a warning" make docs
else
  echo "C: the documentation (apt-get install doxygen)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi
if command -v cmake >/dev/null && command -v pkg-config >/dev/null && [[ -e /usr/include/sqlite3.h ]]; then
  suite install tests/c/install.sh
else
  echo "C: make install (apt-get install cmake pkg-config libsqlite3-dev groff)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi

if command -v valgrind >/dev/null; then
  check "build channel for Valgrind" "$CC" -std=c11 "${strict[@]}" -g -pthread tests/c/channel.c -o "$temp/channel-plain" "${shared[@]}"
  # What a child of fork() leaves behind is no leak: it may not touch it.
  memcheck=(valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9)
  suite memcheck env CHECK_WITHOUT_FORK=1 "${memcheck[@]}" "$temp/channel-plain"
  # What the program and the library's threads share, see drd.supp. A planted race shows that drd would tell.
  check "build threads" "$CC" -std=c11 "${strict[@]}" -g -pthread tests/c/threads.c -o "$temp/threads" "${shared[@]}"
  check "build threads with a race" "$CC" -std=c11 "${strict[@]}" -g -pthread -DRACE tests/c/threads.c -o "$temp/race" "${shared[@]}"
  drd=(valgrind --quiet --tool=drd --suppressions=tests/c/drd.supp --error-exitcode=9)
  suite drd "${drd[@]}" "$temp/threads"
  check "drd reports a race" reports_a_race
else
  echo "C: the channel under Valgrind (apt-get install valgrind)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi

# Hostile arguments, the same in every run; `make fuzz` goes on where this ends.
if command -v clang >/dev/null; then
  check "build fuzz" clang -std=c11 "${strict[@]}" -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    tests/c/fuzz.c -o "$temp/fuzz" "${shared[@]}"
  # It writes into the first folder.
  mkdir "$temp/corpus"
  check "hostile arguments" "$temp/fuzz" -runs=5000 -seed=7 -timeout=120 -artifact_prefix="$temp/" "$temp/corpus" fuzz/seeds/parse_webhook fuzz/seeds/messages
else
  echo "C: hostile arguments (apt-get install clang)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi

# In each kind of loop, and killed with -9 in the midst of the main job.
mkdir "$temp/examples"
ln -s "$temp/embedded-c11-shared" "$temp/examples/channel-c"
ln -s "$temp/embedded-c11-static" "$temp/examples/channel-c-static"
ln -s "$temp/embedded-c++17-shared" "$temp/examples/channel-cpp"
build examples/poll ffi/examples/poll.c "${shared[@]}"
build examples/epoll ffi/examples/epoll.c "${shared[@]}"
if echo '#include <uv.h>' | "$CC" -D_GNU_SOURCE -E - >/dev/null 2>&1; then
  build examples/libuv ffi/examples/libuv.c "${shared[@]}" -luv
else
  echo "C: the loop of libuv (apt-get install libuv1-dev)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi
if pkg-config --exists glib-2.0 2>/dev/null; then
  # shellcheck disable=SC2046  # flags are words
  build examples/glib ffi/examples/glib.c "${shared[@]}" $(pkg-config --cflags --libs glib-2.0)
else
  echo "C: the loop of GLib (apt-get install libglib2.0-dev pkg-config)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
fi
suite mainjob python3 tests/c/mainjob.py "$built/amochats" "$temp"/examples/*

echo "$passed passed, $failed failed"
((failed == 0))
