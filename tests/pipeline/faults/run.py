"""One run: platform, load, faults, then the check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from eventrunner.cli.provision import provision
from eventrunner.errors import EventRunnerError

from tests.pipeline.faults.catalogue import rounds
from tests.pipeline.faults.checker import Findings, check_answers, compare
from tests.pipeline.faults.clock import MachineClock
from tests.pipeline.faults.contents import Reader
from tests.pipeline.faults.faults import World
from tests.pipeline.faults.history import History
from tests.pipeline.faults.ledger import Ledger
from tests.pipeline.faults.load import Load
from tests.pipeline.faults.probe import PROBE_TENANT, Probe, Stuck
from tests.pipeline.faults.project import make_project, project_parts
from tests.pipeline.faults.proxy import Proxy
from tests.pipeline.faults.recovery import Struck, Yardstick, cold_start
from tests.pipeline.faults.report import Report
from tests.pipeline.faults.scheduler import Scheduler
from tests.pipeline.faults.streams import Streams
from tests.pipeline.faults.target import Target
from tests.pipeline.faults.traffic import HISTORY, RULES, Traffic
from tests.support_cassandra import cassandra_node

__all__ = ["Plan", "run"]

_TENANTS: Final = ("acme", "globex", "initech", "umbrella")
_PLAN: Final = "faults"
_REQUEST_TIMEOUT: Final = "PT10S"
"""Of the adapter: short, so that a sink that hangs is noticed within a run."""
_SETTLING: Final = 3.0
"""Seconds of load before the way of an event is measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    folder: Path
    """Empty; what the run leaves there tells what happened."""
    seed: int
    seconds: float
    store: str = "sqlite"
    """Or `cassandra`."""
    rate: float = 3000.0
    """Events a second."""
    batch: int = 250
    clients: int = 6
    whole_round: bool = False
    """Go on over `seconds` until each kind of fault has come once."""


async def run(plan: Plan, on_struck: Callable[[Struck], None] = lambda _: None) -> Report:
    async with _world(plan) as world:
        return await _Run(plan, world, on_struck).run()


class _Run:
    def __init__(self, plan: Plan, world: World, on_struck: Callable[[Struck], None]) -> None:
        self._plan = plan
        self._world = world
        self._on_struck = on_struck
        self._random = Random(plan.seed)
        self._ledger = Ledger(Traffic(plan.seed, plan.batch), _TENANTS)
        self._streams = Streams(world.target, world.manifests)
        self._history = History(world.target, self._ledger, _TENANTS[0])
        self._findings = Findings()

    async def run(self) -> Report:
        keys = await self._provide()
        probe = Probe(self._world.target, keys[PROBE_TENANT])
        load = Load(self._world.target, self._ledger, keys, self._plan.clients, self._plan.rate, self._new_random())
        started = time.monotonic()
        # The first one starts every function.
        await probe.pass_through()
        await load.send_first(self._history.tenant, HISTORY)
        await self._streams.drained()
        async with load.running(), self._history.running():
            yardstick = await _measure(probe)
            scheduler = self._scheduler(probe, yardstick)
            try:
                await scheduler.run()
            except Stuck as error:
                self._findings.differences.append(str(error))
        seconds = time.monotonic() - started
        self._findings.differences += self._history.problems
        self._findings.differences += [f"late: {struck}" for struck in scheduler.struck if struck.is_late]
        await self._check()
        return Report(
            seed=self._plan.seed,
            store=self._plan.store,
            rate=self._plan.rate,
            planned=self._plan.seconds,
            seconds=seconds,
            events=self._ledger.events,
            sent_again=self._ledger.sent_again,
            answers=dict(self._ledger.answers),
            replays=self._ledger.replays,
            struck=scheduler.struck,
            skipped=scheduler.skipped,
            way=yardstick.way,
            cold=yardstick.cold,
            findings=self._findings,
        )

    async def _provide(self) -> dict[str, str]:
        """Tenants, each with a key of its own, which is returned."""
        async with self._world.target.api() as api:
            await api.call("PUT", f"/api/v1/plans/{_PLAN}", _prices())
            keys = await provision(api, [*_TENANTS, PROBE_TENANT], rules={"faults": RULES}, plan=_PLAN)
        await self._streams.follow_results(_TENANTS)
        return keys

    def _scheduler(self, probe: Probe, yardstick: Yardstick) -> Scheduler:
        return Scheduler(
            self._world,
            rounds(project_parts(), self._new_random()),
            probe.pass_through,
            yardstick,
            self._new_random(),
            self._plan.seconds,
            self._plan.whole_round,
            self._on_struck,
        )

    def _new_random(self) -> Random:
        return Random(self._random.random())

    async def _check(self) -> None:
        check_answers(self._ledger, self._findings)
        reader = Reader(self._world.target, self._streams)
        try:
            await self._streams.drained()
            for tenant in _TENANTS:
                compare(tenant, await reader.read(tenant), self._ledger.expected(tenant), self._findings)
        except (Stuck, EventRunnerError) as error:
            self._findings.differences.append(f"not all could be compared: {error}")


@asynccontextmanager
async def _world(plan: Plan) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        environ: dict[str, str] = {}
        node = None
        if plan.store == "cassandra":
            node = stack.enter_context(cassandra_node(plan.folder / "cassandra"))
            environ["EVENTRUNNER_STORE_URL"] = f"cassandra://{node.address}/faults"
        clock = MachineClock.make(plan.folder)
        if clock is not None:
            environ.update(clock.environ)
        manifests = plan.folder / "project" / "knative" / "base"
        target = Target(plan.folder / "data", manifests, environ)
        sinks = project_parts().sinks
        proxies = {name: Proxy(name, lambda name=name: target.sink_url(name)) for name in sinks}  # type: ignore[misc]
        urls = {}
        for name, proxy in proxies.items():
            stack.push_async_callback(proxy.stop)
            urls[name] = await proxy.start()
        make_project(plan.folder / "project", urls, _REQUEST_TIMEOUT)
        stack.push_async_callback(target.stop)
        await target.start()
        yield World(target, manifests, proxies, clock, node)


def _prices() -> dict[str, object]:
    """A plan in which everything that is compared has a line on the invoice."""
    charges = [
        {"model": "per_unit", "label": meter, "meter": meter, "unit_price": "0.01"}
        for meter in ("events", "derived_events", "ingress_gib")
    ]
    return {"name": _PLAN, "charges": charges}


async def _measure(probe: Probe) -> Yardstick:
    """Under the load that is running, and without a fault."""
    await asyncio.sleep(_SETTLING)
    started = time.monotonic()
    await probe.pass_through()
    way = time.monotonic() - started
    return Yardstick(way, await cold_start(), cold_start)
