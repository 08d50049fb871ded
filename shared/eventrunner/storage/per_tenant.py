"""What a stage makes of a tenant's registry record, made again when the record changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerTenant"]

T = TypeVar("T")


class PerTenant(Generic[T]):
    """Caches `make(record)` by tenant; the record itself tells whether it changed."""

    def __init__(self, record: Callable[[str], bytes | None], make: Callable[[bytes | None], T]) -> None:
        self._record = record
        self._make = make
        self._made: dict[str, tuple[bytes | None, T]] = {}

    def get(self, tenant: str) -> T:
        record = self._record(tenant)
        known = self._made.get(tenant)
        # The registry hands out the same object until a change arrives, so identity decides at once in most cases.
        if known is not None and (known[0] is record or known[0] == record):
            return known[1]
        made = self._make(record)
        self._made[tenant] = (record, made)
        return made
