"""What one would write by hand: verifies and parses a webhook, keeps nothing."""

import hashlib
import hmac
import json
import os

from fastapi import FastAPI, Request, Response

SECRET = os.environ["AMOCHATS_SECRET"].encode()
app = FastAPI()


@app.post("/webhook/{scope_id}")
async def webhook(scope_id: str, request: Request) -> Response:
    body = await request.body()
    expected = hmac.new(SECRET, body, hashlib.sha1).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("x-signature", "")):
        return Response(status_code=401)
    json.loads(body)
    return Response(status_code=200)
