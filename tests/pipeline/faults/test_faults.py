"""The platform under load and faults: a run of three minutes, and a short one for each seed that ever failed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.pipeline.faults.run import Plan, run
from tests.support import require

pytestmark = pytest.mark.pipeline

_SEED = 20261127
_RATE = 1500
"""Events a second: other tests run beside this one."""
_SEEDS = Path(__file__).with_name("seeds.txt").read_text().splitlines()
_FAILED = [line.split()[:3] for line in _SEEDS if line[:1].isdigit()]


def _check(plan: Plan) -> None:
    require("cc")
    report = asyncio.run(run(plan))
    assert report.struck
    assert not report.findings.differences, f"seed {plan.seed}: {report.findings.differences}"


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_under_faults(tmp_path: Path) -> None:
    _check(Plan(tmp_path, _SEED, seconds=180, rate=_RATE))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "seconds", "store"), _FAILED)
def test_a_seed_that_failed_once_passes(tmp_path: Path, seed: str, seconds: str, store: str) -> None:
    _check(Plan(tmp_path, int(seed), float(seconds), store, rate=_RATE))
