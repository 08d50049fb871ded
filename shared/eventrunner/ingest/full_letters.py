"""Which tenants have as many dead letters as they may: nothing more is taken of them, so that what comes of it, which
might be dead letters too, does not fill the streams that others need."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from eventrunner.storage.full_letters import FULL_LETTERS_SECONDS, FULL_LETTERS_SUBJECT, FullLetters

__all__ = ["FullLetterBoxes"]

_HEARD = 5 * FULL_LETTERS_SECONDS
"""Seconds for which what an adapter has said counts."""


class FullLetterBoxes:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, tuple[float, int]] = {}
        """When a tenant's were full last, and their bytes."""

    async def follow(self, client: Client) -> None:
        """Hears what adapters tell over this connection."""

        async def hear(message: Msg) -> None:
            try:
                self.note(FullLetters.decode(message.data))
            except msgspec.DecodeError:
                return

        await client.subscribe(FULL_LETTERS_SUBJECT, cb=hear)

    def note(self, full: FullLetters) -> None:
        now = self._clock()
        self._heard = {tenant: item for tenant, item in self._heard.items() if now - item[0] < _HEARD}
        self._heard |= {tenant: (now, size) for tenant, size in full.tenants.items()}

    def check(self, tenant: str) -> None:
        """Raises QuotaExceeded for a tenant that must send nothing more."""
        heard = self._heard.get(tenant)
        if heard is not None and self._clock() - heard[0] < _HEARD:
            raise FullLetters.refusal(tenant, heard[1])
