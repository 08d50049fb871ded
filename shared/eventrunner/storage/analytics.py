"""Analytics in ClickHouse: events and their usage, each taken once however often it was written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from eventrunner.clock import Clock, utc_now
from eventrunner.events import Event
from eventrunner.events.event import micros
from eventrunner.storage.analytics_model import Totals, UsageRecord, UsageRow
from eventrunner.storage.analytics_queries import (
    CONSUMED,
    CONSUMER_COUNTS,
    COUNTS,
    DERIVED,
    ENDED,
    TENANTS,
    check_question,
    received_at_sql,
    time_zone,
    usage_sql,
    window_end,
)
from eventrunner.storage.analytics_rows import (
    CONTENT_COLUMNS,
    EVENT_COLUMNS,
    LAST,
    USAGE_COLUMNS,
    event_columns,
    usage_columns,
)
from eventrunner.storage.clickhouse import ClickHouse, ClickHouseUrl
from eventrunner.storage.clickhouse_migrations import migrate
from eventrunner.tenancy import check_tenant

__all__ = ["Analytics", "EventCounts", "Traced"]

_DERIVED_FIELDS = ("id", "type", "rule", "consumer", "replay")
_CONSUMED_FIELDS = ("name", "outcome", "usagein", "usageout", "usagecpu", "usagemem", "fuel")


class EventCounts(NamedTuple):
    events: int
    """From outside."""
    derived: int
    """Emitted by rules."""


class Traced(NamedTuple):
    """What else is known of an event."""

    derived: list[dict[str, str]]
    """Each with `id`, `type`, `rule` or `consumer`, and `replay`, at most a thousand."""
    ended: list[dict[str, str]]
    """Each with `stage` and `kind`: where it was dropped or failed."""
    consumers: list[dict[str, str | int]]
    """Each with `name`, `outcome` and what it used."""


class Analytics:
    """Safe to share between threads; connects on the first call. Every method may raise Unavailable."""

    def __init__(self, url: str, clock: Clock = utc_now) -> None:
        """`http(s)://[user:password@]host[:port]/database`. Raises ConfigurationError for anything else."""
        self._clickhouse = ClickHouse(ClickHouseUrl.parse(url))
        self._clock = clock

    def migrate(self) -> None:
        """Brings the schema up to date. Idempotent."""
        migrate(self._clickhouse)

    def insert_events(self, events: Sequence[Event]) -> None:
        """Writes the events in one insert; thousands at once cost least. Raises InvalidInput for a value that
        ClickHouse cannot hold, and then nothing is written."""
        self.insert_chunks([events])

    def insert_chunks(self, chunks: Iterable[Sequence[Event]]) -> None:
        """The same, also in one insert; each chunk may be let go before the next is made."""
        self._clickhouse.insert(
            "events", EVENT_COLUMNS, (event_columns(chunk, self._clock) for chunk in chunks if chunk)
        )

    def missing(self, tenant: str, events: Sequence[Event]) -> list[Event]:
        """Those of the tenant's events that are not here."""
        received = sorted({micros(event.receivedtime) for event in events if event.receivedtime})
        known = set(map(tuple, self._clickhouse.query(received_at_sql(received), {"tenant": tenant})))
        return [event for event in events if (event.source, event.id) not in known]

    def restore_events(self, events: Sequence[Event]) -> None:
        """Writes events of which each row counts only while there is no other of the same event."""
        if events:
            self._clickhouse.insert("events", EVENT_COLUMNS, [event_columns(events, self._clock, LAST)])

    def insert_usage(self, records: Sequence[UsageRecord]) -> None:
        if records:
            self._clickhouse.insert("usage_events", USAGE_COLUMNS, [usage_columns(records, self._clock)])

    def usage(
        self,
        tenant: str,
        since: datetime,
        until: datetime,
        *,
        window: str | None = None,
        tz: str = "UTC",
        group_by: Sequence[str] = (),
    ) -> list[UsageRow]:
        """Usage that accrued in [since, until), by the time of receipt, in windows of the time zone. Windows in which
        nothing happened are left out. Raises InvalidInput that names every wrong argument."""
        parameters = {"tenant": tenant, **check_question(since, until, window, tz, group_by)}
        rows = self._clickhouse.query(usage_sql(window, group_by), parameters)
        zone = time_zone(tz)
        answer = []
        for bucket, *values in rows:
            group, numbers = values[: len(group_by)], values[len(group_by) :]
            start, end = since.astimezone(zone), until.astimezone(zone)
            if window is not None:
                start = datetime.fromtimestamp(bucket, UTC).astimezone(zone)
                end = window_end(start, window)
            answer.append(UsageRow(start, end, tuple(group), Totals(*map(int, numbers))))
        return answer

    def totals(self, tenant: str, since: datetime, until: datetime) -> Totals:
        """All usage of [since, until) in one sum."""
        rows = self.usage(tenant, since, until)
        return rows[0].totals if rows else Totals()

    def trace(self, tenant: str, source: str, id: str) -> Traced:
        parameters = {"tenant": tenant, "source": source, "id": id}
        derived = self._clickhouse.query(DERIVED, parameters)
        ended = self._clickhouse.query(ENDED, parameters)
        consumed = self._clickhouse.query(CONSUMED, parameters)
        return Traced(
            [dict(zip(_DERIVED_FIELDS, row, strict=True)) for row in derived],
            [{"stage": stage, "kind": kind} for stage, kind in ended],
            [dict(zip(_CONSUMED_FIELDS, (name, outcome, *used), strict=True)) for name, outcome, _, *used in consumed],
        )

    def consumer_counts(self, tenant: str) -> dict[str, tuple[int, int]]:
        """By name of the tenant's consumers: events that each has handled, and that failed. Those of replays do not
        count."""
        rows = self._clickhouse.query(CONSUMER_COUNTS, {"tenant": tenant})
        return {name: (int(handled), int(failed)) for name, handled, failed in rows}

    def count(self, tenant: str) -> int:
        """Events from outside that are here, each once."""
        return self.counts().get(tenant, EventCounts(0, 0)).events

    def counts(self) -> dict[str, EventCounts]:
        """By tenant."""
        return {tenant: EventCounts(events, derived) for tenant, events, derived in self._clickhouse.query(COUNTS)}

    def tenants(self) -> list[str]:
        """Tenants that have ever used anything, sorted."""
        return [row[0] for row in self._clickhouse.query(TENANTS)]

    def expire(self, tenant: str, received_before: int) -> int:
        """Empties what the tenant's events held of content, if received before then in microseconds; what they used and
        were stays for billing. Returns the number of rows."""
        parts = [f"{name} != ''" for name in CONTENT_COLUMNS]
        moment = f"fromUnixTimestamp64Micro({received_before}, 'UTC')"
        condition = f"{_of(tenant)} AND receivedtime < {moment} AND ({' OR '.join(parts)})"
        emptied = ", ".join(f"{name} = ''" for name in CONTENT_COLUMNS)
        return self._mutate("events", f"UPDATE {emptied}", condition)

    def erase(self, tenant: str) -> int:
        """Deletes all of the tenant's rows, usage included. Returns how many."""
        return sum(self._mutate(table, "DELETE", _of(tenant)) for table in ("events", "usage_events"))

    def _mutate(self, table: str, change: str, condition: str) -> int:
        ((count,),) = self._clickhouse.query(f"SELECT count() FROM {table} WHERE {condition}")  # noqa: S608
        if count:
            self._clickhouse.command(f"ALTER TABLE {table} {change} WHERE {condition} SETTINGS mutations_sync = 2")
        return int(count)

    def close(self) -> None:
        self._clickhouse.close()


def _of(tenant: str) -> str:
    # A tenant's name has nothing in it that could end a string; mutations take no parameters.
    return f"tenantid = '{check_tenant(tenant)}'"
