"""Work on the analytics that an operator asks for."""

from __future__ import annotations

from bisect import bisect_left
from typing import Annotated

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin
from eventrunner.api.bodies import read_json, read_time
from eventrunner.api.texts import TENANT_PATTERN, Time
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.stage.answers import json_response
from eventrunner.storage.rebuild import rebuild_page
from eventrunner.tenancy import check_tenant

__all__ = ["AnalyticsCalls", "RebuildBody"]

_MAX_LIMIT = 5_000


class RebuildBody(msgspec.Struct, forbid_unknown_fields=True):
    tenant: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^$|{TENANT_PATTERN}"})] = ""
    """Empty at the beginning: the first of all tenants."""
    all: bool = False
    """Go on with the next tenant after the last page of this one."""
    since: Time | None = msgspec.field(default=None, name="from")
    until: Time | None = msgspec.field(default=None, name="to")
    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=_MAX_LIMIT)] = 2_000


class AnalyticsCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def rebuild(self, request: Request, identity: Identity) -> Response:
        """One page; `next` is the body of the next call, null after the last. So it can be stopped anywhere, and no
        request takes long."""
        check_admin(identity)
        order = read_json(request, RebuildBody)
        since, until = read_time("from", order.since), read_time("to", order.until)
        if not order.tenant and not order.all:
            raise InvalidInput(
                "Name a tenant, or ask for all.", (FieldError("tenant", "a tenant, unless all is true"),)
            )
        tenants = self._backend.store.tenants() if order.all else [check_tenant(order.tenant)]
        place = bisect_left(tenants, order.tenant)
        if place == len(tenants):
            return json_response({"tenant": order.tenant, "of": 0, "checked": 0, "restored": 0, "next": None})
        tenant = tenants[place]
        page = rebuild_page(
            self._backend.store,
            self._backend.analytics,
            tenant,
            since=since,
            until=until,
            # Of another tenant it would not be, if this one is gone meanwhile.
            cursor=order.cursor if tenant == order.tenant else None,
            limit=order.limit,
        )
        order.tenant, order.cursor = tenant, page.next_cursor
        following: RebuildBody | None = order
        if page.next_cursor is None:
            order.tenant = tenants[place + 1] if place + 1 < len(tenants) else ""
            following = order if order.tenant else None
        return json_response(
            {
                "tenant": tenant,
                "of": self._backend.store.count(tenant),
                "checked": page.checked,
                "restored": page.restored,
                "next": msgspec.to_builtins(following),
            }
        )
