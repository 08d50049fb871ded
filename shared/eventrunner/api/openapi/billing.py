"""Usage, invoices and plans."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from eventrunner.api.invoices import CloseBody
from eventrunner.api.openapi.call import Answer, Call, Parameter, json_answer, json_body
from eventrunner.api.openapi.parameters import (
    FROM,
    IF_MATCH,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    PAGE,
    TENANT,
    TO,
    choice,
    in_path,
    tagged,
)
from eventrunner.api.texts import DecimalText, Month, Time
from eventrunner.billing.plans import Plan, PlanName
from eventrunner.storage.analytics_model import GROUPS, WINDOWS

__all__ = ["CALLS"]


class PlanBody(Plan, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As `Plan`, which the path names."""

    name: PlanName = ""


class UsageTotals(msgspec.Struct):
    events: DecimalText
    derived: DecimalText
    rules: DecimalText
    cpu_usage: DecimalText
    """Core-seconds."""
    memory_usage: DecimalText
    """GiB-seconds."""
    network_ingress: DecimalText
    """Bytes."""
    network_egress: DecimalText


class UsageItem(UsageTotals, rename={"since": "from", "until": "to"}, kw_only=True):
    """With a member for each group."""

    since: Time
    until: Time


class UsageDocument(msgspec.Struct, rename={"since": "from", "until": "to"}):
    tenant: str
    since: Time
    until: Time
    window: str | None
    tz: str
    group_by: list[str]
    usage: list[UsageItem]


class InvoicePlan(msgspec.Struct):
    name: str
    version: int


class InvoiceLine(msgspec.Struct):
    label: str
    meter: str
    quantity: DecimalText
    unit: str
    unit_price: DecimalText
    per: DecimalText
    amount: DecimalText


class InvoiceDocument(msgspec.Struct, rename={"since": "from", "until": "to"}):
    id: str
    tenant: str
    status: Literal["preview", "final"]
    period: Month
    since: Time
    until: Time
    issued: Time
    plan: InvoicePlan
    currency: str
    usage: UsageTotals
    lines: list[InvoiceLine]
    total: DecimalText


class Invoices(msgspec.Struct):
    invoices: list[InvoiceDocument]
    next: str | None


class NotClosed(msgspec.Struct):
    tenant: str
    detail: str


class Closed(msgspec.Struct):
    period: Month
    invoices: list[InvoiceDocument]
    failed: list[NotClosed]


_TEXT: Final = {"type": "string"}
_INVOICE: Final = Answer({"application/json": InvoiceDocument, "text/html": _TEXT, "text/csv": _TEXT})
_FORMAT: Final = choice("format", ("json", "html", "csv"), "In place of the header Accept")
_PERIOD: Final = Parameter(
    "period", {"type": "string", "pattern": "^[1-8][0-9]{3}-(0[1-9]|1[0-2])$"}, "Such as 2026-10"
)
_PLAN: Final = in_path("plan", pattern="^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$")
_GROUP_BY: Final[dict[str, Any]] = {"type": "string", "pattern": f"^$|^({'|'.join(GROUPS)})(,({'|'.join(GROUPS)}))*$"}

CALLS: Final = (
    Call(
        id="usage-get",
        method="get",
        path="/api/v1/usage/{tenant}",
        summary="Usage by window, else of the whole interval; without one, of the running month",
        path_parameters=(TENANT,),
        parameters=(
            FROM,
            TO,
            choice("window", WINDOWS),
            Parameter("tz", {"type": "string", "default": "UTC"}, "A time zone such as Europe/Berlin, for windows"),
            Parameter("group_by", _GROUP_BY, "With commas between"),
            choice("format", ("json", "csv"), "In place of the header Accept"),
        ),
        answers={200: Answer({"application/json": UsageDocument, "text/csv": _TEXT})},
        problems=(422,),
    ),
    Call(
        id="invoices-latest",
        method="get",
        path="/api/v1/invoice/{tenant}",
        summary="The invoice of a month, else of the running one: final when it is closed, else a preview",
        path_parameters=(TENANT,),
        parameters=(_PERIOD, _FORMAT),
        answers={200: _INVOICE},
        problems=(404, 422),
    ),
    Call(
        id="invoices-get",
        method="get",
        path="/api/v1/invoice/{tenant}/{invoice}",
        summary="A final invoice, or the preview of that id",
        path_parameters=(TENANT, in_path("invoice")),
        parameters=(_FORMAT,),
        answers={200: _INVOICE},
        problems=(404, 422),
    ),
    Call(
        id="invoices-list",
        method="get",
        path="/api/v1/invoices/{tenant}",
        summary="All final invoices, the newest first",
        path_parameters=(TENANT,),
        parameters=PAGE,
        answers={200: json_answer(Invoices)},
        problems=(422,),
    ),
    Call(
        id="billing-close",
        method="post",
        path="/api/v1/billing/close",
        summary="Close a month of one tenant or of all; again, it answers the same",
        body=json_body(CloseBody),
        answers={200: json_answer(Closed)},
        problems=(404, 422),
        untagged="A closed month has no ETag, as it does not change",
    ),
    Call(
        id="plans-get",
        method="get",
        path="/api/v1/plans/{plan}",
        summary="A plan: its prices, and what consumers may have",
        path_parameters=(_PLAN,),
        parameters=(IF_NONE_MATCH,),
        answers={200: tagged(Plan), 304: NOT_MODIFIED},
        problems=(404, 422),
    ),
    Call(
        id="plans-put",
        method="put",
        path="/api/v1/plans/{plan}",
        summary="Create or replace a plan",
        path_parameters=(_PLAN,),
        parameters=(IF_MATCH, IF_NONE_MATCH),
        body=json_body(PlanBody),
        answers={200: tagged(Plan, "Replaced"), 201: tagged(Plan, "Created")},
        problems=(409, 412, 422),
    ),
)
