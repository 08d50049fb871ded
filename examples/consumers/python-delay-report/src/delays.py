"""Statistics of delays, a window of flights at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LATE_MINUTES = 15
"""From which on a departure counts as late in the statistics of the airlines."""


@dataclass
class Window:
    """Of one carrier."""

    flights: dict[str, int | None] = field(default_factory=dict)
    """Minutes of delay at departure by the event's id, so that what comes twice counts once; None: cancelled."""
    times: list[str] = field(default_factory=list)

    def report(self, carrier: str) -> dict[str, Any]:
        delays = sorted(delay for delay in self.flights.values() if delay is not None)
        return {
            "carrier": carrier,
            "from": min(self.times),
            "to": max(self.times),
            "flights": len(self.flights),
            "cancelled": len(self.flights) - len(delays),
            "late": sum(delay >= LATE_MINUTES for delay in delays),
            "minutes": {
                "mean": round(sum(delays) / len(delays), 1) if delays else None,
                "median": _quantile(delays, 50),
                "p90": _quantile(delays, 90),
                "most": delays[-1] if delays else None,
            },
        }


class Windows:
    def __init__(self, size: int) -> None:
        """`size`: flights of a carrier that a report is about."""
        self._size = size
        self._open: dict[str, Window] = {}

    def add(self, identifier: str, time: str, flight: Mapping[str, Any]) -> dict[str, Any] | None:
        """The report that the flight completes."""
        carrier = flight["carrier"]
        window = self._open.setdefault(carrier, Window())
        window.flights[identifier] = flight.get("dep_delay")
        window.times.append(time)
        if len(window.flights) < self._size:
            return None
        del self._open[carrier]
        return window.report(carrier)


def _quantile(ordered: list[int], percent: int) -> int | None:
    """The smallest value that so many percent do not exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
