"""What can have a price, and how much of it a tenant used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from eventrunner.billing.money import plain, round_half_up
from eventrunner.storage.analytics_model import Totals

__all__ = ["METERS", "QUANTITY_DIGITS", "Meter", "quantity", "usage_fields"]

QUANTITY_DIGITS: Final = 6
"""A quantity on an invoice has at most so many decimals, and its price is that of the quantity as it stands there."""

_USAGE_DIGITS: Final = 9
_HOUR_NS: Final = 3600 * 10**9
_GIB: Final = 2**30
_GIB_SECOND: Final = 2**20 * 1000
"""In KiB·milliseconds."""


@dataclass(frozen=True, slots=True)
class Meter:
    unit: str
    """In the plural, as a line of an invoice says it."""
    read: Callable[[Totals], Fraction]


METERS: Final[Mapping[str, Meter]] = {
    "events": Meter("events", lambda totals: Fraction(totals.events)),
    "derived_events": Meter("derived events", lambda totals: Fraction(totals.derived)),
    "rules": Meter("rule conditions", lambda totals: Fraction(totals.rules)),
    "core_hours": Meter("core-hours", lambda totals: Fraction(totals.cpu, _HOUR_NS)),
    "gib_hours": Meter("GiB-hours", lambda totals: Fraction(totals.memory, _GIB_SECOND * 3600)),
    "ingress_gib": Meter("GiB", lambda totals: Fraction(totals.ingress, _GIB)),
    "egress_gib": Meter("GiB", lambda totals: Fraction(totals.egress, _GIB)),
}


def quantity(meter: str, totals: Totals) -> Decimal:
    """What an invoice counts, rounded half up to QUANTITY_DIGITS."""
    return round_half_up(METERS[meter].read(totals), QUANTITY_DIGITS)


def usage_fields(totals: Totals) -> dict[str, str]:
    """The usage as the API gives it: core-seconds, GiB-seconds and bytes, as decimal strings."""
    return {
        "events": str(totals.events),
        "derived": str(totals.derived),
        "rules": str(totals.rules),
        "cpu_usage": plain(round_half_up(Fraction(totals.cpu, 10**9), _USAGE_DIGITS)),
        "memory_usage": plain(round_half_up(Fraction(totals.memory, _GIB_SECOND), _USAGE_DIGITS)),
        "network_ingress": str(totals.ingress),
        "network_egress": str(totals.egress),
    }
