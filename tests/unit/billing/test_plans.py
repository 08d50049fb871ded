from __future__ import annotations

import json
from typing import Any

import pytest
from eventrunner.billing.plans import Flat, parse_plan, shipped_plan
from eventrunner.errors import InvalidInput, MalformedBody

_TIER = {"unit_price": "1"}
_EVENTS = {"model": "per_unit", "label": "Events", "meter": "events", "unit_price": "0.5"}


def _document(*charges: Any, **fields: Any) -> bytes:
    return json.dumps({"name": "p", "charges": list(charges), **fields}).encode()


def _wrong_fields(document: bytes) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_plan(document)
    return [problem.field for problem in caught.value.fields]


def test_the_standard_plan_ships() -> None:
    plan = shipped_plan("standard")
    assert plan is not None
    assert [charge.label for charge in plan.charges] == ["Base fee", "Events", "CPU", "Memory", "Data in", "Data out"]
    assert parse_plan(plan.to_json(), "standard") == plan


@pytest.mark.parametrize("name", ["nope", "../plans/standard", "standard.yaml", ""])
def test_no_other_plan_ships(name: str) -> None:
    assert shipped_plan(name) is None


def test_the_name_may_come_from_where_the_plan_is_put() -> None:
    assert parse_plan(b'{"charges": []}', "gold").name == "gold"
    with pytest.raises(InvalidInput):
        parse_plan(b'{"name": "silver", "charges": []}', "gold")


def test_whole_numbers_need_no_quotes() -> None:
    plan = parse_plan(_document({"model": "flat", "label": "Fee", "amount": 5}))
    assert isinstance(plan.charges[0], Flat)


def test_a_float_is_refused_wherever_it_stands() -> None:
    charge = {"model": "graduated", "label": "E", "meter": "events", "tiers": [{"unit_price": 0.1}]}
    assert _wrong_fields(_document(charge, version=1.5)) == ["charges[0].tiers[0].unit_price", "version"]


@pytest.mark.parametrize(
    ("charge", "field"),
    [
        (_EVENTS | {"meter": "coffees"}, "meter"),
        (_EVENTS | {"unit_price": "-1"}, "unit_price"),
        (_EVENTS | {"unit_price": "NaN"}, "unit_price"),
        (_EVENTS | {"per": "0"}, "per"),
        (_EVENTS | {"included": "0.0000001"}, "included"),
        (_EVENTS | {"included": "Infinity"}, "included"),
        ({"model": "package", "label": "E", "meter": "events", "price": "1", "size": 0}, "size"),
        ({"model": "graduated", "label": "E", "meter": "events", "tiers": []}, "tiers"),
        ({"model": "graduated", "label": "E", "meter": "events", "tiers": [{**_TIER, "up_to": 5}]}, "tiers"),
        ({"model": "graduated", "label": "E", "meter": "events", "tiers": [_TIER, _TIER]}, "tiers[0].up_to"),
        (
            {
                "model": "graduated",
                "label": "E",
                "meter": "events",
                "tiers": [{**_TIER, "up_to": 5}, {**_TIER, "up_to": 5}, _TIER],
            },
            "tiers[1].up_to",
        ),
    ],
)
def test_a_wrong_charge_is_named(charge: dict[str, Any], field: str) -> None:
    assert _wrong_fields(_document(charge)) == [f"charges[0].{field}"]


def test_every_wrong_field_of_the_plan_is_named() -> None:
    assert _wrong_fields(_document(name="a b", version=0, currency="usd", minor_units=5)) == [
        "name",
        "version",
        "currency",
        "minor_units",
    ]


@pytest.mark.parametrize("charge", [{"model": "barter", "label": "E"}, _EVENTS | {"discount": "1"}, {"label": "E"}])
def test_an_unknown_shape_is_refused(charge: dict[str, Any]) -> None:
    assert _wrong_fields(_document(charge)) != []


def test_what_is_not_json_is_malformed() -> None:
    with pytest.raises(MalformedBody):
        parse_plan(b"name: p")
