"""Free ports and whether something listens on one; everything is on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import deque

__all__ = ["HOST", "free_port", "is_listening"]

HOST = "127.0.0.1"

# Below the range from which the system itself takes ports for connections and for port 0: one of those could be taken
# by anybody before the process that it was chosen for has bound it.
_RANGE = range(10_000, 32_768)

_handed_out: deque[int] = deque(maxlen=1000)


def free_port() -> int:
    """A port that nothing listens on and that this process has not handed out lately."""
    while True:
        port = random.choice(_RANGE)
        if port in _handed_out:
            continue
        _handed_out.append(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


async def is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
