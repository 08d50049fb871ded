"""Prints the next message of a subject of core NATS.

python3 watch.py nats://127.0.0.1:4223 results.acme.flight.late
"""

import asyncio
import sys

import nats


async def watch(url: str, subject: str) -> str:
    client = await nats.connect(url)
    try:
        messages = await client.subscribe(subject)
        message = await messages.next_msg(60)
        return f"{message.subject}: {message.data.decode()}"
    finally:
        await client.close()


if __name__ == "__main__":
    _, server, wanted = sys.argv
    print(asyncio.run(watch(server, wanted)))
