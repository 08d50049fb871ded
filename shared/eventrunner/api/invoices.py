"""Invoices: previews of running months, and closed months, which never change again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import check_admin, check_own
from eventrunner.api.billing_backend import BillingBackend
from eventrunner.api.bodies import read_json, refuse_unknown
from eventrunner.api.media import CSV, HTML, JSON, choose_media
from eventrunner.api.pages import read_page
from eventrunner.api.texts import Month, TenantName
from eventrunner.billing.documents import invoice_csv, invoice_html
from eventrunner.billing.invoices import Invoice, Status, invoice_id, make_invoice
from eventrunner.billing.periods import Period
from eventrunner.clock import Clock, format_time
from eventrunner.errors import FieldError, InvalidInput, NotFound
from eventrunner.stage.answers import json_response
from eventrunner.tenancy import check_tenant

__all__ = ["CloseBody", "InvoiceCalls"]

_PARAMETERS = frozenset({"period", "format"})


class CloseBody(msgspec.Struct, forbid_unknown_fields=True):
    period: Month
    tenant: TenantName | None = None


class InvoiceCalls:
    def __init__(self, backend: BillingBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def latest(self, request: Request, identity: Identity, tenant: str) -> Response:
        """The invoice of `?period=`, else of the running month: final when the month is closed, else a preview."""
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, _PARAMETERS)
        now = Period.of(self._clock())
        period = Period.parse(request.args["period"]) if "period" in request.args else now
        if period > now:
            raise NotFound(f"{period} has not begun.")
        return self._answer(request, tenant, period)

    def get(self, request: Request, identity: Identity, tenant: str, invoice: str) -> Response:
        """A closed invoice, or the preview that carries the id."""
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, frozenset({"format"}))
        body = self._backend.store.get_invoice(tenant, invoice)
        if body is not None:
            return _render(request, json.loads(body))
        running = Period.of(self._clock())
        if invoice != invoice_id(tenant, running):
            raise NotFound(f"Tenant {tenant} has no invoice {invoice}.")
        return self._answer(request, tenant, running)

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        """All closed invoices, the newest first."""
        check_own(identity, check_tenant(tenant))
        documents = [json.loads(body) for body in self._backend.store.invoices(tenant)]
        page, following = read_page(
            request, documents, lambda item: f"{item['period']} {item['id']}", newest_first=True
        )
        return json_response({"invoices": page, "next": following})

    def close(self, request: Request, identity: Identity) -> Response:
        """Closes the month of one tenant, or of all. Again, it answers the same."""
        check_admin(identity)
        order = read_json(request, CloseBody)
        period = Period.parse(order.period)
        if self._clock() < period.until:
            message = f"ends at {format_time(period.until)}; close it after that"
            raise InvalidInput(f"{period} {message}.", (FieldError("period", message),))
        if order.tenant is not None:
            closed = [self._close(check_tenant(order.tenant), period)]
            return json_response({"period": str(period), "invoices": closed, "failed": []})
        return json_response({"period": str(period), **self._close_all(period)})

    def _close_all(self, period: Period) -> dict[str, list[dict[str, Any]]]:
        """A tenant whose plan cannot be used keeps no other from its invoice."""
        closed, failed = [], []
        for tenant in self._backend.tenants():
            try:
                closed.append(self._close(tenant, period))
            except (InvalidInput, NotFound) as error:
                failed.append({"tenant": tenant, "detail": error.detail})
        return {"invoices": closed, "failed": failed}

    def _close(self, tenant: str, period: Period) -> dict[str, Any]:
        store = self._backend.store
        identifier = invoice_id(tenant, period)
        body = store.get_invoice(tenant, identifier)
        if body is None:
            body = self._compute(tenant, period, "final").to_json()
            if not store.put_invoice(tenant, identifier, str(period), body):
                # Somebody else closed it meanwhile, and theirs counts.
                body = store.get_invoice(tenant, identifier) or body
        document: dict[str, Any] = json.loads(body)
        return document

    def _answer(self, request: Request, tenant: str, period: Period) -> Response:
        body = self._backend.store.get_invoice(tenant, invoice_id(tenant, period))
        if body is not None:
            return _render(request, json.loads(body))
        return _render(request, self._compute(tenant, period, "preview").to_document())

    def _compute(self, tenant: str, period: Period, status: Status) -> Invoice:
        usage = self._backend.analytics.totals(tenant, period.since, period.until)
        plan = self._backend.plan_of(tenant)
        return make_invoice(tenant, period, plan, usage, status=status, issued=self._clock())


def _render(request: Request, document: dict[str, Any]) -> Response:
    match choose_media(request, (JSON, HTML, CSV)):
        case "text/csv":
            return Response(invoice_csv(document), content_type=f"{CSV}; charset=utf-8")
        case "text/html":
            return Response(invoice_html(document), content_type=f"{HTML}; charset=utf-8")
        case _:
            return json_response(document)
