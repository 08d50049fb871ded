"""What `eventrunner consumer run` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from eventrunner.events import Event, encode_event

if TYPE_CHECKING:
    from eventrunner.cli.consumer_trial import Tried
    from eventrunner.wasm.outcomes import LogLine

__all__ = ["Report"]

_MIB = 1024 * 1024
_MOST_LOGGED = 200
"""Lines of log that a person is shown of one run."""


class Report:
    """Prints each event as it is added, and sums them up."""

    def __init__(self, as_json: bool, brief: bool) -> None:
        """`brief`: for people, only what failed and the sum."""
        self._as_json = as_json
        self._brief = brief
        self.handed = self.failed = 0
        self._fuel = self._cpu_ns = self._memory = 0
        self._logged = 0

    def add(self, tried: Tried) -> None:
        self.handed += 1
        self.failed += not tried.is_handled
        self._fuel += tried.spent.fuel
        self._cpu_ns += tried.spent.cpu_ns
        self._memory = max(self._memory, tried.spent.memory_bytes)
        if self._as_json:
            click.echo(json.dumps(_document(tried), ensure_ascii=False))
        elif not self._brief or not tried.is_handled:
            room = max(_MOST_LOGGED - self._logged, 0)
            click.echo("\n".join(_lines(tried, tried.logs[:room])))
            self._logged += len(tried.logs)

    def end(self) -> None:
        """For people, unless nothing was handed over."""
        if self._as_json:
            return
        if not self.handed:
            click.echo("no events")
            return
        if (more := self._logged - _MOST_LOGGED) > 0:
            click.echo(f"{more} more lines were logged; --json shows all")
        taken = _taken(self._fuel // self.handed, self._cpu_ns / self.handed, self._memory)
        click.echo(f"{self.handed} handed over, {self.failed} failed; a call took on average {taken} at most")


def _document(tried: Tried) -> dict[str, Any]:
    event, spent = tried.event, tried.spent
    return {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "outcome": tried.outcome,
        "reason": tried.reason or None,
        "published": [{"subject": sent.subject, "event": _json(sent.event)} for sent in tried.published],
        "logs": [{"level": line.level, "context": line.context, "text": line.text} for line in tried.logs],
        "logs_dropped": tried.logs_dropped,
        "fuel": spent.fuel,
        "cpu_ms": round(spent.cpu_ns / 1e6, 3),
        "memory_bytes": spent.memory_bytes,
    }


def _json(event: Event) -> Any:
    return json.loads(encode_event(event))


def _lines(tried: Tried, logs: Sequence[LogLine]) -> list[str]:
    event, spent = tried.event, tried.spent
    taken = _taken(spent.fuel, spent.cpu_ns, spent.memory_bytes)
    lines = [f"{event.type} {event.id}: {tried.outcome}, {taken}"]
    if tried.reason:
        lines += [f"  {line}" for line in tried.reason.splitlines()]
    lines += [f"  {line.level:5} {line.context}{': ' if line.context else ''}{line.text}" for line in logs]
    if tried.logs_dropped:
        lines.append(f"  and {tried.logs_dropped} lines over the limit log_bytes")
    for sent in tried.published:
        data = sent.event.json_data.decode() or sent.event.data_base64 or ""
        lines.append(f"  published to {sent.subject}: {data}")
    return lines


def _taken(fuel: int, cpu_ns: float, memory: int) -> str:
    return f"{fuel} fuel, {cpu_ns / 1e6:.2f} ms CPU, {memory / _MIB:.1f} MiB"
