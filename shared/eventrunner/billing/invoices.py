"""Invoices: computed from usage and a plan, written as a JSON document in which every number is a decimal string."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from eventrunner.billing.meters import usage_fields
from eventrunner.billing.money import plain
from eventrunner.billing.periods import Period
from eventrunner.billing.plans import Plan
from eventrunner.billing.prices import Line, price_lines
from eventrunner.clock import format_time
from eventrunner.storage.analytics_model import Totals

__all__ = ["Invoice", "Status", "invoice_id", "make_invoice"]

Status: TypeAlias = Literal["preview", "final"]


@dataclass(frozen=True, slots=True)
class Invoice:
    id: str
    tenant: str
    period: Period
    status: Status
    issued: datetime
    plan: Plan
    usage: Totals
    lines: tuple[Line, ...]
    total: Decimal

    def to_document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "tenant": self.tenant,
            "status": self.status,
            "period": str(self.period),
            "from": format_time(self.period.since),
            "to": format_time(self.period.until),
            "issued": format_time(self.issued),
            "plan": {"name": self.plan.name, "version": self.plan.version},
            "currency": self.plan.currency,
            "usage": usage_fields(self.usage),
            "lines": [_line_document(line) for line in self.lines],
            "total": str(self.total),
        }

    def to_json(self) -> bytes:
        return json.dumps(self.to_document(), ensure_ascii=False).encode()


def invoice_id(tenant: str, period: Period, number: int = 1) -> str:
    return f"{tenant}-{period.year:04}{period.month:02}-{number:03}"


def make_invoice(
    tenant: str, period: Period, plan: Plan, usage: Totals, *, status: Status, issued: datetime
) -> Invoice:
    """The same values give the same invoice. A preview carries the id that the final invoice will have."""
    lines = tuple(price_lines(plan, usage))
    zero = Decimal((0, (0,), -plan.minor_units))
    return Invoice(
        id=invoice_id(tenant, period),
        tenant=tenant,
        period=period,
        status=status,
        issued=issued,
        plan=plan,
        usage=usage,
        lines=lines,
        total=sum((line.amount for line in lines), zero),
    )


def _line_document(line: Line) -> dict[str, str]:
    return {
        "label": line.label,
        "meter": line.meter,
        "quantity": plain(line.quantity),
        "unit": line.unit,
        "unit_price": plain(line.unit_price),
        "per": plain(line.per),
        "amount": str(line.amount),
    }
