"""Usage: how much of what, by window and group."""

from __future__ import annotations

from datetime import datetime

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import check_own
from eventrunner.api.billing_backend import BillingBackend
from eventrunner.api.bodies import read_time, refuse_unknown
from eventrunner.api.media import CSV, JSON, choose_media
from eventrunner.billing.documents import rows_csv
from eventrunner.billing.meters import usage_fields
from eventrunner.billing.periods import Period
from eventrunner.clock import Clock, format_time, from_micros
from eventrunner.stage.answers import json_response
from eventrunner.storage.analytics_model import Totals, UsageRow
from eventrunner.tenancy import check_tenant

__all__ = ["UsageCalls"]

_PARAMETERS = frozenset({"from", "to", "window", "tz", "group_by", "format"})


class UsageCalls:
    def __init__(self, backend: BillingBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def get(self, request: Request, identity: Identity, tenant: str) -> Response:
        """Of the running month where no interval is given. Windows without usage are left out."""
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, _PARAMETERS)
        media = choose_media(request, (JSON, CSV))
        now = self._clock()
        since = _moment("from", request.args.get("from")) or Period.of(now).since
        until = _moment("to", request.args.get("to")) or now
        window, tz = request.args.get("window"), request.args.get("tz", "UTC")
        groups = request.args["group_by"].split(",") if request.args.get("group_by") else []
        rows = self._backend.analytics.usage(tenant, since, until, window=window, tz=tz, group_by=groups)
        if not rows and window is None and not groups:
            rows = [UsageRow(since, until, (), Totals())]
        items = [_item(row, groups) for row in rows]
        if media == CSV:
            columns = ("from", "to", *groups, *usage_fields(Totals()))
            return Response(rows_csv(columns, items), content_type=f"{CSV}; charset=utf-8")
        return json_response(
            {
                "tenant": tenant,
                "from": format_time(since),
                "to": format_time(until),
                "window": window,
                "tz": tz,
                "group_by": groups,
                "usage": items,
            }
        )


def _item(row: UsageRow, groups: list[str]) -> dict[str, str]:
    return {
        "from": format_time(row.start),
        "to": format_time(row.end),
        **dict(zip(groups, row.group, strict=True)),
        **usage_fields(row.totals),
    }


def _moment(name: str, text: str | None) -> datetime | None:
    micros = read_time(name, text)
    return None if micros is None else from_micros(micros)
