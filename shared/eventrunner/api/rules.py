"""Rule sets: each is a line of versions, of which at most one is in force."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_json, read_text
from eventrunner.clock import Clock, format_time
from eventrunner.errors import BodyTooLarge, FieldError, InvalidInput, MalformedBody, NotFound
from eventrunner.events import Event, check_event, decode_incoming
from eventrunner.rules import combine, compile_rules, json_to_grl, verdict_document
from eventrunner.stage.answers import json_response
from eventrunner.storage import records
from eventrunner.storage.records import RuleSet, RuleVersion, rule_key

__all__ = ["RuleCalls"]

_MAX_NAME = 64
_MAX_STORED_BYTES = 768 * 1024
"""A value of the registry is one NATS message; the oldest versions make room for the newest."""
_MAX_DRY_RUN_EVENTS = 1000


class _Activation(msgspec.Struct, forbid_unknown_fields=True):
    version: int | None = None
    """None: the newest; 0: none is in force any more."""


class _DryRun(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]
    version: int | None = None


class RuleCalls:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def list_all(self, _: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, tenant)
        self._backend.tenant(tenant)
        return json_response({"rules": [_summary(item) for item in self._all(tenant)]})

    def get(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """The text of the version asked for, else of the one in force, else of the newest."""
        check_own(identity, tenant)
        rules = self._find(tenant, name)
        wanted = request.args.get("version", type=int)
        version = _version(rules, wanted) if wanted is not None else rules.in_force or rules.versions[-1]
        history = [{"version": item.version, "format": item.format, "created": item.created} for item in rules.versions]
        shown = {"version": version.version, "format": version.format, "text": version.text, "versions": history}
        return json_response(_summary(rules) | shown)

    def put(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """Adds a version, unless the text is the newest one's already. Grule's JSON rules are kept as GRL."""
        check_own(identity, tenant)
        self._backend.tenant(tenant)
        _check_name(name)
        text = read_text(request)
        if request.mimetype == "application/json":
            text = json_to_grl(text, name)
        if not compile_rules(text, name=name).names:
            raise InvalidInput("The text has no rule.", (FieldError(f"{name}:1:1", "expected a rule"),))
        is_new = False

        def change(stored: bytes | None) -> bytes:
            nonlocal is_new
            rules = RuleSet(tenant, name) if stored is None else RuleSet.from_json(stored)
            newest = rules.versions[-1] if rules.versions else None
            is_new = newest is None or newest.text != text
            if is_new:
                number = newest.version + 1 if newest else 1
                rules.versions = [*rules.versions, RuleVersion(number, text, "grl", format_time(self._clock()))]
            return _fitting(rules)

        self._backend.change(records.RULES, rule_key(tenant, name), change)
        return json_response(_summary(self._find(tenant, name)), 201 if is_new else 200)

    def delete(self, _: Request, identity: Identity, tenant: str, name: str) -> Response:
        check_own(identity, tenant)
        self._find(tenant, name)
        self._backend.registry.delete(records.RULES, rule_key(tenant, name))
        return Response(status=204)

    def activate(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        check_own(identity, tenant)
        body = read_json(request, _Activation)
        wanted = _wanted(self._find(tenant, name), body.version)
        if wanted is not None:
            self._check_together(tenant, name, wanted)

        def change(stored: bytes | None) -> bytes:
            if stored is None:
                raise NotFound(f"Tenant {tenant} has no rule set {name}.")
            rules = RuleSet.from_json(stored)
            rules.active = 0 if wanted is None else _version(rules, wanted.version).version
            return rules.to_json()

        self._backend.change(records.RULES, rule_key(tenant, name), change)
        return json_response(_summary(self._find(tenant, name)))

    def dry_run(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """What a version, else the newest, would make of the events; nothing is stored or sent."""
        check_own(identity, tenant)
        body = read_json(request, _DryRun)
        if len(body.events) > _MAX_DRY_RUN_EVENTS:
            raise BodyTooLarge(f"A dry run takes at most {_MAX_DRY_RUN_EVENTS} events.")
        version = _wanted(self._find(tenant, name), body.version)
        rules = compile_rules(version.text if version else "", name=name)
        owner = self._backend.tenant(tenant)
        facts = {"id": owner.id, "name": owner.name, "plan": owner.plan}
        events = [_event(raw, index, tenant) for index, raw in enumerate(body.events)]
        results = [verdict_document(event.id, rules.evaluate(event, facts)) for event in events]
        return json_response({"version": version.version if version else 0, "results": results})

    def _check_together(self, tenant: str, name: str, version: RuleVersion) -> None:
        """The engine evaluates a tenant's active sets as one, so they must not define the same rule twice."""
        texts = {item.name: item.in_force.text for item in self._all(tenant) if item.in_force is not None}
        texts[name] = version.text
        combine([compile_rules(text, name=other) for other, text in sorted(texts.items())])

    def _all(self, tenant: str) -> list[RuleSet]:
        items = self._backend.registry.items(records.RULES).items()
        return [RuleSet.from_json(value) for key, value in sorted(items) if key.startswith(f"{tenant}.")]

    def _find(self, tenant: str, name: str) -> RuleSet:
        self._backend.tenant(tenant)
        _check_name(name)
        record = self._backend.registry.get(records.RULES, rule_key(tenant, name))
        if record is None:
            raise NotFound(f"Tenant {tenant} has no rule set {name}.")
        return RuleSet.from_json(record)


def _check_name(name: str) -> None:
    if not (len(name) <= _MAX_NAME and name.replace("-", "").replace("_", "").isalnum() and name.isascii()):
        message = f"up to {_MAX_NAME} letters, digits, '-' and '_'"
        raise InvalidInput(f"{name!r} is not a rule set's name: use {message}.", (FieldError("name", message),))


def _version(rules: RuleSet, number: int) -> RuleVersion:
    for version in rules.versions:
        if version.version == number:
            return version
    raise NotFound(f"Rule set {rules.name} has no version {number}.")


def _wanted(rules: RuleSet, number: int | None) -> RuleVersion | None:
    if number == 0:
        return None
    return rules.versions[-1] if number is None else _version(rules, number)


def _fitting(rules: RuleSet) -> bytes:
    """The record, without the oldest versions that are not in force if it would not fit into the registry."""
    while len(record := rules.to_json()) > _MAX_STORED_BYTES:
        oldest = next(item for item in rules.versions if item.version != rules.active)
        rules.versions = [item for item in rules.versions if item is not oldest]
    return record


def _summary(rules: RuleSet) -> dict[str, Any]:
    newest = rules.versions[-1]
    return {"name": rules.name, "active": rules.active, "newest": newest.version, "updated": newest.created}


def _event(raw: msgspec.Raw, index: int, tenant: str) -> Event:
    try:
        event = check_event(decode_incoming(raw))
    except InvalidInput as error:
        fields = tuple(FieldError(f"events[{index}].{item.field}", item.message) for item in error.fields)
        kind = MalformedBody if isinstance(error, MalformedBody) else InvalidInput
        raise kind(f"Event {index}: {error.detail}", fields) from error
    event.tenantid = tenant
    return event
