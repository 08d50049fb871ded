"""What billing works on beside registry and event store: the analytics, and each tenant's plan."""

from __future__ import annotations

from eventrunner.api.backend import Backend
from eventrunner.billing.plans import Plan, parse_plan
from eventrunner.errors import NotFound
from eventrunner.storage import records
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.records import Tenant
from eventrunner.tenancy import check_tenant

__all__ = ["BillingBackend"]


class BillingBackend(Backend):
    _analytics: Analytics | None = None

    @property
    def analytics(self) -> Analytics:
        """Raises Unavailable while ClickHouse is away; a later call tries again."""
        with self._lock:
            if self._analytics is None:
                analytics = Analytics(self._settings().clickhouse_url)
                analytics.migrate()
                self._analytics = analytics
            return self._analytics

    def plan_of(self, tenant: str) -> Plan:
        """The tenant's plan, or the standard one for a tenant without a record. Raises NotFound for a plan that is
        neither stored nor shipped."""
        record = self.registry.get(records.TENANTS, check_tenant(tenant))
        name = (Tenant(tenant) if record is None else Tenant.from_json(record)).plan
        document = self.plan_document(name)
        if document is None:
            raise NotFound(f"There is no plan {name}.")
        return parse_plan(document, name)

    def tenants(self) -> list[str]:
        """All that have a record or have used anything, sorted."""
        return sorted({*self.registry.items(records.TENANTS), *self.analytics.tenants()})

    def close(self) -> None:
        if self._analytics is not None:
            self._analytics.close()
        super().close()
