"""Places that last are shared by tenants."""

from __future__ import annotations

import pytest
from eventrunner.api.places import Places
from eventrunner.errors import QuotaExceeded, Unavailable


def take_all(places: Places, tenant: str) -> int:
    """How many it gets until it has its share."""
    for taken in range(100):
        try:
            places.take(tenant)
        except QuotaExceeded:
            return taken
    raise AssertionError("it gets them all")


def test_one_tenant_alone_gets_half() -> None:
    assert take_all(Places(16, "streams"), "greedy") == 8


def test_tenants_that_take_what_they_can_leave_one_to_who_comes_new() -> None:
    places = Places(16, "streams")
    assert [take_all(places, tenant) for tenant in ("a", "b", "c", "d")] == [8, 4, 2, 1]
    places.take("e")
    with pytest.raises(Unavailable):
        places.take("f")


def test_what_is_given_back_is_there_for_all_again() -> None:
    places = Places(16, "streams")
    given = [places.take("a") for _ in range(8)]
    for give_back in given:
        give_back()
    assert take_all(places, "b") == 8
