"""Webhooks in Starlette: `CHANNEL_CONFIG=amochats.toml uvicorn starlette_app:app`. One worker: the channel is in it."""

import os
from pathlib import Path

import amochats
import amochats.asgi
from starlette.applications import Starlette
from starlette.routing import Mount

channel = amochats.Channel(Path(os.environ["CHANNEL_CONFIG"]), environ=os.environ)
webhooks = amochats.asgi.WebhookApp(channel)
# To be told to amoCRM: https://…/webhook/:scope_id
app = Starlette(routes=[Mount("/webhook", app=webhooks)], lifespan=amochats.asgi.lifespan(channel))
