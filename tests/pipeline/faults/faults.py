"""What can happen to the platform: what a fault is, and those of processes. `catalogue` lists all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar, Final, Protocol

from eventrunner.cli.reload import reload_platform
from eventrunner.errors import EventRunnerError

from tests.pipeline.faults.clock import MachineClock
from tests.pipeline.faults.proxy import Proxy
from tests.pipeline.faults.target import Target
from tests.support_cassandra import CassandraNode

__all__ = [
    "GATEWAY",
    "LIMIT",
    "SERVERS",
    "Deploy",
    "Fault",
    "Kill",
    "KillCassandra",
    "KillEverything",
    "KillSome",
    "NotPossible",
    "Pause",
    "Terminate",
    "World",
]

SERVERS: Final = ("source adapter", "nats-server", "clickhouse (chdb)")
GATEWAY: Final = "gateway, activator"
LIMIT: Final = 15.0
"""Seconds within which events have to flow again on a machine that is not overloaded."""
_RESTART_LIMIT: Final = 30.0
_PAUSE_SECONDS: Final = 12.0
"""Longer than the source's ack wait (3 s) and than what it gives a request in these runs (10 s)."""


class NotPossible(Exception):
    """The part does not run just now."""


@dataclass(frozen=True, slots=True)
class World:
    target: Target
    manifests: Path
    proxies: Mapping[str, Proxy]
    """By service, between it and the adapter."""
    clock: MachineClock | None
    node: CassandraNode | None


class Fault(Protocol):
    limit: ClassVar[float]
    """Seconds, from the end of the fault, within which events have to flow again, see `recovery`."""
    single: ClassVar[bool]
    """Whether it is the end of one process, for which there is a figure to reach."""
    starts_anew: ClassVar[bool]
    """Whether one process starts cold then and no more has to happen, so that a cold start measures how long that may
    take."""

    @property
    def kind(self) -> str: ...

    @property
    def detail(self) -> str:
        """What in particular, if the kind does not tell."""
        ...

    def missing(self, world: World) -> str:
        """Why this cannot happen in this run; empty when it can."""
        ...

    async def strike(self, world: World, random: Random) -> float:
        """Returns when the fault is over: the moment from which on events should flow again, by the monotonic clock.

        Raises NotPossible."""
        ...


@dataclass(frozen=True, slots=True)
class Kill:
    part: str
    detail: str = ""
    absent: str = ""
    """Why it never runs."""
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = True
    starts_anew: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        return f"kill -9 {self.part}"

    def missing(self, world: World) -> str:
        return self.absent

    async def strike(self, world: World, random: Random) -> float:
        _kill_one(world.target, self.part, random)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class KillSome:
    parts: tuple[str, ...]
    kind: str = "kill -9 several at once"
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        return ", ".join(self.parts)

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        for part in self.parts:
            # What does not run just now need not be killed.
            with contextlib.suppress(NotPossible):
                _kill_one(world.target, part, random)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Deploy:
    """New processes of all functions and of the adapter start beside the old ones and take over; the old ones drain."""

    kind: str = "deploy everything anew"
    detail: str = ""
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        """Recovery counts from when the new ones are there; that may take as long as their cold starts do."""
        try:
            reloaded = await asyncio.to_thread(reload_platform, world.target.folder)
        except EventRunnerError as error:
            raise NotPossible(str(error)) from error
        if reloaded.kept:
            raise NotPossible(f"not ready in time: {reloaded.kept}")
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Terminate:
    detail: str
    kind: str = "SIGTERM of a function"
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        _send(_pids(world.target, self.detail)[0], signal.SIGTERM)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Pause:
    detail: str
    seconds: float = _PAUSE_SECONDS
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        return f"SIGSTOP for {self.seconds:g} s"

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        pids = _pids(world.target, self.detail)
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            for pid in pids:
                _send(pid, signal.SIGCONT)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class KillEverything:
    kind: str = "kill -9 everything"
    detail: str = ""
    limit: ClassVar[float] = _RESTART_LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        killed = time.monotonic()
        await world.target.kill()
        await world.target.start()
        return killed


@dataclass(frozen=True, slots=True)
class KillCassandra:
    kind: str = "kill -9 Cassandra"
    detail: str = ""
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = True
    starts_anew: ClassVar[bool] = True

    def missing(self, world: World) -> str:
        return "" if world.node else "the event store is SQLite"

    async def strike(self, world: World, random: Random) -> float:
        """Recovery counts from when the node answers again."""
        if world.node is None:
            raise NotPossible("there is no node")
        world.node.kill()
        await asyncio.sleep(random.uniform(0, 5))
        world.node.launch()
        await asyncio.to_thread(world.node.wait)
        return time.monotonic()


def _kill_one(target: Target, part: str, random: Random) -> None:
    _send(random.choice(_pids(target, part)), signal.SIGKILL)


def _pids(target: Target, part: str) -> list[int]:
    """Parents first. Raises NotPossible."""
    pids = [process.pid for process in target.processes(part)]
    if not pids:
        raise NotPossible(f"{part} does not run just now")
    return pids


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        # It ended by itself in this moment, which is a fault too.
        return
