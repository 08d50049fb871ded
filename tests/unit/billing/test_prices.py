from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from eventrunner.billing.plans import Charge, Flat, Graduated, Package, PerUnit, Plan, Tier
from eventrunner.billing.prices import price_lines, tier_quantities
from eventrunner.storage.analytics_model import Totals
from hypothesis import given
from hypothesis import strategies as st
from strategies_billing import charges, graduated, plans, totals


def _plan(*charges: Charge, minor_units: int = 2) -> Plan:
    return Plan(name="p", charges=list(charges), minor_units=minor_units)


def _amounts(charge: Charge, events: int) -> list[tuple[str, str]]:
    return [(f"{line.quantity:f}", str(line.amount)) for line in price_lines(_plan(charge), Totals(events))]


def test_a_fee_is_due_without_any_usage() -> None:
    assert _amounts(Flat(label="Fee", amount=Decimal("9")), 0) == [("1", "9.00")]


@pytest.mark.parametrize(
    ("events", "lines"),
    [
        (0, [("0", "0.00")]),
        (10, [("10", "0.00")]),
        (11, [("10", "0.00"), ("1", "0.01")]),
        (15, [("10", "0.00"), ("5", "0.03")]),
    ],
)
def test_units_beyond_those_included_cost_their_part(events: int, lines: list[tuple[str, str]]) -> None:
    charge = PerUnit(label="E", meter="events", unit_price=Decimal("5"), per=Decimal(1000), included=Decimal(10))
    assert [(str(int(Decimal(units))), amount) for units, amount in _amounts(charge, events)] == lines


@pytest.mark.parametrize(("events", "packages"), [(0, 0), (1, 1), (1000, 1), (1001, 2)])
def test_a_package_that_was_begun_is_paid(events: int, packages: int) -> None:
    (line,) = price_lines(
        _plan(Package(label="E", meter="events", price=Decimal("3"), size=Decimal(1000))), Totals(events)
    )
    assert (line.quantity, line.amount) == (packages, 3 * packages)


def test_each_unit_costs_what_its_tier_says() -> None:
    tiers = [Tier(Decimal("1"), Decimal(10)), Tier(Decimal("0.5"), Decimal(20)), Tier(Decimal("0.1"))]
    charge = Graduated(label="E", meter="events", tiers=tiers, included=Decimal(5))
    lines = price_lines(_plan(charge), Totals(30))
    assert [(line.label, line.quantity, line.amount) for line in lines] == [
        ("E, included", 5, 0),
        ("E, tier 1", 10, 10),
        ("E, tier 2", 10, 5),
        ("E, tier 3", 5, Decimal("0.5")),
    ]


@given(graduated(), st.integers(0, 300))
def test_tiers_cost_what_counting_unit_by_unit_costs(charge: Graduated, events: int) -> None:
    expected = Fraction(0)
    for unit in range(int(charge.included) + 1, events + 1):
        place = unit - int(charge.included)
        price = next(tier.unit_price for tier in charge.tiers if tier.up_to is None or place <= tier.up_to)
        expected += Fraction(price) / Fraction(charge.per)
    lines = price_lines(_plan(charge), Totals(events))
    exact = sum(Fraction(line.quantity) * Fraction(line.unit_price) / Fraction(line.per) for line in lines)
    assert exact == expected
    assert abs(Fraction(sum(line.amount for line in lines)) - expected) <= Fraction(len(lines), 200)


@given(graduated(), st.decimals(0, 10**9, places=6))
def test_tiers_leave_no_unit_out_and_count_none_twice(charge: Graduated, units: Decimal) -> None:
    parts = tier_quantities(charge.tiers, units)
    assert sum(parts) == units
    assert all(part >= 0 for part in parts)


@given(charges, totals(), totals())
def test_more_usage_never_costs_less(charge: Charge, usage: Totals, more: Totals) -> None:
    def cost(used: Totals) -> Decimal:
        return sum((line.amount for line in price_lines(_plan(charge), used)), Decimal(0))

    both = Totals(*map(sum, zip(usage, more, strict=True)))
    # Each line may be half a cent off, and another number of lines another number of halves.
    assert cost(both) - cost(usage) >= Decimal("-0.01") * 5


@given(plans(), totals())
def test_each_amount_follows_from_what_its_line_says(plan: Plan, usage: Totals) -> None:
    for line in price_lines(plan, usage):
        exact = Fraction(line.quantity) * Fraction(line.unit_price) / Fraction(line.per)
        assert abs(Fraction(line.amount) - exact) <= Fraction(1, 2 * 10**plan.minor_units)
        assert -line.amount.as_tuple().exponent == plan.minor_units


@given(plans(), totals())
def test_the_lines_of_a_meter_add_up_to_its_usage(plan: Plan, usage: Totals) -> None:
    for charge in plan.charges:
        if isinstance(charge, PerUnit | Graduated) and charge.meter == "events":
            lines = price_lines(Plan(name="p", charges=[charge]), usage)
            assert sum(line.quantity for line in lines) == usage.events
