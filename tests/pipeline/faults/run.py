"""One run: platform, load, faults, then the check."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from eventrunner.cli.provision import provision

from tests.pipeline.faults.checker import Findings, check
from tests.pipeline.faults.clock import MachineClock
from tests.pipeline.faults.contents import read_contents
from tests.pipeline.faults.faults import World
from tests.pipeline.faults.ledger import Ledger
from tests.pipeline.faults.load import Load
from tests.pipeline.faults.probe import PROBE_TENANT, Probe, Stuck
from tests.pipeline.faults.project import SERVICES, make_project
from tests.pipeline.faults.proxy import Proxy
from tests.pipeline.faults.report import Report
from tests.pipeline.faults.scheduler import Scheduler, Struck
from tests.pipeline.faults.target import Target
from tests.pipeline.faults.traffic import RULES, Traffic
from tests.support_cassandra import cassandra_node

__all__ = ["Plan", "run"]

_TENANTS: Final = ("acme", "globex", "initech", "umbrella")
_PLAN: Final = "faults"
_REQUEST_TIMEOUT: Final = "PT10S"
"""Of the adapter: short, so that a sink that hangs is noticed within a run."""


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


async def run(plan: Plan, on_struck: Callable[[Struck], None] = lambda _: None) -> Report:
    random = Random(plan.seed)
    ledger = Ledger(Traffic(plan.seed, plan.batch), _TENANTS)
    async with _world(plan) as world:
        async with world.target.api() as api:
            await api.call("PUT", f"/api/v1/plans/{_PLAN}", _prices())
            keys = await provision(api, [*_TENANTS, PROBE_TENANT], rules={"faults": RULES}, plan=_PLAN)
        probe = Probe(world.target, keys[PROBE_TENANT])
        undisturbed = await _undisturbed(probe)
        scheduler = Scheduler(world, probe, Random(random.random()), plan.seconds, on_struck)
        load = Load(world.target, ledger, keys, plan.clients, plan.rate, Random(random.random()))
        started = time.monotonic()
        stuck: list[str] = []
        async with load.running():
            try:
                await scheduler.run()
            except Stuck as error:
                stuck.append(str(error))
        seconds = time.monotonic() - started
        try:
            findings = check(ledger, await read_contents(world.target, _TENANTS))
        except Stuck as error:
            findings = Findings([str(error)])
    findings.differences[:0] = stuck
    return Report(
        plan.seed, plan.store, seconds, ledger.events, dict(ledger.answers), scheduler.struck, undisturbed, findings
    )


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
        proxies = {name: Proxy(name, lambda name=name: target.sink_url(name)) for name in SERVICES}  # type: ignore[misc]
        urls = {}
        for name, proxy in proxies.items():
            stack.push_async_callback(proxy.stop)
            urls[name] = await proxy.start()
        make_project(plan.folder / "project", urls, _REQUEST_TIMEOUT)
        stack.push_async_callback(target.stop)
        await target.start()
        yield World(target, proxies, clock, node)


def _prices() -> dict[str, object]:
    """A plan in which everything that is compared has a line on the invoice."""
    charges = [
        {"model": "per_unit", "label": meter, "meter": meter, "unit_price": "0.01"}
        for meter in ("events", "derived_events", "ingress_gib")
    ]
    return {"name": _PLAN, "charges": charges}


async def _undisturbed(probe: Probe) -> float:
    """The second time, because the first one starts every function."""
    await probe.pass_through()
    started = time.monotonic()
    await probe.pass_through()
    return time.monotonic() - started
