"""Rule sets: each is a line of versions, of which at most one is in force."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend
from eventrunner.api.bodies import read_json, read_text, refuse_unknown
from eventrunner.api.conditions import Condition, check_revision, tagged
from eventrunner.api.pages import read_page
from eventrunner.api.rule_sets import RuleSets, check_name, version_of
from eventrunner.api.texts import VersionNumber
from eventrunner.clock import Clock, format_time
from eventrunner.errors import BodyTooLarge, Conflict, FieldError, InvalidInput, NotFound
from eventrunner.rules import RuleSyntaxError, as_grl, combine, compile_rules, json_to_grl, warnings_of
from eventrunner.stage.answers import json_response
from eventrunner.storage import records
from eventrunner.storage.records import RuleSet, RuleVersion, rule_key

__all__ = ["Activation", "RuleCalls"]

_MAX_STORED_BYTES = 768 * 1024
"""A value of the registry is one NATS message; the oldest versions make room for the newest."""


class Activation(msgspec.Struct, forbid_unknown_fields=True):
    version: VersionNumber | None = None
    """None: the newest; 0: none is in force any more."""


class RuleCalls:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._sets = RuleSets(backend)
        self._clock = clock

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        self._sets.check_access(identity, tenant)
        page, following = read_page(request, self._sets.all(tenant), lambda item: item.name)
        return json_response({"rules": [_summary(item) for item in page], "next": following})

    def get(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """The text of the version asked for, else of the one in force, else of the newest."""
        self._sets.check_access(identity, tenant)
        rules, revision = self._sets.entry(tenant, name)
        wanted = _version(request)
        version = version_of(rules, wanted) if wanted is not None else rules.in_force or rules.versions[-1]
        history = [{"version": item.version, "format": item.format, "created": item.created} for item in rules.versions]
        shown = {"version": version.version, "format": version.format, "text": version.text, "versions": history}
        return tagged(request, json_response(_summary(rules) | shown), str(revision))

    def put(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """Adds a version, unless the text is the newest one's already. Grule's JSON rules are kept as GRL.

        What surely does not work is answered as `warnings`, of the form of errors.
        """
        self._sets.check_access(identity, tenant)
        check_name(name)
        condition = Condition(request)
        text, title = read_text(request), name
        if request.mimetype == "application/json":
            text, title = json_to_grl(text, name), as_grl(name)
        rules = compile_rules(text, name=title).rules
        if not rules:
            raise InvalidInput("The text has no rule.", (FieldError(f"{name}:1:1", "expected a rule"),))
        is_new, written = False, RuleSet(tenant, name)

        def change(stored: bytes | None, others: Mapping[str, bytes]) -> bytes:
            nonlocal is_new, written
            written = RuleSet(tenant, name) if stored is None else RuleSet.from_json(stored)
            newest = written.versions[-1] if written.versions else None
            is_new = newest is None or newest.text != text
            if is_new:
                number = newest.version + 1 if newest else 1
                written.versions = [*written.versions, RuleVersion(number, text, "grl", format_time(self._clock()))]
            return _fitting(written, self._room(written, others))

        revision = self._backend.change_among(records.RULES, rule_key(tenant, name), change, check_revision(condition))
        warnings = [msgspec.to_builtins(problem.field) for problem in warnings_of(rules, text, title)]
        shown = _summary(written) | {"warnings": warnings}
        return tagged(request, json_response(shown, 201 if is_new else 200), str(revision))

    def delete(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        self._sets.check_access(identity, tenant)
        condition = Condition(request)
        _, revision = self._sets.entry(tenant, name)
        condition.check(str(revision))
        self._backend.registry.purge(records.RULES, rule_key(tenant, name), revision)
        return Response(status=204)

    def activate(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        self._sets.check_access(identity, tenant)
        condition, body = Condition(request), read_json(request, Activation)
        written = self._sets.find(tenant, name)

        def change(stored: bytes | None, others: Mapping[str, bytes]) -> bytes:
            nonlocal written
            if stored is None:
                raise NotFound(f"Tenant {tenant} has no rule set {name}.")
            written = RuleSet.from_json(stored)
            wanted = _wanted(written, body.version)
            if wanted is not None:
                _check_together(name, wanted, map(RuleSet.from_json, others.values()))
            written.active = 0 if wanted is None else wanted.version
            return written.to_json()

        revision = self._backend.change_among(records.RULES, rule_key(tenant, name), change, check_revision(condition))
        return tagged(request, json_response(_summary(written)), str(revision))

    def _room(self, rules: RuleSet, others: Mapping[str, bytes]) -> int:
        """Bytes that the record may take beside the owner's other sets. Raises Conflict if there are too many of
        them."""
        settings = self._backend.settings
        if len(others) >= settings.max_rule_sets:
            raise Conflict(f"{rules.tenant} has {len(others)} other rule sets, as many as it may: remove one first.")
        return settings.max_rule_bytes - sum(map(len, others.values()))


def _version(request: Request) -> int | None:
    refuse_unknown(request.args, frozenset({"version"}))
    text = request.args.get("version")
    if text is None or (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        return None if text is None else int(text)
    raise InvalidInput("The version is not valid.", (FieldError("version", "a whole number from 1"),))


def _wanted(rules: RuleSet, number: int | None) -> RuleVersion | None:
    if number == 0:
        return None
    return rules.versions[-1] if number is None else version_of(rules, number)


def _check_together(name: str, version: RuleVersion, others: Iterable[RuleSet]) -> None:
    """The engine evaluates an owner's active sets as one, so they must not define the same rule twice."""
    sets = [compile_rules(version.text, name=name)]
    for other in others:
        if other.in_force is not None:
            # One that does not compile any more is left out by the engine and must not be in the way here.
            with contextlib.suppress(RuleSyntaxError):
                sets.append(compile_rules(other.in_force.text, name=other.name))
    combine(sets)


def _fitting(rules: RuleSet, room: int) -> bytes:
    """The record, without the oldest versions that are not in force if it would not fit into the registry or its room.

    Raises BodyTooLarge or Conflict if the newest does not fit beside the one in force.
    """
    newest = rules.versions[-1]
    while len(record := rules.to_json()) > min(_MAX_STORED_BYTES, room):
        spare = [item for item in rules.versions if item.version != rules.active and item is not newest]
        if spare:
            rules.versions.remove(spare[0])
        elif len(record) > _MAX_STORED_BYTES:
            raise BodyTooLarge(f"The text takes {len(record)} bytes as JSON; the limit is {_MAX_STORED_BYTES}.")
        else:
            raise Conflict(
                f"The text takes {len(record)} bytes as JSON, and the rule sets of {rules.tenant} with their versions "
                f"have room for {max(0, room)}: remove a rule set first."
            )
    return record


def _summary(rules: RuleSet) -> dict[str, Any]:
    newest = rules.versions[-1]
    return {"name": rules.name, "active": rules.active, "newest": newest.version, "updated": newest.created}
