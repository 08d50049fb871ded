"""Waits until a consumer that was just deployed runs, or cannot."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from eventrunner.cli.calls import path
from eventrunner.cli.connection import Api
from eventrunner.cli.names import OwnedName

__all__ = ["described", "settled"]

_SETTLED: Final = ("ready", "failed")
_PAUSE: Final = 0.2


async def settled(api: Api, consumer: OwnedName, made: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The consumer as it is when it is known whether it runs, or after so many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    found = made
    while found["status"]["state"] not in _SETTLED and loop.time() < until:
        await asyncio.sleep(_PAUSE)
        found = await api.call("GET", path("consumers", *consumer))
    return found


def described(status: dict[str, Any]) -> str:
    if status["state"] == "ready":
        return "ready: a process of it starts when events come"
    return f"{status['state']}: {status['detail']}" if status["detail"] else str(status["state"])
