"""The platform under load and faults: a run of three minutes, and a short one for each seed that ever failed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

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


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("seed", "seconds", "store", "rate"), _FAILED)
def test_a_seed_that_failed_once_passes(tmp_path: Path, seed: str, seconds: str, store: str, rate: str) -> None:
    _run(Plan(tmp_path, int(seed), float(seconds), store, float(rate)))
