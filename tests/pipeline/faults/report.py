"""What a run has shown, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from eventrunner.cli.watch import percentile
from rich.console import Console
from rich.table import Table

from tests.pipeline.faults.checker import Findings
from tests.pipeline.faults.scheduler import Struck

__all__ = ["Report"]


@dataclass(slots=True)
class Report:
    seed: int
    store: str
    seconds: float
    events: int
    """Acknowledged, each once."""
    answers: dict[str, int]
    struck: list[Struck]
    undisturbed: float
    """Seconds that an event takes all the way when there is no fault."""
    findings: Findings = field(default_factory=Findings)

    @property
    def passed(self) -> bool:
        return not self.findings.differences

    def recoveries(self) -> dict[str, list[float]]:
        """By kind of fault, sorted."""
        found: dict[str, list[float]] = {}
        for struck in sorted(self.struck, key=lambda item: item.recovery):
            found.setdefault(struck.fault, []).append(struck.recovery)
        return found

    def to_json(self) -> dict[str, Any]:
        kinds = {
            name: {"faults": len(times), "p50": percentile(times, 0.5), "max": times[-1]}
            for name, times in sorted(self.recoveries().items())
        }
        return {**asdict(self), "passed": self.passed, "faults": len(self.struck), "kinds": kinds}

    def print(self, console: Console) -> None:
        table = Table(title=f"{len(self.struck)} faults, seed {self.seed}, {self.store}")
        for name in ("fault", "times", "recovery p50", "max"):
            table.add_column(name, justify="left" if name == "fault" else "right")
        for name, times in sorted(self.recoveries().items()):
            table.add_row(name, str(len(times)), f"{percentile(times, 0.5):.2f} s", f"{times[-1]:.2f} s")
        console.print(table)
        console.print(f"answers: {', '.join(f'{status} ×{count}' for status, count in sorted(self.answers.items()))}")
        console.print(
            f"{self.events:,} events acknowledged in {self.seconds:.0f} s, {len(self.struck)} faults, undisturbed way "
            f"{self.undisturbed:.2f} s; lost {self.findings.lost}, twice {self.findings.twice}, "
            f"{self.findings.second_letters} second dead letters"
        )
        for difference in self.findings.differences:
            console.print(f"[red]{difference}[/]")
        console.print("[green]all equal[/]" if self.passed else f"[red]differences; run again with seed {self.seed}[/]")
