"""Starts the workload in a file on the wasmCloud host that is connected to a NATS server, as wasmCloud's operator does.

python3 start.py nats://127.0.0.1:4223 workload.json
"""

import asyncio
import json
import sys
from pathlib import Path

import nats


async def start(url: str, workload: bytes) -> str:
    client = await nats.connect(url)
    try:
        heartbeats = await client.subscribe("runtime.operator.heartbeat.*")
        # A host tells of itself every 15 seconds.
        host = json.loads((await heartbeats.next_msg(60)).data)["id"]
        answer = await client.request(f"runtime.host.{host}.workload.start", workload, timeout=60)
        status = json.loads(answer.data)["workloadStatus"]
        return f"{status['workloadState']}: {status['message']}"
    finally:
        await client.close()


if __name__ == "__main__":
    _, server, file = sys.argv
    outcome = asyncio.run(start(server, Path(file).read_bytes()))
    print(outcome)
    sys.exit(0 if outcome.startswith("WORKLOAD_STATE_RUNNING") else 1)
