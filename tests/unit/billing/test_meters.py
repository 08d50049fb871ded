from __future__ import annotations

from decimal import Decimal

import pytest
from eventrunner.billing.meters import METERS, quantity, usage_fields
from eventrunner.storage.analytics_model import Totals

_TOTALS = Totals(
    events=3,
    derived=2,
    rules=7,
    cpu=5_400 * 10**9,
    memory=2**20 * 1000 * 1800,
    ingress=2**30 // 4,
    egress=2**31,
)


@pytest.mark.parametrize(
    ("meter", "units"),
    [
        ("events", "3"),
        ("derived_events", "2"),
        ("rules", "7"),
        ("core_hours", "1.5"),
        ("gib_hours", "0.5"),
        ("ingress_gib", "0.25"),
        ("egress_gib", "2"),
    ],
)
def test_meters_read_the_units_they_name(meter: str, units: str) -> None:
    assert quantity(meter, _TOTALS) == Decimal(units)


@pytest.mark.parametrize("meter", METERS)
def test_nothing_used_is_nothing_to_pay(meter: str) -> None:
    assert quantity(meter, Totals()) == 0


def test_a_quantity_has_six_decimals() -> None:
    assert str(quantity("ingress_gib", Totals(ingress=1000))) == "0.000001"


def test_the_api_gives_decimal_strings() -> None:
    assert usage_fields(_TOTALS._replace(cpu=1_500_000_001)) == {
        "events": "3",
        "derived": "2",
        "rules": "7",
        "cpu_usage": "1.500000001",
        "memory_usage": "1800",
        "network_ingress": "268435456",
        "network_egress": "2147483648",
    }
