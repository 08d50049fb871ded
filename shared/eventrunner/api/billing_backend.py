"""What billing works on besides: each tenant's plan, and who has used anything."""

from __future__ import annotations

from eventrunner.api.backend import Backend
from eventrunner.billing.plans import Plan, parse_plan
from eventrunner.errors import NotFound
from eventrunner.storage import records
from eventrunner.storage.records import Tenant
from eventrunner.tenancy import check_tenant

__all__ = ["BillingBackend"]


class BillingBackend(Backend):
    def plan_of(self, tenant: str) -> Plan:
        """The tenant's plan, or the standard one for a tenant without a record. Raises NotFound for a plan that is
        neither stored nor shipped."""
        record = self.known(records.TENANTS, check_tenant(tenant))
        name = (Tenant(tenant) if record is None else Tenant.from_json(record)).plan
        document = self.plan_document(name)
        if document is None:
            raise NotFound(f"There is no plan {name}.")
        return parse_plan(document, name)

    def tenants(self) -> list[str]:
        """All that have a record or have used anything, sorted."""
        return sorted({*self.registry.items(records.TENANTS), *self.analytics.tenants()})
