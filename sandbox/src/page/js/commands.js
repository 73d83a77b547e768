// Commands for a terminal, with the ids and the secret that are real here.

import { quoted } from "./format.js";

export const connectCommand = ({ api }, channel, account) => `export AMOCHATS_SECRET=${quoted(channel.secret)}
amochats connect \\
  --base-url ${quoted(api)} \\
  --channel-id ${channel.channel_id} \\
  --account-id ${account.account_id}`;

export const sendCommand = ({ api }, channel, account) => `export AMOCHATS_SECRET=${quoted(channel.secret)}
amochats send \\
  --base-url ${quoted(api)} \\
  --scope-id ${channel.channel_id}_${account.account_id} \\
  --conversation-id chat-1 --user-id client-1 --name Anna \\
  --text 'Hello! Is it still available?'`;

/** The same connection in any language: what is signed, and how. */
export const curlCommand = ({ api }, channel, account) => `SECRET=${quoted(channel.secret)}
TARGET=/v2/origin/custom/${channel.channel_id}/connect
BODY='{"account_id":"${account.account_id}","hook_api_version":"v2"}'
DATE=$(LC_ALL=C date -u '+%a, %d %b %Y %T +0000')
MD5=$(printf %s "$BODY" | md5sum | cut -d' ' -f1)
SIGNATURE=$(printf 'POST\\n%s\\napplication/json\\n%s\\n%s' "$MD5" "$DATE" "$TARGET" |
  openssl dgst -sha1 -hmac "$SECRET" | sed 's/.* //')
curl "${api}$TARGET" -d "$BODY" \\
  -H "Date: $DATE" -H 'Content-Type: application/json' \\
  -H "Content-MD5: $MD5" -H "X-Signature: $SIGNATURE"`;
