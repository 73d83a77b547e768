"""Checks a webhook: body on stdin, secret in AMOCHATS_SECRET, the X-Signature header as argument."""

import os
import sys

import amochats

body = sys.stdin.buffer.read()
try:
    amochats.verify_webhook(os.environ["AMOCHATS_SECRET"], body, sys.argv[1])
except amochats.SignatureError as error:
    sys.exit(f"refused: {error}")
print("genuine:", amochats.parse_webhook(body))
