"""Sinks that do not believe the adapter: told in the log, and to whoever asks for the status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.storage.refusing_sinks import REFUSING_SINKS_SECONDS, REFUSING_SINKS_SUBJECT, RefusingSinks

__all__ = ["tell_refusals"]

_log = logging.getLogger(__name__)
_LOG_SECONDS = 60.0


async def tell_refusals(client: Client, refusals: Callable[[], Mapping[str, str]]) -> None:
    """`refusals`: what each sink answered that answers 401 now, by its URL. Runs until it is cancelled."""
    clock = asyncio.get_running_loop().time
    logged: dict[str, float] = {}
    while True:
        await asyncio.sleep(REFUSING_SINKS_SECONDS)
        found = dict(refusals())
        for url, answer in found.items():
            if clock() - logged.get(url, -_LOG_SECONDS) >= _LOG_SECONDS:
                logged[url] = clock()
                _log.error("%s", RefusingSinks.describe(url, answer))
        if found:
            try:
                await client.publish(REFUSING_SINKS_SUBJECT, RefusingSinks(found).encode())
            except (NatsError, OSError) as error:
                _log.debug("cannot tell which sinks refuse: %r", error)
