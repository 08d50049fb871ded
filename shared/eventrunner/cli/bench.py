"""`eventrunner bench`: throughput, latency, CPU per event and memory, by batch size, on this machine; what tenants feel
of one another, what the source adapter, the front door, guests and a consumer do alone, and how fast rules are beside
Grule."""

from __future__ import annotations

import asyncio
import json
import math
import platform as machine
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from eventrunner.cli.bench_access import AuthorizerFigures, DoorFigures, access_table, measure_access
from eventrunner.cli.bench_consumer import ConsumerFigures, consumer_table, measure_consumer
from eventrunner.cli.bench_neighbours import measure_neighbours
from eventrunner.cli.bench_rules import measure_rules, rules_table
from eventrunner.cli.bench_source import measure_source
from eventrunner.cli.bench_wasm import measure_wasm, wasm_table
from eventrunner.cli.bench_wasmcloud import measure_wasmcloud, wasmcloud_table
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.demo import measure_latency
from eventrunner.cli.flights import read_flights
from eventrunner.cli.platform_process import RunningPlatform, make_folder, running_platform
from eventrunner.cli.processes import cpu_by_part, sample_tree
from eventrunner.cli.provision import provision, shipped_rules
from eventrunner.cli.sender import Batch, Sender, cut
from eventrunner.cli.tallies import Tallies
from eventrunner.cli.watch import percentile
from eventrunner.clock import format_time, utc_now
from eventrunner.errors import ConfigurationError, EventRunnerError, Unavailable
from eventrunner.events import decode_event

__all__ = ["command"]

_TENANT = "bench"
_RUNS = {1: (4_000, 32), 50: (60_000, 8), 500: (200_000, 4)}
"""Batch size → (events, connections)."""

_PARTS = ("rules", "access", "wasm", "consumer", "wasmcloud", "platform")
_NEIGHBOUR_SECONDS = 10.0
_FLOOD_LINES = 300_000
_YARDSTICK = 100_000
_IDLE_SECONDS = 10
_IDLE_WAIT = 120
_POLL = 0.1


@dataclass(slots=True)
class Run:
    batch: int
    connections: int
    events: int
    sent_per_second: float
    """Answered 202."""
    events_per_second: float
    """From the first request until the last event was in ClickHouse."""
    latency_p50: float
    latency_p99: float
    """Seconds from 202 to stored, at 1 000 events/s offered."""
    cpu: dict[str, float]
    """µs per event by part of the platform."""
    peak_memory: int
    """Bytes."""


@click.command("bench")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench-results/bench.json"), show_default=True)
@click.option(
    "--batch", "batches", type=click.Choice([str(size) for size in _RUNS]), multiple=True, help="only this batch size"
)
@click.option("--part", "parts", type=click.Choice(_PARTS), multiple=True, help="only this part")
def command(output: Path, batches: tuple[str, ...], parts: tuple[str, ...]) -> None:
    """Measures parts alone and the platform on this machine; prints tables and writes them as JSON."""
    console, errors = Console(), Console(stderr=True)
    document: dict[str, object] = {"time": format_time(utc_now()), "machine": machine.platform()}
    if "rules" in (parts or _PARTS):
        figures = [asdict(item) for item in measure_rules(errors)]
        document["rules"] = figures
        console.print(rules_table(figures))
    if "access" in (parts or _PARTS):
        doors, authorizers = _access(errors)
        document |= {"doors": [asdict(item) for item in doors], "authorizer": [asdict(item) for item in authorizers]}
        console.print(access_table(doors, authorizers))
    if "wasm" in (parts or _PARTS):
        guests = [asdict(item) for item in measure_wasm(errors)]
        document["wasm"] = guests
        console.print(wasm_table(guests))
    if "consumer" in (parts or _PARTS):
        consumers = [asdict(item) for item in _consumer(errors)]
        document["consumer"] = consumers
        console.print(consumer_table(consumers))
    if "wasmcloud" in (parts or _PARTS):
        document |= _wasmcloud(console, errors)
    if "platform" in (parts or _PARTS):
        document |= _platform([int(size) for size in batches] or list(_RUNS), errors)
        _print(document, console)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"written to {output}")


def _access(console: Console) -> tuple[list[DoorFigures], list[AuthorizerFigures]]:
    folder = make_folder("bench-access")
    try:
        return measure_access(folder, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _consumer(console: Console) -> list[ConsumerFigures]:
    """Nothing where a guest cannot be built, which the console is told."""
    folder = make_folder("bench-consumer")
    console.print("a consumer from end to end …")
    try:
        return asyncio.run(measure_consumer(folder))
    except ConfigurationError as error:
        console.print(str(error))
        return []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wasmcloud(console: Console, errors: Console) -> dict[str, object]:
    folder = make_folder("bench-wasmcloud")
    try:
        figures = measure_wasmcloud(folder, errors)
    except EventRunnerError as error:
        errors.print(f"no wasmCloud: {error}")
        return {}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(wasmcloud_table(figures))
    return {"wasmcloud": asdict(figures)}


def _platform(sizes: list[int], console: Console) -> dict[str, object]:
    folder = make_folder("bench")
    try:
        started = time.perf_counter()
        with running_platform(folder) as platform:
            ready = time.perf_counter() - started
            return {"ready_seconds": ready, **asyncio.run(_measure(platform, sizes, console))}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(platform: RunningPlatform, sizes: list[int], console: Console) -> dict[str, object]:
    async with Api(Connection(platform.url, platform.admin_key)) as api:
        keys = await provision(api, [_TENANT], rules={"flights": shipped_rules("flights.grl")})
    key = keys[_TENANT]
    tallies = Tallies(platform)
    await _one_event(platform, tallies, key, "warm")
    flights = await asyncio.to_thread(lambda: [line for _, line in islice(read_flights(), _FLOOD_LINES)])
    runs, start = [], 0
    for size in sizes:
        console.print(f"batches of {size} …")
        events, connections = _RUNS[size]
        lines = flights[start : start + events]
        runs.append(asdict(await _run(platform, tallies, key, lines, size, connections)))
        start += events
    console.print("a quiet tenant beside a loud one …")
    neighbours = await measure_neighbours(platform, shipped_rules("flights.grl"), flights, _NEIGHBOUR_SECONDS)
    console.print("the source adapter alone …")
    source = await measure_source(platform.nats, platform.data_dir / "bench-sources")
    console.print("idle …")
    idle = await _idle(platform)
    # Now that every function is at zero.
    first_accepted, cold_start = await _one_event(platform, tallies, key, "cold")
    return {
        "yardstick": _yardstick(flights[0]),
        "first_accepted_seconds": first_accepted,
        "cold_start_seconds": cold_start,
        "runs": runs,
        "neighbours": asdict(neighbours),
        "source": asdict(source),
        "idle_percent_of_a_core": idle,
    }


def _yardstick(line: bytes) -> float:
    """µs of CPU to decode one flight, the best of some tries: what a core of this machine is worth beside another's."""
    best = math.inf
    for _ in range(5):
        started = time.process_time()
        for _ in range(_YARDSTICK):
            decode_event(line)
        best = min(best, (time.process_time() - started) / _YARDSTICK * 1e6)
    return best


async def _one_event(platform: RunningPlatform, tallies: Tallies, key: str, id: str) -> tuple[float, float]:
    """Seconds until its 202, and until it is in ClickHouse."""
    before = tallies.analysed()
    line = b'{"specversion":"1.0","id":"%b","source":"/bench","type":"bench.one","data":{}}' % id.encode()
    started = time.perf_counter()
    await Sender(platform.url).send([Batch(key, line, 1)])
    accepted = time.perf_counter() - started
    await _until(tallies, before + 1)
    return accepted, time.perf_counter() - started


async def _run(
    platform: RunningPlatform, tallies: Tallies, key: str, lines: list[bytes], size: int, connections: int
) -> Run:
    before, cpu_before = tallies.analysed(), cpu_by_part(platform.pid)
    batches = list(cut(lines, key, size))
    started = time.perf_counter()
    waiting = asyncio.create_task(_until(tallies, before + len(lines)))
    report = await Sender(platform.url, connections=connections).send(batches)
    peak = await waiting
    seconds = time.perf_counter() - started
    cpu = {
        part: (used - cpu_before.get(part, 0.0)) / len(lines) * 1e6 for part, used in cpu_by_part(platform.pid).items()
    }
    latencies = await measure_latency(platform, key, _TENANT, rate=1000, seconds=5, size=size)
    return Run(
        batch=size,
        connections=connections,
        events=len(lines),
        sent_per_second=report.accepted / report.seconds,
        events_per_second=len(lines) / seconds,
        latency_p50=percentile(latencies, 0.5),
        latency_p99=percentile(latencies, 0.99),
        cpu=cpu,
        peak_memory=peak,
    )


async def _until(tallies: Tallies, count: int) -> int:
    peak = 0
    async with asyncio.timeout(300):
        while await asyncio.to_thread(tallies.analysed) < count:
            peak = max(peak, await asyncio.to_thread(tallies.resident))
            await asyncio.sleep(_POLL)
    return peak


async def _idle(platform: RunningPlatform) -> float:
    """CPU of the whole platform in percent of a core, once the functions are at zero."""
    deadline = time.monotonic() + _IDLE_WAIT
    while time.monotonic() < deadline and any(sample.function for sample in sample_tree(platform.pid)):
        await asyncio.sleep(1)
    if any(sample.function for sample in sample_tree(platform.pid)):
        raise Unavailable(f"The functions are not at zero after {_IDLE_WAIT:.0f} s.")
    before = sum(cpu_by_part(platform.pid).values())
    await asyncio.sleep(_IDLE_SECONDS)
    return (sum(cpu_by_part(platform.pid).values()) - before) / _IDLE_SECONDS * 100


def _print(document: dict[str, object], console: Console) -> None:
    runs: list[dict[str, object]] = document["runs"]  # type: ignore[assignment]
    table = Table(title="end to end: HTTP → JetStream → rules → event store → ClickHouse")
    rows = (
        ("events", "events", "{:,}", 1),
        ("connections", "connections", "{}", 1),
        ("202/s", "sent_per_second", "{:,.0f}", 1),
        ("events/s end to end", "events_per_second", "{:,.0f}", 1),
        ("latency p50 at 1 000/s, ms", "latency_p50", "{:.1f}", 1e3),
        ("latency p99 at 1 000/s, ms", "latency_p99", "{:.1f}", 1e3),
        ("peak memory, GiB", "peak_memory", "{:.2f}", 2**-30),
    )
    table.add_column("batch")
    for run in runs:
        table.add_column(str(run["batch"]), justify="right")
    for title, name, form, factor in rows:
        table.add_row(title, *(form.format(run[name] * factor if factor != 1 else run[name]) for run in runs))  # type: ignore[operator]
    parts = sorted({part for run in runs for part in run["cpu"]})  # type: ignore[attr-defined]
    for part in parts:
        table.add_row(f"CPU µs/event: {part}", *(f"{run['cpu'].get(part, 0.0):.1f}" for run in runs))  # type: ignore[attr-defined]
    table.add_row("CPU µs/event: all", *(f"{sum(run['cpu'].values()):.1f}" for run in runs))  # type: ignore[attr-defined]
    console.print(table)
    console.print(_beside(document["neighbours"]), _alone(document["source"]), sep="\n")  # type: ignore[arg-type]
    console.print(
        f"yardstick {document['yardstick']:.2f} µs a decoded event, "
        f"ready in {document['ready_seconds']:.1f} s, "
        f"first 202 from cold after {document['first_accepted_seconds']:.2f} s, "
        f"first event in ClickHouse after {document['cold_start_seconds']:.2f} s, "
        f"idle {document['idle_percent_of_a_core']:.1f} % of a core"
    )


def _beside(neighbours: Mapping[str, Any]) -> Table:
    table = Table("another tenant", "p50, ms", "p99, ms", title="a quiet tenant, from sending to stored")
    rows = (
        ("none", "alone"),
        ("offers 10 times its quota", "beside_quota"),
        ("has no quota and floods", "beside_flood"),
    )
    for title, name in rows:
        table.add_row(title, *(f"{seconds * 1e3:.1f}" for seconds in neighbours[name]))
    return table


def _alone(source: Mapping[str, Any]) -> str:
    return (
        f"source adapter, messages of one event: {source['single_events_per_second']:,.0f} events/s, "
        f"{source['single_cpu']:.1f} µs CPU an event; beside a source whose sink is away: "
        f"{source['beside_dead_per_second']:,.0f} events/s; with its sink away: "
        f"{source['dead_percent_of_a_core']:.1f} % of a core"
    )
