#!/usr/bin/env bash
# Tests `make install`: what it puts where, and that projects elsewhere find and use it by pkg-config and by
# CMake; that the static library goes together with another SQLite; and what the library without the channel
# needs and weighs. A line per test; run.sh calls it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
CC=${CC:-gcc}
CXX=${CXX:-g++}
# In bytes, stripped. ffi/src/lib.rs says what they go for.
small_limit=450000

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
stage=$temp/stage
prefix=$stage/opt/amochats
failed=0

check() {
  if "${@:2}" >"$temp/log" 2>&1; then
    echo "ok $1"
  else
    cat "$temp/log"
    echo "not ok $1"
    failed=1
  fi
}

# A project of a user's, apart from this repository.
project=$temp/project
mkdir "$project"
cp ffi/examples/verify.c ffi/examples/verify.cpp "$project"
cat >"$project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.13)
project(user C CXX)
set(CMAKE_CXX_STANDARD 17)
find_package(amochats 0.1 REQUIRED)
add_executable(shared verify.c)
target_link_libraries(shared PRIVATE amochats::amochats)
add_executable(shared-cpp verify.cpp)
target_link_libraries(shared-cpp PRIVATE amochats::amochats)
add_executable(static verify.c)
target_link_libraries(static PRIVATE amochats::static)
CMAKE
cat >"$project/sqlite.c" <<'C'
/* Has its own SQLite beside the one in the channel, and uses both. */
#include <amochats.h>
#include <sqlite3.h>
#include <stdio.h>
int sqlite3_mine(void) { return SQLITE_VERSION_NUMBER; }
int main(int argc, char **argv) {
    sqlite3 *own = NULL;
    amochats_error *error = NULL;
    amochats_channel *channel = NULL;
    amochats_config *config = amochats_config_new();
    if (argc != 2 || sqlite3_open(":memory:", &own) || sqlite3_libversion_number() != sqlite3_mine()) return 1;
    if (amochats_config_load(config, amochats_slice_of(argv[1]), &error) ||
        amochats_channel_open(config, 10000, &channel, &error)) {
        amochats_slice said = amochats_error_message(error);
        fprintf(stderr, "%.*s\n", (int)said.len, said.data);
        return 1;
    }
    if (sqlite3_exec(own, "CREATE TABLE t (x); INSERT INTO t VALUES (1)", NULL, NULL, NULL)) return 1;
    amochats_config_free(config);
    if (amochats_channel_close(channel, 10000, &error)) return 1;
    amochats_channel_free(channel);
    return sqlite3_close(own);
}
C

installs() { make --no-print-directory install PROFILE=dev DESTDIR="$stage" PREFIX=/opt/amochats; }

has_every_file() {
  local version
  version=$(sed -n '/^\[workspace.package\]/,/^version/s/^version = "\(.*\)"/\1/p' Cargo.toml)
  (cd "$prefix" && find . -type f -o -type l | sort) >"$temp/found"
  diff - "$temp/found" <<FILES || return 1
./include/amochats.h
./include/amochats.hpp
./lib/cmake/amochats/amochats-config-version.cmake
./lib/cmake/amochats/amochats-config.cmake
./lib/libamochats.a
./lib/libamochats.so
./lib/libamochats.so.${version%%.*}
./lib/libamochats.so.$version
./lib/pkgconfig/amochats.pc
./share/man/man3/amochats.3
FILES
  ! grep -rn '@[A-Z]*@' "$prefix/lib/cmake" "$prefix/lib/pkgconfig" "$prefix/share"
  [[ $(pkgconf --modversion amochats) == "$version" ]]
}

shows_only_amochats() {
  nm --extern-only --defined-only "$prefix/lib/libamochats.a" | awk 'NF == 3 { print $3 }' | sort -u >"$temp/static"
  nm -D --extern-only --defined-only "$prefix/lib/libamochats.so" | awk '{ print $3 }' | sort -u |
    diff - "$temp/static"
}

# The libraries are where they will be once they are installed for good.
pkgconf() { PKG_CONFIG_PATH=$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage pkg-config "$@"; }

# The vendor's example of a hook, genuine and not.
works() {
  local hook='{"receiver":"U1","conversation_id":"c59678affa1db6","type":"text","text":"Yes, of course. This is just what I was looking for","media":"","thumbnail":"","file_name":"","file_size":0}'
  export AMOCHATS_SECRET=da39a3ee5e6b4b0d3255bfef95601890afd80709 LD_LIBRARY_PATH=$prefix/lib
  "$1" ef2d1762bee0caef369991e584279e37383cc29f <<<"$hook" | grep -q '^message in c59678affa1db6: ' || return 1
  ! "$1" ef2d1762bee0caef369991e584279e37383cc29f <<<"$hook " >/dev/null
}

# shellcheck disable=SC2046  # flags are words
by_pkg_config() (
  cd "$project" || exit 1
  "$CC" verify.c -o pc-shared $(pkgconf --cflags --libs amochats) && works ./pc-shared || exit 1
  readelf -d pc-shared | grep -q 'NEEDED.*libamochats\.so\.0' || exit 1
  "$CXX" -std=c++17 verify.cpp -o pc-cpp $(pkgconf --cflags --libs amochats) && works ./pc-cpp
)

# shellcheck disable=SC2046
static_by_pkg_config() (
  cd "$project" || exit 1
  "$CC" -static verify.c -o pc-static $(pkgconf --static --cflags --libs amochats) && works ./pc-static &&
    ! readelf -d pc-static | grep NEEDED
)

by_cmake() {
  cmake -S "$project" -B "$temp/built" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_CXX_COMPILER="$CXX" && cmake --build "$temp/built" || return 1
  works "$temp/built/shared" && works "$temp/built/shared-cpp" && works "$temp/built/static" || return 1
  readelf -d "$temp/built/shared" | grep -q 'NEEDED.*libamochats\.so\.0' || return 1
  ! readelf -d "$temp/built/static" | grep 'NEEDED.*amochats'
}

refuses_another_version() {
  sed -i 's/find_package(amochats 0.1 /find_package(amochats 1.0 /' "$project/CMakeLists.txt"
  ! cmake -S "$project" -B "$temp/refused" -DCMAKE_PREFIX_PATH="$prefix"
}

beside_another_sqlite() {
  cat >"$temp/amochats.toml" <<TOML
listener.address = "127.0.0.1:0"
admin.address = "127.0.0.1:0"
store.path = "$temp/store.db"
[[channel]]
id = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0"
secret = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
base_url = "http://127.0.0.1:9"
TOML
  # The other SQLite is static as well, so that two of one name would not link.
  "$CC" "-I$prefix/include" "$project/sqlite.c" -o "$temp/sqlite" -Wl,-Bstatic -lamochats "-L$prefix/lib" \
    -lsqlite3 -Wl,-Bdynamic -lpthread -ldl -lm && "$temp/sqlite" "$temp/amochats.toml" &&
    # Both are in there, each with its own.
    [[ $(nm "$temp/sqlite" | grep -c ' sqlite3_open_v2$') == 2 ]]
}

small_is_small() {
  local size
  make --no-print-directory install SMALL=1 DESTDIR="$temp/small" PREFIX=/usr || return 1
  size=$(stat -Lc %s "$temp/small/usr/lib/libamochats.so")
  echo "libamochats without the channel: $size bytes, at most $small_limit"
  ((size <= small_limit)) || return 1
  readelf -d "$temp/small/usr/lib/libamochats.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
    grep -v '^ld-linux' | sort | diff <(printf '%s\n' libc.so.6 libgcc_s.so.1) -
}

# It has an unwinder's function of its own, which must not come in place of the real one.
small_leaves_backtraces_alone() {
  cat >"$temp/frames.c" <<'C'
#include <amochats.h>
#include <unwind.h>
static _Unwind_Reason_Code count(struct _Unwind_Context *context, void *frames) {
    (void)context;
    ++*(int *)frames;
    return _URC_NO_REASON;
}
int main(void) {
    int frames = 0;
    _Unwind_Backtrace(count, &frames);
    return amochats_version()[0] == 0 || frames == 0;
}
C
  local lib=$temp/small/usr/lib
  "$CC" "-I$temp/small/usr/include" "$temp/frames.c" -o "$temp/frames" "-L$lib" "-Wl,-rpath,$lib" -lamochats &&
    "$temp/frames" || return 1
  # The archive comes first, and would win.
  "$CC" "-I$temp/small/usr/include" "$temp/frames.c" "$lib/libamochats.a" -lpthread -ldl -lm -o "$temp/frames" &&
    "$temp/frames"
}

# The one build of release here, so this is where release is run under Valgrind.
small_passes_the_vectors() {
  local cases=() case memcheck=()
  if command -v valgrind >/dev/null; then
    memcheck=(valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite,possible --error-exitcode=9)
  else
    echo "C: the library without the channel under Valgrind (apt-get install valgrind)" >>"${AMOCHATS_SKIPPED:-/dev/stderr}"
  fi
  "$CC" -std=c11 -DVECTORS_WITHOUT_CRM "-I$temp/small/usr/include" tests/c/vectors.c -o "$temp/small/vectors" "-L$temp/small/usr/lib" \
    "-Wl,-rpath,$temp/small/usr/lib" -lamochats -ljansson || return 1
  cd tests/vectors || return 1
  # As run.sh takes them.
  while IFS= read -r case; do cases+=("$case"); done < <(find signing webhooks payloads -name '*.json' | sort)
  "${memcheck[@]}" "$temp/small/vectors" "${cases[@]}"
}

check "make install" installs
check "make install: every file, the version of Cargo.toml" has_every_file
check "the installed archive shows only amochats_*" shows_only_amochats
check "a project with pkg-config" by_pkg_config
check "a static program with pkg-config" static_by_pkg_config
check "a project with CMake, shared and static" by_cmake
check "CMake refuses another major version" refuses_another_version
check "a static program with an SQLite of its own" beside_another_sqlite
check "the man page has no warning" bash -c "! LC_ALL=C.UTF-8 groff -man -ww -z '$prefix/share/man/man3/amochats.3' 2>&1 | grep ."
check "the library without the channel is small" small_is_small
grep '^libamochats without' "$temp/log"
check "the library without the channel leaves backtraces alone" small_leaves_backtraces_alone
check "the library without the channel passes the vectors" small_passes_the_vectors
exit "$failed"
