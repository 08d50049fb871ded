"""What billing works on besides: who has used anything."""

from __future__ import annotations

from eventrunner.api.backend import Backend
from eventrunner.storage import records

__all__ = ["BillingBackend"]


class BillingBackend(Backend):
    def tenants(self) -> list[str]:
        """All that have a record or have used anything, sorted."""
        return sorted({*self.registry.items(records.TENANTS), *self.analytics.tenants()})
