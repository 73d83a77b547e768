"""Prints a one-time token as the CRM signs it, with this id: python3 token.py 1"""

import base64
import hashlib
import hmac
import json
import sys
import time


def part(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


now = int(time.time())
claims = {
    "iss": "https://demo.amocrm.ru",
    "aud": "https://chat.example.org",
    "jti": f"jti-{sys.argv[1]}",
    "iat": now,
    "nbf": now,
    "exp": now + 1800,
    "account_id": 7,
    "user_id": 501,
    "client_uuid": "the-integration",
}
signed = f'{part(b"""{"alg":"HS256","typ":"JWT"}""")}.{part(json.dumps(claims).encode())}'
print(f"{signed}.{part(hmac.digest(b'integration-secret', signed.encode(), hashlib.sha256))}")
