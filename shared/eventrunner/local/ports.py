"""Free ports and whether something listens on one; everything is on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket

__all__ = ["HOST", "free_port", "is_listening"]

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
