"""The last stage: results into ClickHouse."""

from __future__ import annotations

from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.analytics import Analytics

__all__ = ["EventAnalytics"]


class EventAnalytics:
    """Nothing goes on from here. A batch that ClickHouse cannot hold raises InvalidInput; the source then halves it
    until the event that is to blame is alone."""

    def __init__(self, analytics: Analytics) -> None:
        self._analytics = analytics

    def __call__(self, batch: Batch) -> Outcomes:
        self._analytics.insert_chunks(batch.chunks())
        return Outcomes()
