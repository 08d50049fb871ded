"""The SQL of usage and the windows it is summed over: no I/O.

Every query takes each key once before it adds anything up. Of several rows of a key the one counts that was received
first and, of those, written first, so that no later delivery changes an answer. Rows that were written at one time are
compared by their numbers, so that their order does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.storage.analytics_model import GROUPS, WINDOWS

__all__ = [
    "CONSUMED",
    "CONSUMER_COUNTS",
    "COUNTS",
    "DERIVED",
    "ENDED",
    "TENANTS",
    "check_question",
    "received_at_sql",
    "time_zone",
    "usage_sql",
    "window_end",
]

_STARTS = {"minute": "toStartOfMinute", "hour": "toStartOfHour", "day": "toStartOfDay", "month": "toStartOfMonth"}

# `once` holds each event of the tenant once, dropped ones included, but none that a replay derived; `ended` each event
# that has records beside that, or nothing else because it failed. One that failed and came again has its bytes in one
# of the two, or in both if it was the same delivery. `consumed` is what the tenant's consumers used beside all that.
_FACTS = """
WITH
    arrived AS
    (
        SELECT
            source, id, receivedtime, writtentime, usagein, usageout, usagecpu, usagemem, usagerules, type, subject,
            causeid
        FROM events
        WHERE tenantid = {tenant:String} AND receivedtime < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
            AND replayid = ''
        UNION ALL
        SELECT
            subject_source AS source, subject_id AS id, receivedtime, writtentime, usagein, usageout, usagecpu,
            usagemem, usagerules, '' AS type, '' AS subject, '' AS causeid
        FROM usage_events
        WHERE tenantid = {tenant:String} AND kind = 'dropped'
            AND receivedtime < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    ),
    once AS
    (
        SELECT
            source,
            id,
            min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem, usagerules,
                      CAST(type AS String), subject, causeid)) AS kept
        FROM arrived
        GROUP BY source, id
        HAVING kept.1 >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    ),
    records AS
    (
        SELECT
            min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem, usagerules,
                      CAST(subject_source AS String), subject_id, CAST(kind AS String))) AS kept
        FROM usage_events
        WHERE tenantid = {tenant:String} AND kind != 'dropped' AND consumer = ''
            AND receivedtime < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
        GROUP BY id
        HAVING kept.1 >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    ),
    ended AS
    (
        SELECT
            kept.8 AS source,
            kept.9 AS id,
            min(kept.1) AS at,
            max(kept.10 = 'failed') AS failed,
            sum(kept.3) AS usagein,
            sum(kept.4) AS usageout,
            sum(kept.5) AS usagecpu,
            sum(kept.6) AS usagemem,
            sum(kept.7) AS usagerules
        FROM records
        GROUP BY source, id
    ),
    consumed AS
    (
        SELECT
            min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem,
                      CAST(subject_source AS String))) AS kept
        FROM usage_events
        WHERE tenantid = {tenant:String} AND consumer != ''
            AND receivedtime < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
        GROUP BY id
        HAVING kept.1 >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    ),
    came AS
    (
        SELECT CAST(source AS String) AS source, id, min(tuple(receivedtime, writtentime, usagein)).3 AS usagein
        FROM
        (
            SELECT source, id, receivedtime, writtentime, usagein
            FROM events
            WHERE tenantid = {tenant:String} AND (source, id) IN (SELECT source, id FROM ended)
            UNION ALL
            SELECT subject_source AS source, subject_id AS id, receivedtime, writtentime, usagein
            FROM usage_events
            WHERE tenantid = {tenant:String} AND kind = 'dropped'
                AND (subject_source, subject_id) IN (SELECT source, id FROM ended)
        )
        GROUP BY source, id
    ),
    facts AS
    (
        SELECT
            kept.1 AS at, kept.8 AS type, CAST(source AS String) AS source, kept.9 AS subject,
            kept.10 = '' AS accepted, kept.10 != '' AS derived,
            kept.3 AS usagein, kept.4 AS usageout, kept.5 AS usagecpu, kept.6 AS usagemem, kept.7 AS usagerules
        FROM once
        UNION ALL
        SELECT
            at, '' AS type, source, '' AS subject, failed AND came.id = '' AS accepted, 0 AS derived,
            toUInt64(ended.usagein - least(ended.usagein, came.usagein)) AS usagein,
            usageout, usagecpu, usagemem, usagerules
        FROM ended LEFT JOIN came ON ended.source = came.source AND ended.id = came.id
        UNION ALL
        SELECT
            kept.1 AS at, '' AS type, kept.7 AS source, '' AS subject, 0 AS accepted, 0 AS derived,
            kept.3 AS usagein, kept.4 AS usageout, kept.5 AS usagecpu, kept.6 AS usagemem, 0 AS usagerules
        FROM consumed
    )
"""

COUNTS = """
SELECT
    CAST(tenantid AS String),
    uniqExactIf((source, id), causeid = ''),
    uniqExactIf((source, id), causeid != '')
FROM events
GROUP BY tenantid
ORDER BY tenantid
"""
"""Events and derived events by tenant."""

TENANTS = """
SELECT DISTINCT tenant FROM
(
    SELECT CAST(tenantid AS String) AS tenant FROM events
    UNION ALL
    SELECT CAST(tenantid AS String) AS tenant FROM usage_events
)
ORDER BY tenant
"""


DERIVED = """
SELECT
    derived.id,
    CAST(any(type) AS String),
    any(JSONExtractString(extensions, 'causerule')),
    any(JSONExtractString(extensions, 'causeconsumer')),
    min(replayid)
FROM events AS derived
WHERE tenantid = {tenant:String} AND causeid = {id:String}
    AND if(JSONHas(extensions, 'causesource'), JSONExtractString(extensions, 'causesource'), source) = {source:String}
GROUP BY derived.source, derived.id
ORDER BY derived.id
LIMIT 1000
"""
"""Of an event: id, type, and rule or consumer of what was derived from it, and the replay that did so first, if any."""

ENDED = """
SELECT DISTINCT CAST(stage AS String), CAST(kind AS String)
FROM usage_events
WHERE tenantid = {tenant:String} AND subject_source = {source:String} AND subject_id = {id:String} AND consumer = ''
ORDER BY ALL
"""

CONSUMED = """
SELECT
    CAST(consumer AS String),
    argMax(CAST(kind AS String), tuple(writtentime, kind)),
    min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem, fuel)) AS kept,
    kept.3, kept.4, kept.5, kept.6, kept.7
FROM usage_events
WHERE tenantid = {tenant:String} AND subject_source = {source:String} AND subject_id = {id:String} AND consumer != ''
GROUP BY consumer
ORDER BY consumer
"""
"""Of an event: each consumer, what became of it there at last, and what is on the bill."""

CONSUMER_COUNTS = """
SELECT consumer, countIf(outcome = 'handled'), countIf(outcome = 'failed')
FROM
(
    SELECT CAST(consumer AS String) AS consumer, argMax(CAST(kind AS String), tuple(writtentime, kind)) AS outcome
    FROM usage_events
    WHERE tenantid = {tenant:String} AND consumer != ''
    GROUP BY consumer, id
)
GROUP BY consumer
ORDER BY consumer
"""
"""By consumer: events that it handled, and that failed at last."""


def usage_sql(window: str | None, group_by: Sequence[str]) -> str:
    """Rows of (start of the window as a Unix time, the groups, then the fields of Totals)."""
    start = f"toUnixTimestamp(toDateTime({_STARTS[window]}(at, {{tz:String}}), {{tz:String}}))" if window else "0"
    keys = ["bucket", *group_by]
    return f"""{_FACTS}
SELECT
    {", ".join([f"{start} AS bucket", *group_by])},
    sum(accepted), sum(derived), sum(usagerules), sum(usagecpu), sum(usagemem), sum(usagein), sum(usageout)
FROM facts
GROUP BY {", ".join(keys)}
ORDER BY {", ".join(keys)}
"""  # noqa: S608 - of names that check_question knows


def received_at_sql(moments: Sequence[int]) -> str:
    """(source, id) of the tenant's events that were received at one of these moments, in microseconds. Events of one
    request have theirs in common, and the table is ordered by it."""
    return f"""
SELECT CAST(source AS String), id FROM events
WHERE tenantid = {{tenant:String}} AND receivedtime IN (
    SELECT fromUnixTimestamp64Micro(toInt64(arrayJoin([{", ".join(map(str, moments))}])), 'UTC')
)
"""  # noqa: S608 - of numbers


def check_question(
    since: datetime, until: datetime, window: str | None, tz: str, group_by: Sequence[str]
) -> dict[str, Any]:
    """Parameters of `usage_sql`. Raises InvalidInput that names every wrong part."""
    problems = []
    if since >= until:
        problems.append(FieldError("from", "must be before `to`"))
    if window is not None and window not in WINDOWS:
        problems.append(FieldError("window", f"one of {', '.join(WINDOWS)}"))
    problems += [
        FieldError("group_by", f"{name!r}: one of {', '.join(GROUPS)}") for name in group_by if name not in GROUPS
    ]
    try:
        time_zone(tz)
    except InvalidInput as error:
        problems += error.fields
    if problems:
        raise InvalidInput("That usage cannot be asked for.", tuple(problems))
    return {"since": _micros(since), "until": _micros(until), "tz": tz}


def time_zone(name: str) -> ZoneInfo:
    """Raises InvalidInput for a name that the IANA database does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{name!r} is no IANA time zone, such as Europe/Berlin"
        raise InvalidInput(f"{message}.", (FieldError("tz", message),)) from error


def window_end(start: datetime, window: str) -> datetime:
    """When the window that starts then ends: a day of a time zone may have 23 or 25 hours."""
    zone = start.tzinfo
    match window:
        case "minute":
            return (start.astimezone(UTC) + timedelta(minutes=1)).astimezone(zone)
        case "hour":
            return (start.astimezone(UTC) + timedelta(hours=1)).astimezone(zone)
        case "day":
            return (start.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
        case _:
            year, month = divmod(start.year * 12 + start.month, 12)
            return datetime(year, month + 1, 1, tzinfo=zone)


def _micros(moment: datetime) -> int:
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return delta // timedelta(microseconds=1)
