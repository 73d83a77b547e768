"""Webhooks in FastAPI: `CHANNEL_CONFIG=amochats.toml uvicorn fastapi_app:app`. One worker: the channel is in it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import amochats
import amochats.asgi
from fastapi import FastAPI

channel = amochats.Channel(Path(os.environ["CHANNEL_CONFIG"]), environ=os.environ)


@channel.on_message
async def deliver(event: amochats.DeliveredMessage) -> str:
    print(f"to {event.conversation_id}: {event.text}", flush=True)
    return "read"


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with channel:
        work = asyncio.create_task(channel.run("crm"))
        yield
        work.cancel()


app = FastAPI(lifespan=lifespan)
# To be told to amoCRM: https://…/webhook/:scope_id
app.mount("/webhook", amochats.asgi.WebhookApp(channel))
