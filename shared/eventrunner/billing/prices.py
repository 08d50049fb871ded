"""What a quantity costs under a charge of a plan.

Rounding happens once for each line, half up to the currency's minor unit; a total is the sum of its lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from eventrunner.billing.meters import METERS, quantity
from eventrunner.billing.money import round_half_up
from eventrunner.billing.plans import Charge, Flat, Graduated, Package, PerUnit, Plan, Tier
from eventrunner.storage.analytics_model import Totals

__all__ = ["Line", "price_lines", "tier_quantities"]


@dataclass(frozen=True, slots=True)
class Line:
    """`amount` = `quantity` × `unit_price` / `per`, rounded."""

    label: str
    meter: str
    """Empty for a fee."""
    unit: str
    quantity: Decimal
    unit_price: Decimal
    per: Decimal
    """Units that the unit price is for."""
    amount: Decimal


def price_lines(plan: Plan, totals: Totals) -> list[Line]:
    """The lines of an invoice. The quantities of a meter's lines add up to what was used of it, save for packages,
    which are counted as packages."""
    return [line for charge in plan.charges for line in _lines(charge, totals, plan.minor_units)]


def tier_quantities(tiers: Sequence[Tier], units: Decimal) -> list[Decimal]:
    """How many of the units fall into each tier."""
    parts = []
    below = Decimal(0)
    for tier in tiers:
        limit = units if tier.up_to is None else min(units, tier.up_to)
        parts.append(max(limit - below, Decimal(0)))
        below = max(limit, below)
    return parts


def _lines(charge: Charge, totals: Totals, digits: int) -> Iterator[Line]:
    if isinstance(charge, Flat):
        yield _line(charge.label, "", "months", Decimal(1), charge.amount, Decimal(1), digits)
        return
    used = quantity(charge.meter, totals)
    free = min(used, charge.included)
    units = used - free
    unit = METERS[charge.meter].unit
    if free:
        yield _line(f"{charge.label}, included", charge.meter, unit, free, Decimal(0), Decimal(1), digits)
    match charge:
        case PerUnit():
            if units or not free:
                yield _line(charge.label, charge.meter, unit, units, charge.unit_price, charge.per, digits)
        case Package():
            count = Decimal(-(-Fraction(units) // Fraction(charge.size)))
            label = f"packages of {charge.size:f} {unit}"
            if count or not free:
                yield _line(charge.label, charge.meter, label, count, charge.price, Decimal(1), digits)
        case Graduated():
            parts = tier_quantities(charge.tiers, units)
            for index, (tier, part) in enumerate(zip(charge.tiers, parts, strict=True)):
                if part or (index == 0 and not free):
                    label = f"{charge.label}, tier {index + 1}" if len(charge.tiers) > 1 else charge.label
                    yield _line(label, charge.meter, unit, part, tier.unit_price, charge.per, digits)


def _line(label: str, meter: str, unit: str, units: Decimal, unit_price: Decimal, per: Decimal, digits: int) -> Line:
    exact = Fraction(units) * Fraction(unit_price) / Fraction(per)
    return Line(label, meter, unit, units, unit_price, per, round_half_up(exact, digits))
