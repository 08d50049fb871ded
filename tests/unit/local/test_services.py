from __future__ import annotations

import pytest
from eventrunner.errors import ConfigurationError
from eventrunner.local.services import read_scaling

P = "autoscaling.knative.dev/"


def test_defaults_are_knatives() -> None:
    scaling = read_scaling({}, 0)
    assert (scaling.target, scaling.window, scaling.panic_window, scaling.min_scale) == (70, 60, 6, 0)


def test_container_concurrency_bounds_the_target() -> None:
    assert read_scaling({P + "target": "50"}, 10).target == 7


def test_the_utilisation_is_part_of_the_target() -> None:
    assert read_scaling({P + "target": "50", P + "target-utilization-percentage": "100"}, 0).target == 50


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1m30s", 90), ("0.5h", 1800), ("6s", 6)])
def test_windows_are_go_durations(text: str, seconds: float) -> None:
    assert read_scaling({P + "window": text}, 0).window == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class", "hpa.autoscaling.knative.dev"),
        ("metric", "rps"),
        ("window", "a minute"),
        ("window", ""),
        ("min-scale", "-1"),
        ("max-scale", "many"),
        ("target-burst-capacity", "70"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"autoscaler|metric|autoscaling\.knative\.dev/" + name):
        read_scaling({P + name: value}, 0)
