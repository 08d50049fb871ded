"""Rules alone: JSON text in, decoded, through the rules, result out, on one thread; beside the real Grule engine."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from eventrunner.cli.bench_grule import GruleFigures, bench_grule, grule_binary
from eventrunner.errors import Unavailable
from eventrunner.events import decode_event
from eventrunner.rules import RuleSet, compile_rules

__all__ = ["RuleFigures", "measure_rules", "rules_table"]

_SIZES = (10, 100, 1000)
_SECONDS = 2.0
_EVENTS = 2_000
_SEED = 20261127
_COUNTRIES = 2_000


@dataclass(slots=True)
class RuleFigures:
    name: str
    rules: int
    per_second: float
    """Events per second of CPU time."""
    fired_per_event: float
    build_seconds: float
    grule_per_second: float | None
    """None where Grule cannot be run."""
    grule_build_seconds: float | None


def measure_rules(console: Console) -> list[RuleFigures]:
    """Says why if Grule cannot be run."""
    try:
        binary = grule_binary()
    except Unavailable as error:
        console.print(f"no Grule beside it: {error}")
        binary = None
    workloads = [("filters", size, filters(size), orders()) for size in _SIZES]
    workloads += [("field chain", size, field_chain(size), [steps()]) for size in _SIZES]
    workloads += [("counter chain", size, counter_chain(size), [steps()]) for size in _SIZES]
    with Progress(console=console, transient=True) as progress:
        return [_measure(*workload, binary) for workload in progress.track(workloads, description="rules")]


def filters(count: int) -> str:
    """Rules on the type, the amount and the country of an order; of 1 000 about one in four events makes one fire."""
    return "\n".join(
        f'rule r{n} {{ when Event.type == "order.placed" && Event.data.amount > {n % 1000} '
        f'&& Event.data.country == "C{n}" then Event.data.tag{n} = true; Retract("r{n}"); }}'
        for n in range(count)
    )


def field_chain(count: int) -> str:
    """Each rule writes the field that the next one reads."""
    return "\n".join(
        f"rule r{n} {{ when Event.data.s{n} == 1 then Event.data.s{n + 1} = 1; Event.data.s{n} = 2; }}"
        for n in range(count)
    )


def counter_chain(count: int) -> str:
    """Each rule writes the one field that all of them read."""
    return "\n".join(
        f"rule r{n} {{ when Event.data.s0 == {n + 1} then Event.data.s0 = {n + 2}; }}" for n in range(count)
    )


def orders() -> list[bytes]:
    choose = random.Random(_SEED)
    return [
        _event(
            number,
            "order.placed",
            {
                "amount": choose.randrange(1000),
                "country": f"C{choose.randrange(_COUNTRIES)}",
                "customer": f"customer-{choose.randrange(10**6)}",
                "items": [{"sku": "a-1", "count": 2}],
            },
        )
        for number in range(_EVENTS)
    ]


def steps() -> bytes:
    return _event(
        0, "step", {"s0": 1, "customer": "customer-1", "country": "C1", "items": [{"sku": "a-1", "count": 2}]}
    )


def _event(number: int, kind: str, data: Mapping[str, Any]) -> bytes:
    """Some 300 bytes."""
    members = {
        "specversion": "1.0",
        "id": f"event-{number:08}",
        "source": "/shop/eu-west-1",
        "type": kind,
        "tenantid": "acme",
        "time": "2026-11-27T11:00:00.000000Z",
        "datacontenttype": "application/json",
        "data": data,
    }
    return msgspec.json.encode(members)


def _measure(name: str, size: int, text: str, events: Sequence[bytes], binary: Path | None) -> RuleFigures:
    started = time.thread_time()
    rules = compile_rules(text)
    built = time.thread_time() - started
    per_second, fired = _ours(rules, events)
    grule = _grule(binary, text, events) if binary else None
    return RuleFigures(
        name=name,
        rules=size,
        per_second=per_second,
        fired_per_event=fired,
        build_seconds=built,
        grule_per_second=grule.events / grule.seconds if grule else None,
        grule_build_seconds=grule.build_seconds if grule else None,
    )


def _ours(rules: RuleSet, events: Sequence[bytes]) -> tuple[float, float]:
    """Events per second and rules fired per event."""
    tenant: dict[str, Any] = {}
    evaluate = rules.evaluate
    count = fired = 0
    spent, started = 0.0, time.thread_time()
    while spent < _SECONDS:
        for event in events:
            verdict = evaluate(decode_event(event), tenant)
            if verdict is not None:
                fired += len(verdict.fired)
        count += len(events)
        spent = time.thread_time() - started
    return count / spent, fired / count


def _grule(binary: Path, text: str, events: Sequence[bytes]) -> GruleFigures:
    with tempfile.TemporaryDirectory() as folder:
        rules, lines = Path(folder, "rules.grl"), Path(folder, "events.jsonl")
        rules.write_text(text)
        lines.write_bytes(b"\n".join(events))
        return bench_grule(binary, rules, lines)


def rules_table(figures: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("rules", "", "fired", "events/s", "Grule", "×", "built, s", "Grule", title="rules alone")
    for item in figures:
        grule, built = item["grule_per_second"], item["grule_build_seconds"]
        table.add_row(
            item["name"],
            f"{item['rules']:,}",
            f"{item['fired_per_event']:.2f}",
            f"{item['per_second']:,.0f}",
            f"{grule:,.1f}" if grule else "–",
            f"{item['per_second'] / grule:,.1f}" if grule else "–",
            f"{item['build_seconds']:.2f}",
            f"{built:.2f}" if built else "–",
        )
    return table
