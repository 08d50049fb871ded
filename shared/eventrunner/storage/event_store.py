"""The event store: every event once, in time order, by tenant; and the invoices.

Identity is (tenant, source, id) and the first write wins: a second put of the same identity changes nothing, so a
redelivery is harmless. Times are whole microseconds since 1970 in UTC and may be negative.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eventrunner.events.event import Identity
from eventrunner.storage.invoice_store import InvoiceStore

__all__ = ["EventStore", "Page", "PutReport", "Row"]


class Row(NamedTuple):
    tenant: str
    source: str
    id: str
    type: str
    time: int
    """When it happened; for an event without a time, when it was received."""
    received: int
    body: bytes
    """The event as structured CloudEvents JSON."""
    keep_days: int = 0
    """How long after its receipt it may be found; 0: for ever."""
    follows: bool = False
    """It was derived from another row of the put, and must not be there without that one."""


@dataclass(frozen=True, slots=True)
class PutReport:
    inserted: int
    duplicates: tuple[int, ...] = ()
    """Indexes of the rows that were there already, or earlier in the same put, with the same content."""
    conflicts: tuple[int, ...] = ()
    """Indexes of the rows whose identity was there already with another type, time or data. They are not stored."""
    kept: Mapping[int, bytes] = field(default_factory=dict, compare=False)
    """What is stored of these duplicates and conflicts: the body that came first."""


class Page(NamedTuple):
    bodies: list[bytes]
    next_cursor: str | None
    """Give it to the next `list` with the same other arguments; None on the last page. A page of a filtered list may
    hold few events, or none, and not be the last."""


class EventStore(InvoiceStore, Protocol):
    """Safe to share between the threads of a process; several processes may open the same store.

    Nothing is opened before the first call, so a store made before a fork works after it. Every method raises
    `errors.Unavailable` while the store is busy, full or away.
    """

    def migrate(self) -> None:
        """Brings the schema up to date. Idempotent; leaves nothing open."""

    def put(self, rows: Sequence[Row]) -> PutReport:
        """Stores the rows durably before it returns."""

    def get(self, tenant: str, source: str, id: str) -> bytes | None: ...

    def stored(self, identities: Collection[Identity]) -> dict[Identity, bytes]:
        """The bodies of those that are there."""

    def find(self, tenant: str, id: str) -> list[bytes]:
        """The events of that id from any source, in no particular order."""

    def list(
        self,
        tenant: str,
        *,
        type: str | None = None,
        source: str | None = None,
        since: int | None = None,
        until: int | None = None,
        newest_first: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Events of [since, until) ordered by time; equal times in an order that stays. Raises InvalidInput for a
        cursor that this method did not return."""

    def count(self, tenant: str) -> int: ...

    def tenants(self) -> Sequence[str]:
        """Tenants that have events, or have had some that expired, sorted."""

    def expire(self, tenant: str, received_before: int) -> int:
        """Deletes the tenant's events received before then, where the store does not do so by itself when `keep_days`
        are over. Returns how many."""

    def erase(self, tenant: str) -> int:
        """Deletes all events of the tenant, and nothing that is put later; what is put at the same time may go too. Its
        invoices stay. Returns how many."""

    def close(self) -> None: ...
