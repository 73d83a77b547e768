"""A user's programs over a client and a channel, checked with `mypy --strict` and pyright; never run."""

from datetime import datetime, timezone
from pathlib import Path

import amochats


async def asynchronous(config: Path) -> None:
    async with amochats.AsyncClient("channel", "secret", region="kommo") as client:
        connected: amochats.Connected = await client.connect("account", title="Shop")
        async for message in client.history(connected.scope_id, "chat"):
            sent: datetime | None = message.sent_at
            print(sent)

    channel = amochats.Channel(config)

    @channel.on_message
    async def answer(event: amochats.DeliveredMessage) -> str:
        print(event.conversation_id)
        return "read"

    async with channel:
        item: amochats.OutboxItem = await channel.send_message(
            "scope",
            amochats.NewMessage("c", "m", amochats.Sender("u", "Anna"), amochats.Picture("https://x.example/p")),
        )
        final: bool = (await channel.outbox.wait(item)).state.is_final
        print(final)
        async for event in channel.events("crm", create=True, start=datetime.now(timezone.utc)):
            match event:
                case amochats.MessageEvent(conversation_id, text):
                    to: str | None = conversation_id
                    said: str = text
                    print(to, said)
                    report: amochats.OutboxItem | None = await event.ack(status="read")
                    print(report)
                case amochats.OutboxEvent(ended):
                    state: amochats.ItemState = ended.state
                    print(state)
                case _:
                    await event.nack(delay=1.5)
        async for letter in channel.dead_letters("crm"):
            await channel.requeue("crm", [letter])
        await channel.run("crm", concurrency=4)


def blocking(config: Path) -> None:
    with amochats.Client("channel", "secret", base_url="http://127.0.0.1:8081") as client:
        receipt: amochats.MessageReceipt = client.send_message("scope", {"event_type": "new_message"})
        print(receipt.message_ref_id)
        pages: list[str] = [message.text for message in client.history("scope", "chat")]
        print(pages)
    with amochats.Channel(config) as channel:
        for event in channel.events("crm"):
            match event:
                case amochats.MessageEvent(conversation_id, text):
                    print(conversation_id, text)
                    event.ack()
                case _:
                    event.dead()
        metrics: str = channel.metrics()
        print(metrics)
    with amochats.CrmClient(region="ru", subdomain="example", token="t") as crm:
        account: amochats.CrmAccount = crm.account()
        amojo_id: str | None = account.amojo_id
        print(amojo_id)
