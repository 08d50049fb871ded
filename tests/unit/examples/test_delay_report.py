"""The statistics of the example `examples/consumers/python-delay-report`, outside of WebAssembly."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "examples" / "consumers" / "python-delay-report" / "src"


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(SOURCE))
    import delays  # type: ignore[import-not-found]

    yield delays
    del sys.modules["delays"]


def report(windows: Any, *flights: tuple[str, int | None]) -> Any:
    """The last one of what comes of these flights of one carrier."""
    last = None
    for number, (identifier, delay) in enumerate(flights):
        flight = {"carrier": "UA"} | ({} if delay is None else {"dep_delay": delay})
        last = windows.add(identifier, f"2013-01-01T00:0{number}:00Z", flight)
    return last


def test_a_report_is_about_as_many_flights_as_a_window_has(delays: ModuleType) -> None:
    windows = delays.Windows(size=4)
    assert report(windows, ("a", -3), ("b", 15), ("c", None)) is None
    assert report(windows, ("d", 60)) == {
        "carrier": "UA",
        "from": "2013-01-01T00:00:00Z",
        "to": "2013-01-01T00:02:00Z",
        "flights": 4,
        "cancelled": 1,
        "late": 2,
        "minutes": {"mean": 24.0, "median": 15, "p90": 60, "most": 60},
    }
    assert report(windows, ("e", 1)) is None


def test_carriers_have_windows_of_their_own(delays: ModuleType) -> None:
    windows = delays.Windows(size=2)
    assert windows.add("a", "", {"carrier": "UA"}) is None
    assert windows.add("b", "", {"carrier": "AA"}) is None
    assert windows.add("c", "", {"carrier": "UA"})["carrier"] == "UA"


def test_a_flight_that_comes_twice_counts_once(delays: ModuleType) -> None:
    windows = delays.Windows(size=2)
    assert report(windows, ("a", 5), ("a", 5)) is None
    assert report(windows, ("b", 7))["flights"] == 2


def test_of_cancelled_flights_alone_there_are_no_minutes(delays: ModuleType) -> None:
    made = report(delays.Windows(size=2), ("a", None), ("b", None))
    assert (made["cancelled"], set(made["minutes"].values())) == (2, {None})
