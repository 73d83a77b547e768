"""Takes in and consumes AMOCHATS_EVENTS events, 1,000,000 unless given, and fails if memory grows with them."""

import asyncio
import hashlib
import hmac
import os
import sys
import tempfile
import time
from pathlib import Path

import amochats

EVENTS = int(os.environ.get("AMOCHATS_EVENTS", "1000000"))
BATCH = 1000
# A tenth of the events warms caches up; after that so much is noise.
GROWTH_MIB = 48
SECRET = b"channel-secret"
BODY = (
    b'{"account_id":"a-1","time":1704067200,"message":{"receiver":{"id":"r-1"},"sender":{"id":"s-1"},'
    b'"conversation":{"id":"cr-%d","client_id":"c-%d"},"timestamp":1704067200,'
    b'"message":{"id":"mr-%d","type":"text","text":"Your order is on its way."}}}'
)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "listener": {"address": "127.0.0.1:0"},
            "admin": {"address": "127.0.0.1:0"},
            "store": {"path": f"{folder}/amochats.db"},
            "channel": [{"id": "ch", "secret": SECRET.decode(), "base_url": "http://127.0.0.1:9"}],
        }
        async with amochats.Channel(config) as channel:
            return await consume(channel)


async def consume(channel: amochats.Channel) -> int:
    stream = channel.events("bench", create=True, max_outstanding=BATCH)
    await channel.create_subscription("bench")
    started, consumed, acknowledged, warm, most = time.monotonic(), 0, 0, 0.0, 0.0
    while consumed < EVENTS:
        bodies = [BODY % (n, n, n) for n in range(consumed, consumed + BATCH)]
        signed = [(body, hmac.new(SECRET, body, hashlib.sha1).hexdigest()) for body in bodies]
        await asyncio.gather(*(channel.ingest(body, signature, "ch_a-1") for body, signature in signed))
        consumed += BATCH
        while acknowledged < consumed:
            batch = await stream.next_batch(BATCH)
            if await stream.ack_all(batch):
                raise SystemExit("a lease ended before its event was acknowledged")
            acknowledged += len(batch)
        if consumed <= EVENTS // 10:
            warm = resident_mib()
        most = max(most, resident_mib())
    rate = consumed / (time.monotonic() - started)
    print(f"Python: {consumed} events kept, consumed and acknowledged, {rate:.0f}/s")
    print(f"  resident {warm:.0f} MiB after a tenth, {most:.0f} MiB at most")
    return 0 if most - warm < GROWTH_MIB else 1


sys.exit(asyncio.run(main()))
