"""What a run has shown, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.pipeline.faults.checker import Findings
from tests.pipeline.faults.recovery import ASKED, Struck

__all__ = ["Kind", "Report", "kinds_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """All faults of a kind."""

    name: str
    recoveries: tuple[float, ...]
    """Seconds, sorted."""
    single: bool

    @property
    def median(self) -> float:
        return median(self.recoveries)

    @property
    def worst(self) -> float:
        return self.recoveries[-1]

    @property
    def met(self) -> str:
        """Whether the figure for the end of one process was reached; empty for other faults."""
        if not self.single:
            return ""
        late = sum(recovery > ASKED for recovery in self.recoveries)
        return f"{late} of {len(self.recoveries)} later" if late else "met"

    def to_json(self) -> dict[str, Any]:
        figures = {"faults": len(self.recoveries), "median": self.median, "worst": self.worst}
        return figures | ({f"within {ASKED:g} s": self.met} if self.single else {})


def kinds_of(struck: Iterable[Struck]) -> list[Kind]:
    found: dict[tuple[str, bool], list[float]] = {}
    for fault in struck:
        found.setdefault((fault.kind, fault.single), []).append(fault.recovery)
    return [Kind(name, tuple(sorted(times)), single) for (name, single), times in sorted(found.items())]


@dataclass(slots=True)
class Report:
    seed: int
    store: str
    rate: float
    planned: float
    """Seconds of faults that were asked for."""
    seconds: float
    """From the first event until all was acknowledged."""
    events: int
    """Acknowledged, each once."""
    sent_again: int
    """Of these, by clients that had their acknowledgement already; each is on RESULTS and in ClickHouse once more."""
    answers: dict[str, int]
    replays: int
    """Of history, while faults came."""
    struck: list[Struck]
    skipped: dict[str, str]
    """Kind of fault that has not come → why."""
    way: float
    """Seconds that an event takes all the way under this load when there is no fault."""
    cold: float
    """Seconds that a cold start of a process took at the beginning."""
    findings: Findings = field(default_factory=Findings)

    @property
    def passed(self) -> bool:
        return not self.findings.differences

    @property
    def again(self) -> str:
        """A line for `seeds.txt`."""
        return f"{self.seed} {self.planned:g} {self.store} {self.rate:g}"

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")

    def to_json(self) -> dict[str, Any]:
        kinds = {kind.name: kind.to_json() for kind in kinds_of(self.struck)}
        return {**asdict(self), "passed": self.passed, "faults": len(self.struck), "kinds": kinds}

    def print(self, console: Console) -> None:
        console.print(_table(f"{len(self.struck)} faults, seed {self.seed}, {self.store}", kinds_of(self.struck)))
        for reason in sorted(set(self.skipped.values())):
            kinds = ", ".join(kind for kind, why in self.skipped.items() if why == reason)
            console.print(f"not struck, as {reason}: {kinds}")
        console.print(f"answers: {', '.join(f'{status} ×{count}' for status, count in sorted(self.answers.items()))}")
        findings = self.findings
        console.print(
            f"{self.events:,} events acknowledged in {self.seconds:.0f} s, {len(self.struck)} faults, "
            f"{self.replays} replays; lost {findings.lost}, twice {findings.twice}, changed {findings.changed}, "
            f"miscounted {findings.miscounted}"
        )
        again = ", ".join(f"{count} in {place}" for place, count in findings.repeated.items())
        console.print(
            f"came again, as they may: {again} ({self.sent_again} sent again by clients); "
            f"{findings.second_letters} second dead letters"
        )
        console.print(f"way of an event {self.way:.2f} s, cold start {self.cold:.2f} s")
        for difference in findings.differences:
            console.print(f"[red]{difference}[/]")
        verdict = "[green]all equal[/]" if self.passed else f"[red]differences; for seeds.txt: {self.again}[/]"
        console.print(verdict)


def _table(title: str, kinds: Iterable[Kind]) -> Table:
    table = Table(title=title)
    for name in ("fault", "times", "recovery median", "worst", f"within {ASKED:g} s"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for kind in kinds:
        times = str(len(kind.recoveries))
        table.add_row(kind.name, times, f"{kind.median:.2f} s", f"{kind.worst:.2f} s", kind.met)
    return table
