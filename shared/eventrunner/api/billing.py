"""The function `billing`: which handler answers which call."""

from __future__ import annotations

from eventrunner.api.audit import AuditLog
from eventrunner.api.billing_backend import BillingBackend
from eventrunner.api.conditions import untagged
from eventrunner.api.invoices import InvoiceCalls
from eventrunner.api.usage import UsageCalls
from eventrunner.clock import Clock, utc_now
from eventrunner.stage.http import HttpFunction

__all__ = ["make_function"]


def make_function(clock: Clock = utc_now) -> HttpFunction:
    """Opens nothing before the first request."""
    function = HttpFunction("billing")
    backend = BillingBackend(function.settings)
    usage, invoices = UsageCalls(backend, clock), InvoiceCalls(backend, clock)
    function.route("GET", "/api/v1/usage/{tenant}")(usage.get)
    function.route("GET", "/api/v1/invoice/{tenant}")(invoices.latest)
    function.route("GET", "/api/v1/invoice/{tenant}/{invoice}")(invoices.get)
    function.route("GET", "/api/v1/invoices/{tenant}")(invoices.list_all)
    close = "/api/v1/billing/close"
    function.route("POST", close)(AuditLog(backend, clock).audited(f"POST {close}", untagged(invoices.close)))
    return function
