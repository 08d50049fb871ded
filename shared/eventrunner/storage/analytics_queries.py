"""The SQL of usage and the windows it is summed over: no I/O.

Every query takes each key once before it adds anything up. Of several rows of a key the smallest counts, compared by
time of receipt and then by every number, so the answer depends on the set of rows and not on how they arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.storage.analytics_model import GROUPS, WINDOWS

__all__ = ["COUNTS", "DERIVED", "ENDED", "TENANTS", "check_question", "time_zone", "usage_sql", "window_end"]

_STARTS = {"minute": "toStartOfMinute", "hour": "toStartOfHour", "day": "toStartOfDay", "month": "toStartOfMonth"}

# `once` holds each event of the tenant once, but none that a replay derived; `ended` each event that has records beside
# its row, or no row at all.
_FACTS = """
WITH
    once AS
    (
        SELECT
            source,
            id,
            min(tuple(receivedtime, usagein, usageout, usagecpu, usagemem, usagerules,
                      CAST(type AS String), subject, causeid)) AS kept
        FROM events
        WHERE tenantid = {tenant:String} AND receivedtime < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
            AND replayid = ''
        GROUP BY source, id
        HAVING kept.1 >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    ),
    records AS
    (
        SELECT
            min(tuple(receivedtime, usagein, usageout, usagecpu, usagemem, usagerules,
                      CAST(subject_source AS String), subject_id, CAST(kind AS String))) AS kept
        FROM usage_events
        WHERE tenantid = {tenant:String} AND receivedtime < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
        GROUP BY id
        HAVING kept.1 >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    ),
    ended AS
    (
        SELECT
            kept.7 AS source,
            kept.8 AS id,
            min(kept.1) AS at,
            max(kept.9 IN ('dropped', 'failed')) AS terminal,
            sum(kept.2) AS usagein,
            sum(kept.3) AS usageout,
            sum(kept.4) AS usagecpu,
            sum(kept.5) AS usagemem,
            sum(kept.6) AS usagerules
        FROM records
        GROUP BY source, id
    ),
    facts AS
    (
        SELECT
            kept.1 AS at, kept.7 AS type, CAST(source AS String) AS source, kept.8 AS subject,
            kept.9 = '' AS accepted, kept.9 != '' AS derived,
            kept.2 AS usagein, kept.3 AS usageout, kept.4 AS usagecpu, kept.5 AS usagemem, kept.6 AS usagerules
        FROM once
        UNION ALL
        SELECT
            at, '' AS type, source, '' AS subject,
            terminal AND (source, id) NOT IN (
                SELECT CAST(source AS String), id FROM events
                WHERE tenantid = {tenant:String} AND (source, id) IN (SELECT source, id FROM ended)
            ) AS accepted,
            0 AS derived, usagein, usageout, usagecpu, usagemem, usagerules
        FROM ended
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
SELECT id, CAST(any(type) AS String), any(JSONExtractString(extensions, 'causerule')), min(replayid)
FROM events
WHERE tenantid = {tenant:String} AND source = {source:String} AND causeid = {id:String}
GROUP BY id
ORDER BY id
LIMIT 1000
"""
"""Of an event: id, type and rule of what was derived from it, and the replay that did so first, if any."""

ENDED = """
SELECT DISTINCT CAST(stage AS String), CAST(kind AS String)
FROM usage_events
WHERE tenantid = {tenant:String} AND subject_source = {source:String} AND subject_id = {id:String}
ORDER BY ALL
"""


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
