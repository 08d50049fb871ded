"""Sinks that do not believe the adapter: told in the log, and to whoever asks for the status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.storage.refusing_sinks import REFUSING_SINKS_SECONDS, REFUSING_SINKS_SUBJECT, RefusingSinks

__all__ = ["tell_refusals"]

_log = logging.getLogger(__name__)
_LOG_SECONDS = 60.0


async def tell_refusals(client: Client, refusals: Callable[[], RefusingSinks]) -> None:
    """Runs until it is cancelled."""
    clock = asyncio.get_running_loop().time
    logged: dict[str, float] = {}
    while True:
        await asyncio.sleep(REFUSING_SINKS_SECONDS)
        found = refusals()
        for url, problem in found.problems().items():
            if clock() - logged.get(url, -_LOG_SECONDS) >= _LOG_SECONDS:
                logged[url] = clock()
                _log.error("%s", problem)
        if found.sinks:
            try:
                await client.publish(REFUSING_SINKS_SUBJECT, found.encode())
            except (NatsError, OSError) as error:
                _log.debug("cannot tell which sinks refuse: %r", error)
