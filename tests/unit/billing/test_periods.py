from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from eventrunner.billing.periods import Period
from eventrunner.errors import InvalidInput
from hypothesis import given
from hypothesis import strategies as st

_PERIODS = st.builds(Period, st.integers(1000, 9998), st.integers(1, 12))


@given(_PERIODS)
def test_text_reads_back(period: Period) -> None:
    assert Period.parse(str(period)) == period


@given(_PERIODS)
def test_one_ends_where_the_next_begins(period: Period) -> None:
    assert Period.of(period.until).since == period.until
    assert Period.of(period.until - timedelta(microseconds=1)) == period


def test_december_ends_with_the_year() -> None:
    assert Period(2026, 12).until == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_moment_belongs_to_its_month_in_utc() -> None:
    assert Period.of(datetime(2026, 11, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == Period(2026, 10)


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-1", "26-01", "2026-10-01", "9999-12", "２０２６-10"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Period.parse(text)
