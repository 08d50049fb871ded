"""Usage of events that never reach ClickHouse themselves."""

from __future__ import annotations

from eventrunner.clock import Clock, utc_now
from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.analytics_rows import usage_records

__all__ = ["Metering"]


class Metering:
    def __init__(self, analytics: Analytics, clock: Clock = utc_now) -> None:
        self._analytics = analytics
        self._clock = clock

    def __call__(self, batch: Batch) -> Outcomes:
        self._analytics.insert_usage(usage_records(batch.events, self._clock))
        return Outcomes()
