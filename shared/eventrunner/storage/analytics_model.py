"""What goes into the analytics beside events, and what comes out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec

__all__ = ["GROUPS", "WINDOWS", "Group", "Totals", "UsageRecord", "UsageRow", "Window"]

Window: TypeAlias = Literal["minute", "hour", "day", "month"]
WINDOWS: tuple[Window, ...] = ("minute", "hour", "day", "month")

Group: TypeAlias = Literal["type", "source", "subject"]
GROUPS: tuple[Group, ...] = ("type", "source", "subject")

_Amount: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class UsageRecord(msgspec.Struct, frozen=True):
    """What was used on behalf of an event (`subject_source`, `subject_id`), beside what rides on its own row."""

    tenant: str
    id: str
    """Names the record within its tenant: the same id again is the same usage."""
    received: int
    """When the usage accrued, in microseconds since 1970."""
    kind: str
    """`dropped` and `failed` stand for an event that was accepted and goes no further; others only use something."""
    stage: str = ""
    subject_source: str = ""
    subject_id: str = ""
    usagein: _Amount = 0
    usageout: _Amount = 0
    usagecpu: _Amount = 0
    usagemem: _Amount = 0
    usagerules: _Amount = 0
    consumer: str = ""
    """Of the tenant, when it is that one's usage on behalf of the event, which it has `handled` or `failed`."""
    fuel: _Amount = 0
    """WebAssembly instructions, about."""


class Totals(NamedTuple):
    """Sums over events, each event once. Whole numbers, so that no bill depends on the order of a sum."""

    events: int = 0
    """Accepted at ingest, dropped and failed ones included."""
    derived: int = 0
    """Emitted by rules."""
    rules: int = 0
    """Rule conditions evaluated."""
    cpu: int = 0
    """Nanoseconds of a core, the tenant's consumers included, as in what follows."""
    memory: int = 0
    """KiB·milliseconds."""
    ingress: int = 0
    """Bytes received at ingest, and handed to consumers."""
    egress: int = 0
    """Bytes published to the tenant's stream, and by its consumers."""


class UsageRow(NamedTuple):
    start: datetime
    end: datetime
    """The window [start, end), in the time zone that was asked for."""
    group: tuple[str, ...]
    """Values of `group_by`, in its order."""
    totals: Totals
