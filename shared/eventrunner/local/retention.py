"""Deletes every hour what nobody wants to keep any longer, through the API like anybody else."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import aiohttp

from eventrunner.access.keys import is_long_over
from eventrunner.clock import utc_now
from eventrunner.errors import EventRunnerError
from eventrunner.storage.records import KEYS, TENANTS, Key, Tenant
from eventrunner.storage.registry import Registry

__all__ = ["sweep_regularly"]

_log = logging.getLogger(__name__)
_FIRST_SECONDS: Final = 60.0
"""A platform that never runs for an hour sweeps too."""
_SECONDS: Final = 3600.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=600)


async def sweep_regularly(registry: Registry, session: aiohttp.ClientSession, url: str, key: str) -> None:
    """Runs until it is cancelled. Wakes no function while there can be nothing to delete."""
    pause = _FIRST_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = _SECONDS
        try:
            if await _is_wanted(registry):
                await _sweep(session, url, key)
        except (EventRunnerError, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("what nobody wants to keep any longer is still there: %s", error)


async def _is_wanted(registry: Registry) -> bool:
    tenants, keys = (await registry.items(TENANTS)).values(), (await registry.items(KEYS)).values()
    now = utc_now().timestamp()
    return any(Tenant.from_json(value).retention_days is not None for value in tenants) or any(
        is_long_over(Key.from_json(value), now) for value in keys
    )


async def _sweep(session: aiohttp.ClientSession, url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with session.post(f"{url}/api/v1/retention/sweep", headers=headers, timeout=_TIMEOUT) as response:
        text = await response.text()
        _log.info("retention: %d %s", response.status, text[:500])
