"""What a plan says of the limits of its tenants' consumers, and what becomes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from eventrunner.billing.consumer_limits import HARD_LIMITS, OverPlan
from eventrunner.billing.plans import parse_plan, shipped_plan
from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits


def _document(**consumers: Any) -> bytes:
    return json.dumps({"name": "p", "charges": [], "consumers": consumers}).encode()


def _wrong_fields(**consumers: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_plan(_document(**consumers))
    return [problem.field for problem in caught.value.fields]


def test_a_plan_that_says_nothing_gives_what_the_platform_gives() -> None:
    plan = parse_plan(b'{"name": "p", "charges": []}')
    assert plan.consumer_limits({}) == Limits()
    assert plan.consumer_limits(HARD_LIMITS) == Limits(**HARD_LIMITS)


def test_what_is_not_asked_for_is_the_plans_default() -> None:
    plan = parse_plan(_document(defaults={"fuel": 5, "publishes": 200}))
    assert plan.consumer_limits({"publishes": 7}) == Limits(fuel=5, publishes=7)


def test_a_default_of_the_platform_is_no_more_than_the_plans_ceiling() -> None:
    plan = parse_plan(_document(ceilings={"milliseconds": 50}))
    assert plan.consumer_limits({}) == Limits(milliseconds=50)


def test_a_ceiling_may_be_asked_for_and_no_more() -> None:
    plan = parse_plan(_document(ceilings={"fuel": 10, "log_bytes": 20}, defaults={"fuel": 5}))
    assert plan.consumer_limits({"fuel": 10}).fuel == 10
    with pytest.raises(OverPlan) as caught:
        plan.consumer_limits({"fuel": 11, "milliseconds": 1, "log_bytes": 21})
    assert "plan p allows fuel of at most 10, log_bytes of at most 20" in caught.value.detail
    assert [item.field for item in caught.value.fields] == ["fuel", "log_bytes"]


def test_only_what_a_plan_says_is_kept_of_it() -> None:
    plan = parse_plan(_document(ceilings={"fuel": 10}))
    assert json.loads(plan.to_json())["consumers"] == {"ceilings": {"fuel": 10}}
    assert parse_plan(plan.to_json()) == plan


@pytest.mark.parametrize("name", HARD_LIMITS)
def test_no_plan_goes_over_the_platforms_bound(name: str) -> None:
    most = HARD_LIMITS[name]
    assert parse_plan(_document(ceilings={name: most}, defaults={name: most}))
    assert _wrong_fields(ceilings={name: most + 1}) == [f"consumers.ceilings.{name}"]
    assert _wrong_fields(defaults={name: most + 1}) == [f"consumers.defaults.{name}"]


def test_every_wrong_limit_is_named() -> None:
    assert _wrong_fields(ceilings={"fuel": 0, "publishes": 5}, defaults={"publishes": 6, "milliseconds": -1}) == [
        "consumers.ceilings.fuel",
        "consumers.defaults.milliseconds",
        "consumers.defaults.publishes",
    ]


@pytest.mark.parametrize(
    "consumers",
    [{"ceilings": {"feul": 1}}, {"ceilings": {"fuel": "much"}}, {"ceilings": {"fuel": 1.5}}, {"limits": {"fuel": 1}}],
)
def test_an_unknown_shape_is_refused(consumers: dict[str, Any]) -> None:
    assert _wrong_fields(**consumers) != []


def test_the_plan_of_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "tenants.md").read_text()
    documents = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [parse_plan(document.encode(), "gold").consumer_limits({}).fuel for document in documents] == [200_000_000]


def test_the_free_plan_gives_less_than_the_standard_one() -> None:
    free, standard = shipped_plan("free"), shipped_plan("standard")
    assert free is not None
    assert standard is not None
    assert standard.consumer_limits(HARD_LIMITS) == Limits(**HARD_LIMITS)
    for name in HARD_LIMITS:
        with pytest.raises(OverPlan):
            free.consumer_limits({name: getattr(Limits(), name) * 2})
    assert free.consumer_limits({}).milliseconds < standard.consumer_limits({}).milliseconds
