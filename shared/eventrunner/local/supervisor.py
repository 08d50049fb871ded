"""Keeps a process running: starts it, waits until it is ready, starts it again when it dies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from eventrunner.errors import Unavailable
from eventrunner.local.process import Child, Command, spawn
from eventrunner.local.tasks import start_task

__all__ = ["Backoff", "Probe", "Supervised", "until_ready"]

_log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[bool]]
"""Says whether the process answers; called again and again until it does."""

_PROBE_SECONDS = 0.02


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next start: doubled from `first` to `limit`, anew after a life of `settled`."""

    first: float = 0.1
    limit: float = 10.0
    settled: float = 30.0
    _next: float = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait after a life of `lived` seconds."""
        delay = self.first if lived >= self.settled else max(self.first, self._next)
        self._next = min(self.limit, 2 * delay)
        return delay


async def until_ready(child: Child, probe: Probe, patience: float) -> None:
    """Raises Unavailable with the end of the log when the process ends or `patience` seconds pass first."""
    name = child.command.name
    try:
        async with asyncio.timeout(patience):
            while not await probe():
                if child.returncode is not None:
                    raise Unavailable(f"{name} ended with {child.returncode}: {child.last_words()}")
                await asyncio.sleep(_PROBE_SECONDS)
    except TimeoutError:
        raise Unavailable(f"{name} was not ready within {patience:g} s: {child.last_words()}") from None


class Supervised:
    def __init__(self, command: Command, probe: Probe) -> None:
        self.command = command
        self.restarts = 0
        self._probe = probe
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    async def start(self) -> None:
        self._child = await spawn(self.command)
        self._keeper = start_task(self._keep())

    async def until_ready(self, patience: float) -> None:
        """Raises Unavailable when it ends or `patience` seconds pass first; it is kept running all the same."""
        assert self._child is not None
        await until_ready(self._child, self._probe, patience)

    async def restart(self, grace: float) -> None:
        """Ends the process, which is then started like one that died."""
        if self._child is not None:
            await self._child.stop(grace)

    async def replace(self, command: Command, probe: Probe, patience: float, grace: float) -> None:
        """Starts another process beside this one, ends this one when that is ready, and from then on keeps that one
        running. Raises Unavailable when it is not ready within `patience` seconds; then this one stays."""
        new = await spawn(command)
        try:
            await until_ready(new, probe, patience)
        except BaseException:
            await new.stop(0)
            raise
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        old, self._child = self._child, new
        self.command, self._probe = command, probe
        self._keeper = start_task(self._keep())
        if old is not None:
            await old.stop(grace)

    async def stop(self, grace: float) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        if self._child is not None:
            await self._child.stop(grace)
            self._child = None

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            assert self._child is not None
            started = time.monotonic()
            code = await self._child.wait()
            words = self._child.last_words()
            delay = backoff.after(time.monotonic() - started)
            _log.error("%s ended with %d and is started again in %g s: %s", self.command.name, code, delay, words)
            await asyncio.sleep(delay)
            self.restarts += 1
            self._child = await self._spawn_at_last(backoff)

    async def _spawn_at_last(self, backoff: Backoff) -> Child:
        while True:
            try:
                return await spawn(self.command)
            except OSError as error:
                delay = backoff.after(0)
                _log.error("%s cannot be started, next try in %g s: %s", self.command.name, delay, error)
                await asyncio.sleep(delay)
