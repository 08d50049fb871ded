from __future__ import annotations

import pytest
from eventrunner.local.autoscale import Autoscaler, Scaling

SCALING = Scaling(target=10, window=60, panic_window=6)


def decide(scaler: Autoscaler, start: float, end: float, ready: int) -> int:
    """Decisions once a second, with as many replicas ready as were wanted; the last decision."""
    moment = start
    while moment <= end:
        ready = scaler.desired(moment, ready)
        moment += 1
    return ready


def test_steady_load_gets_the_replicas_that_its_average_needs() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    scaler.change(0.0, 25)
    assert decide(scaler, 1, 200, 1) == 3


def test_one_request_in_flight_keeps_one_replica() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    scaler.change(0.0, 1)
    assert decide(scaler, 1, 500, 1) == 1


def test_a_short_burst_does_not_start_replicas() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    decide(scaler, 1, 60, 1)
    scaler.change(60.0, 25)
    scaler.change(60.2, -25)
    assert scaler.desired(61.0, 1) == 1


def test_a_lasting_rise_is_answered_within_the_panic_window() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    scaler.change(0.0, 1)
    ready = decide(scaler, 1, 100, 1)
    scaler.change(100.0, 40)
    assert ready == 1
    assert decide(scaler, 101, 106, ready) >= 4


def test_a_rise_after_a_long_time_at_zero_is_answered_as_quickly() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    scaler.change(10_000.0, 40)
    assert decide(scaler, 10_001, 10_006, 1) >= 4


def test_nothing_is_stopped_while_panic_lasts() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    scaler.change(0.0, 40)
    peak = decide(scaler, 1, 7, 1)
    scaler.change(7.0, -39)
    assert peak >= 4
    assert decide(scaler, 8, 60, peak) == peak
    assert decide(scaler, 61, 300, peak) == 1


def test_replicas_go_away_by_halves() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    scaler.change(0.0, 1)
    decide(scaler, 1, 100, 1)
    assert scaler.desired(101.0, 8) == 4


def test_zero_comes_after_a_whole_window_without_a_request() -> None:
    scaler = Autoscaler(SCALING, 0.0)
    scaler.change(0.0, 1)
    scaler.change(10.0, -1)
    assert decide(scaler, 11, 69, 1) == 1
    assert scaler.desired(70.0, 1) == 0


def test_the_last_replica_stays_for_the_retention_period() -> None:
    scaler = Autoscaler(Scaling(window=60, retention=30), 0.0)
    assert scaler.desired(60.0, 1) == 1
    assert scaler.desired(89.0, 1) == 1
    assert scaler.desired(90.0, 1) == 0


def test_a_retention_period_starts_nothing() -> None:
    scaler = Autoscaler(Scaling(window=60, retention=30), 0.0)
    assert scaler.desired(61.0, 0) == 0


@pytest.mark.parametrize(("wanted", "given"), [(0, 2), (3, 3), (9, 5)])
def test_scale_stays_between_its_bounds(wanted: int, given: int) -> None:
    assert Scaling(min_scale=2, max_scale=5).clamp(wanted) == given
