"""The main job: a client's message goes to the CRM, the manager's answer comes back.

`AMOCHATS_SECRET=… python main_job.py amochats.toml ACCOUNT_ID`; the file is as for `amochats serve`.
"""

import asyncio
import os
import sys
from pathlib import Path

import amochats


async def main(config: Path, account_id: str) -> None:
    async with amochats.Channel(config, environ=os.environ) as channel:
        print("webhooks:", channel.listener_url, flush=True)
        connected = await channel.connect(account_id, title="Shop")
        anna = amochats.Sender("u-1", "Anna", phone="+15550100")
        message = amochats.NewMessage("c-1", "m-1", anna, amochats.Text("Is my order ready?"))
        sent = await channel.outbox.wait(await channel.send_message(connected.scope_id, message))
        print(sent.state, sent.conversation_ref_id, flush=True)
        async for event in channel.events("crm", create=True):
            match event:
                case amochats.MessageEvent(conversation_id, text):
                    print(f"to {conversation_id}: {text}", flush=True)
                    await event.ack(status="read")
                case _:
                    await event.ack()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
