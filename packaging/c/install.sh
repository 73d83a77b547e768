#!/usr/bin/env bash
# Installs libamochats for programs in C and C++; `make install` calls it.
#
# PREFIX (/usr/local) is where it will be used, DESTDIR a folder that stands for /, LIBDIR the folder for
# libraries below PREFIX (lib). SMALL=1 builds the library that only signs, verifies, parses and writes
# payloads. PROFILE names another profile of cargo than dist, or small.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
templates=packaging/c
prefix=${PREFIX:-/usr/local}
libdir=$prefix/${LIBDIR:-lib}
profile=${PROFILE:-$([[ -n ${SMALL:-} ]] && echo small || echo dist)}
target=${CARGO_TARGET_DIR:-target}

fail() {
  echo "install: $1" >&2
  exit 1
}
[[ $prefix == /* ]] || fail "PREFIX has to be an absolute path, and is $prefix"
[[ $(uname) == Linux ]] || fail "only for Linux; elsewhere: cargo build --release --package amochats-ffi"
for tool in "${LD:=ld}" "${OBJCOPY:=objcopy}" "${NM:=nm}" "${AR:=ar}"; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install binutils"
done

build=(--locked --package amochats-ffi --profile "$profile")
if [[ -n ${SMALL:-} ]]; then
  # Apart, so that the two libraries do not take turns in one place.
  target=$target/small
  build+=(--no-default-features --target-dir "$target")
  # With them the tables for unwinding are a quarter smaller.
  export RUSTFLAGS="${RUSTFLAGS:-} -C force-frame-pointers=yes"
fi
${CARGO:-cargo} build --quiet "${build[@]}"
built=$target/${profile/#dev/debug}

version=$(${CARGO:-cargo} pkgid --package amochats-ffi)
version=${version##*[@#]}
soname=$(readelf -d "$built/libamochats.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

# Of the archive one object is made in which only amochats_* can be seen from outside: a program may have
# another SQLite, ring or Rust of its own beside it.
"$NM" --defined-only --extern-only --no-sort "$built/libamochats.a" 2>/dev/null |
  awk '$2 == "T" && $3 ~ /^amochats_/ { print "--undefined=" $3 }' | sort -u >"$temp/roots"
"$LD" --relocatable --gc-sections --force-group-allocation "@$temp/roots" \
  "$built/libamochats.a" -o "$temp/amochats.o"
# What std brings for link-time optimisation is of no use any more, and confuses tools that find it joined.
"$OBJCOPY" --wildcard --keep-global-symbol='amochats_*' --strip-debug \
  --remove-section=.llvmbc --remove-section=.llvmcmd "$temp/amochats.o"
"$AR" rcs "$temp/libamochats.a" "$temp/amochats.o"

# template NAME: with the version and the places written in.
template() {
  sed -e "s|@VERSION@|$version|g" -e "s|@MAJOR@|${version%%.*}|g" -e "s|@SONAME@|$soname|g" \
    -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$libdir|g" \
    -e "s|@UP@|$(realpath -m --relative-to="$libdir/cmake/amochats" "$prefix")|g" "$templates/$1.in" >"$temp/$1"
}
for name in amochats.pc amochats-config.cmake amochats-config-version.cmake amochats.3; do template "$name"; done

root=${DESTDIR:-}
put() { install -D -m "$1" "$2" "$root$3"; }
put 644 ffi/include/amochats.h "$prefix/include/amochats.h"
put 644 ffi/include/amochats.hpp "$prefix/include/amochats.hpp"
put 755 "$built/libamochats.so" "$libdir/libamochats.so.$version"
ln -sf "libamochats.so.$version" "$root$libdir/$soname"
ln -sf "$soname" "$root$libdir/libamochats.so"
put 644 "$temp/libamochats.a" "$libdir/libamochats.a"
put 644 "$temp/amochats.pc" "$libdir/pkgconfig/amochats.pc"
put 644 "$temp/amochats-config.cmake" "$libdir/cmake/amochats/amochats-config.cmake"
put 644 "$temp/amochats-config-version.cmake" "$libdir/cmake/amochats/amochats-config-version.cmake"
put 644 "$temp/amochats.3" "$prefix/share/man/man3/amochats.3"
if [[ -z $root && $EUID == 0 ]]; then ldconfig; fi
