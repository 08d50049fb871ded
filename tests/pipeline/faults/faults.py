"""What can happen to the platform. A new fault is a class with a `name` and a `strike`, and a line in `catalogue`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from eventrunner.errors import EventRunnerError
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect

from tests.pipeline.faults.clock import MachineClock
from tests.pipeline.faults.proxy import MISBEHAVIOURS, Proxy
from tests.pipeline.faults.target import Target
from tests.support_cassandra import CassandraNode

__all__ = ["Fault", "NotPossible", "World", "catalogue"]

FUNCTIONS: Final = ("ingest-http", "event-runner", "event-engine", "analytics", "metering", "api", "billing")
_SERVERS: Final = ("source adapter", "nats-server", "clickhouse (chdb)")
_STREAMS: Final = ("RAW", "EVENTS", "RESULTS", "USAGE", "DEADLETTER")
_PAUSE_SECONDS: Final = 12.0
"""Longer than the source's ack wait of 10 s."""


class NotPossible(Exception):
    """The part does not run just now."""


@dataclass(frozen=True, slots=True)
class World:
    target: Target
    proxies: Mapping[str, Proxy]
    clock: MachineClock | None
    node: CassandraNode | None


class Fault(Protocol):
    @property
    def name(self) -> str: ...

    async def strike(self, world: World, random: Random) -> float:
        """Returns when the fault is over: the moment from which on events should flow again, by the monotonic clock.

        Raises NotPossible."""
        ...


@dataclass(frozen=True, slots=True)
class Kill:
    part: str

    @property
    def name(self) -> str:
        return f"kill -9 {self.part}"

    async def strike(self, world: World, random: Random) -> float:
        _kill_one(world.target, self.part, random)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class KillSome:
    parts: tuple[str, ...]
    name: str = "kill -9 several at once"

    async def strike(self, world: World, random: Random) -> float:
        for part in self.parts:
            # What does not run just now need not be killed.
            with contextlib.suppress(NotPossible):
                _kill_one(world.target, part, random)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Deploy:
    """A new deployment ends the old processes politely, under load."""

    part: str

    @property
    def name(self) -> str:
        return f"replace {self.part}"

    async def strike(self, world: World, random: Random) -> float:
        processes = world.target.processes(self.part)
        if not processes:
            raise NotPossible(self.part)
        os.kill(processes[0].pid, signal.SIGTERM)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Pause:
    part: str

    @property
    def name(self) -> str:
        return f"SIGSTOP {self.part} for {_PAUSE_SECONDS:g} s"

    async def strike(self, world: World, random: Random) -> float:
        pids = [process.pid for process in world.target.processes(self.part)]
        if not pids:
            raise NotPossible(self.part)
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            for pid in pids:
                _send(pid, signal.SIGCONT)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class KillEverything:
    name: str = "kill -9 everything"

    async def strike(self, world: World, random: Random) -> float:
        killed = time.monotonic()
        await world.target.kill()
        await world.target.start()
        return killed


@dataclass(frozen=True, slots=True)
class KillCassandra:
    name: str = "kill -9 Cassandra"

    async def strike(self, world: World, random: Random) -> float:
        """Recovery counts from when the node answers again."""
        if world.node is None:
            raise NotPossible("there is no node")
        world.node.kill()
        await asyncio.sleep(random.uniform(0, 5))
        world.node.launch()
        await asyncio.to_thread(world.node.wait)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class BadSink:
    how: str

    @property
    def name(self) -> str:
        return f"sink {self.how}"

    async def strike(self, world: World, random: Random) -> float:
        proxy = world.proxies[random.choice(sorted(world.proxies))]
        proxy.misbehave(MISBEHAVIOURS[self.how])
        try:
            await asyncio.sleep(random.uniform(1, 6))
        finally:
            proxy.behave()
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class FullStream:
    stream: str

    @property
    def name(self) -> str:
        return f"stream {self.stream} full"

    async def strike(self, world: World, random: Random) -> float:
        client = await connect(world.target.platform.nats, name="faults")
        try:
            await self._fill(JetStreamApi(client), random.uniform(2, 6))
        except EventRunnerError as error:
            raise NotPossible(str(error)) from error
        finally:
            await disconnect(client)
        return time.monotonic()

    async def _fill(self, api: JetStreamApi, seconds: float) -> None:
        config = (await api.request(f"STREAM.INFO.{self.stream}"))["config"]
        await api.request(f"STREAM.UPDATE.{self.stream}", {**config, "max_bytes": 1})
        try:
            await asyncio.sleep(seconds)
        finally:
            await api.request(f"STREAM.UPDATE.{self.stream}", config)


@dataclass(frozen=True, slots=True)
class ClockJump:
    name: str = "clock jumps"

    async def strike(self, world: World, random: Random) -> float:
        if world.clock is None:
            raise NotPossible("there is no C compiler")
        world.clock.jump(random)
        return time.monotonic()


def catalogue(random: Random, *, cassandra: bool) -> list[Fault]:
    """Each kind at least once, in a new order."""
    deck: list[Fault] = [Kill(part) for part in FUNCTIONS + _SERVERS]
    deck += [BadSink(how) for how in random.sample(sorted(MISBEHAVIOURS), 5)]
    deck += [FullStream(stream) for stream in random.sample(_STREAMS, 2)]
    deck += [Deploy(part) for part in random.sample(FUNCTIONS, 3)]
    deck += [Pause(part) for part in random.sample(FUNCTIONS + _SERVERS + ("gateway, activator",), 2)]
    deck += [KillSome(tuple(random.sample(FUNCTIONS + _SERVERS, random.randint(2, 4)))) for _ in range(2)]
    deck += [KillEverything(), ClockJump(), ClockJump()]
    if cassandra:
        deck.append(KillCassandra())
    random.shuffle(deck)
    return deck


def _kill_one(target: Target, part: str, random: Random) -> None:
    processes = target.processes(part)
    if not processes:
        raise NotPossible(part)
    _send(random.choice(processes).pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        # It ended by itself in this moment, which is a fault too.
        return
