"""Hypothesis strategies for plans and usage."""

from __future__ import annotations

from decimal import Decimal

from eventrunner.billing.meters import METERS
from eventrunner.billing.plans import Charge, Flat, Graduated, Package, PerUnit, Plan, Tier
from eventrunner.storage.analytics_model import Totals
from hypothesis import strategies as st

__all__ = ["charges", "graduated", "plans", "totals"]

_prices = st.decimals(0, 100, places=4)
_meters = st.sampled_from(sorted(METERS))
_whole = st.integers(0, 50).map(Decimal)
_sizes = st.sampled_from([Decimal(1), Decimal(3), Decimal(1000), Decimal("0.5")])


@st.composite
def graduated(draw: st.DrawFn) -> Graduated:
    """With whole bounds, so that units can be counted."""
    bounds = sorted(draw(st.sets(st.integers(1, 200), max_size=4)))
    tiers = [Tier(draw(_prices), Decimal(bound)) for bound in bounds]
    return Graduated(
        label="graduated",
        meter="events",
        tiers=[*tiers, Tier(draw(_prices))],
        per=draw(_sizes),
        included=draw(_whole),
    )


charges: st.SearchStrategy[Charge] = st.one_of(
    st.builds(Flat, label=st.just("flat"), amount=_prices),
    st.builds(PerUnit, label=st.just("unit"), meter=_meters, unit_price=_prices, per=_sizes, included=_whole),
    st.builds(Package, label=st.just("package"), meter=_meters, price=_prices, size=_sizes, included=_whole),
    graduated(),
)


def plans() -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan, name=st.just("p"), charges=st.lists(charges, max_size=6), minor_units=st.sampled_from((0, 2, 3))
    )


def totals() -> st.SearchStrategy[Totals]:
    return st.builds(
        Totals,
        events=st.integers(0, 10**9),
        derived=st.integers(0, 10**9),
        rules=st.integers(0, 10**12),
        cpu=st.integers(0, 10**17),
        memory=st.integers(0, 10**17),
        ingress=st.integers(0, 10**15),
        egress=st.integers(0, 10**15),
    )
