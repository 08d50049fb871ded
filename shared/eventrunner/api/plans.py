"""Plans: what a tenant pays. The billing package says what a plan can be."""

from __future__ import annotations

import re

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin
from eventrunner.errors import FieldError, InvalidInput, NotFound
from eventrunner.storage import records

__all__ = ["PlanCalls"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


class PlanCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, _: Request, identity: Identity, plan: str) -> Response:
        record = self._backend.registry.get(records.PLANS, _checked(plan))
        if record is None:
            raise NotFound(f"There is no plan {plan}.")
        return Response(record, content_type="application/json")

    def put(self, request: Request, identity: Identity, plan: str) -> Response:
        check_admin(identity)
        _checked(plan)
        document = request.get_data()
        msgspec.json.decode(document)
        is_new = self._backend.registry.get(records.PLANS, plan) is None
        self._backend.registry.put(records.PLANS, plan, document)
        return Response(document, status=201 if is_new else 200, content_type="application/json")


def _checked(plan: str) -> str:
    if _NAME.fullmatch(plan) is None:
        message = "1 to 63 letters, digits, '-' or '_', with a letter or digit at both ends"
        raise InvalidInput(f"{plan!r} is not a plan's name: use {message}.", (FieldError("plan", message),))
    return plan
