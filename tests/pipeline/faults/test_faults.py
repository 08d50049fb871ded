"""The platform under load and faults: a run of three minutes, and a short one for each seed that ever failed."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from tests.pipeline.faults import run as run_module
from tests.pipeline.faults.faults import World
from tests.pipeline.faults.report import Report
from tests.pipeline.faults.run import Plan, run
from tests.support import require

pytestmark = pytest.mark.pipeline

_SEED = 20261127
_RATE = 1500
"""Events a second: other tests run beside this one."""
_SEEDS = Path(__file__).with_name("seeds.txt").read_text().splitlines()
_FAILED = [line.split()[:4] for line in _SEEDS if line[:1].isdigit()]
_IMPOSSIBLE = {"kill -9 Cassandra", "kill -9 authorizer"}
"""On SQLite, and where the gateway decides by itself."""


def _run(plan: Plan) -> Report:
    require("cc")
    report = asyncio.run(run(plan))
    assert report.struck
    assert not report.findings.differences, f"for seeds.txt: {report.again}: {report.findings.differences}"
    return report


@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_changed_under_every_kind_of_fault(tmp_path: Path) -> None:
    report = _run(Plan(tmp_path, _SEED, seconds=180, rate=_RATE, whole_round=True))
    assert report.skipped.keys() == _IMPOSSIBLE
    assert report.replays > 1


@dataclass(frozen=True, slots=True)
class _Unforgiven:
    """Nothing happens, and events may take no time at all."""

    kind: str = "nothing"
    detail: str = ""
    limit: ClassVar[float] = 0.0
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        return time.monotonic()


@pytest.mark.timeout(300)
def test_a_run_fails_when_events_flow_again_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "rounds", lambda parts, random: itertools.repeat([_Unforgiven()]))
    report = asyncio.run(run(Plan(tmp_path, _SEED, seconds=0.1, rate=200, whole_round=True)))
    (struck,) = report.struck
    assert report.findings.differences == [f"late: {struck}"]
    assert not report.passed


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("seed", "seconds", "store", "rate"), _FAILED)
def test_a_seed_that_failed_once_passes(tmp_path: Path, seed: str, seconds: str, store: str, rate: str) -> None:
    _run(Plan(tmp_path, int(seed), float(seconds), store, float(rate)))
