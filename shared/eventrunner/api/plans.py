"""Plans: what a tenant pays for what. The ones that ship are there until somebody puts another one in their place."""

from __future__ import annotations

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin
from eventrunner.billing.plans import parse_plan
from eventrunner.errors import NotFound
from eventrunner.storage import records

__all__ = ["PlanCalls"]


class PlanCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, _: Request, identity: Identity, plan: str) -> Response:
        document = self._backend.plan_document(plan)
        if document is None:
            raise NotFound(f"There is no plan {plan}.")
        return Response(document, content_type="application/json")

    def put(self, request: Request, identity: Identity, plan: str) -> Response:
        check_admin(identity)
        document = parse_plan(request.get_data(), plan).to_json()
        is_new = self._backend.plan_document(plan) is None
        self._backend.registry.put(records.PLANS, plan, document)
        return Response(document, status=201 if is_new else 200, content_type="application/json")
