"""Makes the analytics again from the event store, a page at a time.

Nothing that is there is touched, and a row that is made again counts only while there is no other of its event. So it
may be done at any time and any number of times, also while events are on their way. What is not in the event store
cannot be made again: the records of dropped and failed events, and what the event engine and later stages spent.
"""

from __future__ import annotations

from typing import NamedTuple

from eventrunner.events import decode_batch
from eventrunner.events.json_format import join_batch
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.event_store import EventStore

__all__ = ["Rebuilt", "rebuild_page"]


class Rebuilt(NamedTuple):
    checked: int
    """Events of the page."""
    restored: int
    """Those that the analytics did not have."""
    next_cursor: str | None


def rebuild_page(
    store: EventStore,
    analytics: Analytics,
    tenant: str,
    *,
    since: int | None,
    until: int | None,
    cursor: str | None,
    limit: int,
) -> Rebuilt:
    """Events that happened in [since, until), in microseconds since 1970. Raises InvalidInput for a made-up cursor."""
    page = store.list(tenant, since=since, until=until, limit=limit, cursor=cursor)
    missing = analytics.missing(tenant, decode_batch(join_batch(page.bodies))) if page.bodies else []
    analytics.restore_events(missing)
    return Rebuilt(len(page.bodies), len(missing), page.next_cursor)
