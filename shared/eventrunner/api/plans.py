"""Plans: what a tenant pays for what. The ones that ship are there until somebody puts another one in their place."""

from __future__ import annotations

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin
from eventrunner.api.conditions import Condition, tagged
from eventrunner.billing.plans import parse_plan, shipped_plan
from eventrunner.errors import NotFound
from eventrunner.storage import records

__all__ = ["PlanCalls"]


class PlanCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, request: Request, identity: Identity, plan: str) -> Response:
        entry = self._backend.plan_entry(plan)
        if entry is None:
            raise NotFound(f"There is no plan {plan}.")
        return tagged(request, Response(entry[0], content_type="application/json"), str(entry[1]))

    def put(self, request: Request, identity: Identity, plan: str) -> Response:
        check_admin(identity)
        condition = Condition(request)
        document = parse_plan(request.get_data(), plan).to_json()
        is_shipped = shipped_plan(plan) is not None
        is_new = False

        def check(revision: int | None) -> None:
            nonlocal is_new
            is_new = revision is None and not is_shipped
            condition.check(None if is_new else str(revision or 0))

        revision = self._backend.change(records.PLANS, plan, lambda _: document, check)
        response = Response(document, status=201 if is_new else 200, content_type="application/json")
        return tagged(request, response, str(revision))
