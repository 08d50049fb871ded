"""The demo's summary: what was sent, stored, analysed and billed, side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from eventrunner.cli.watch import percentile

__all__ = ["Figures", "print_report"]


@dataclass(slots=True)
class Figures:
    sent: dict[str, int]
    """Events by carrier; so are all the others."""
    rejected: int
    sending_seconds: float
    seconds: float
    """From the first request until the last event was in ClickHouse."""
    peak_memory: int
    """Bytes resident, of all processes of the platform together."""
    cpu: dict[str, float]
    """Seconds of CPU by part of the platform, during the run."""
    expected_alerts: dict[str, int] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    in_clickhouse: dict[str, int] = field(default_factory=dict)
    alerts: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    """Seconds from 202 to stored, one per event."""
    usage: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Answers of the usage call, by window and carrier."""
    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.sent.values())

    def billed(self, carrier: str) -> int:
        """Events on the carrier's invoice."""
        return sum(
            int(Decimal(line["quantity"])) for line in self.invoices[carrier]["lines"] if line["meter"] == "events"
        )

    def used(self, window: str, carrier: str) -> int:
        return sum(int(Decimal(row["events"])) for row in self.usage[window][carrier]["usage"])

    def differences(self, carrier: str) -> list[str]:
        """What does not agree; empty when all does."""
        sent, alerts = self.sent[carrier], self.expected_alerts[carrier]
        counted = {
            "stored": self.stored.get(carrier, 0) - self.alerts.get(carrier, 0),
            "in ClickHouse": self.in_clickhouse.get(carrier, 0),
            "usage of the month": self.used("month", carrier),
            "usage of the year": self.used("year", carrier),
            "on the invoice": self.billed(carrier),
        }
        wrong = [f"{number} {what}, {sent} sent" for what, number in counted.items() if number != sent]
        if self.alerts.get(carrier, 0) != alerts:
            wrong.append(f"{self.alerts.get(carrier, 0)} alerts, {alerts} counted by pandas")
        return wrong

    @property
    def all_equal(self) -> bool:
        return self.rejected == 0 and not any(self.differences(carrier) for carrier in self.sent)

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        del document["latencies"]
        document |= {
            "events": self.total,
            "events_per_second": self.total / self.seconds,
            "latency_p50": percentile(self.latencies, 0.5),
            "latency_p99": percentile(self.latencies, 0.99),
            "differences": {carrier: self.differences(carrier) for carrier in self.sent},
            "all_equal": self.all_equal,
        }
        return document


def print_report(figures: Figures, console: Console) -> None:
    table = Table(title="336 776 flights, counted at every stage")
    for name in ("tenant", "sent", "stored", "ClickHouse", "invoice", "alerts", "pandas", "invoice total", ""):
        table.add_column(name, justify="left" if name in ("tenant", "") else "right")
    for carrier, sent in figures.sent.items():
        invoice = figures.invoices[carrier]
        table.add_row(
            carrier,
            f"{sent:,}",
            f"{figures.stored[carrier] - figures.alerts.get(carrier, 0):,}",
            f"{figures.in_clickhouse.get(carrier, 0):,}",
            f"{figures.billed(carrier):,}",
            f"{figures.alerts.get(carrier, 0):,}",
            f"{figures.expected_alerts[carrier]:,}",
            f"{invoice['total']} {invoice['currency']}",
            "; ".join(figures.differences(carrier)) or "equal",
        )
    console.print(table)
    console.print(_costs(figures))
    pace = figures.total / figures.seconds
    console.print(
        f"{figures.total:,} events in {figures.seconds:.1f} s: [bold]{pace:,.0f} events/s[/] "
        f"(sent at {figures.total / figures.sending_seconds:,.0f}/s), {sum(figures.alerts.values()):,} alerts, "
        f"peak memory {figures.peak_memory / 2**30:.2f} GiB"
    )
    console.print(
        f"latency from 202 to stored at 1 000 events/s: p50 {percentile(figures.latencies, 0.5) * 1000:.1f} ms, "
        f"p99 {percentile(figures.latencies, 0.99) * 1000:.1f} ms"
    )
    console.print("[green]all equal[/]" if figures.all_equal else "[red]there are differences[/]")


def _costs(figures: Figures) -> Table:
    table = Table(title="CPU by part")
    for name in ("part", "seconds", "µs per event"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for part, seconds in sorted(figures.cpu.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{seconds:.2f}", f"{seconds / figures.total * 1e6:.1f}")
    return table
