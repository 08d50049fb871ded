"""What rules do with one event and why: a set alone, or all that the event goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend
from eventrunner.api.bodies import read_json
from eventrunner.api.events import find_event
from eventrunner.api.rule_sets import Draft, InForce, RuleSets, compiled
from eventrunner.api.texts import VersionNumber
from eventrunner.errors import FieldError, InvalidInput, MalformedBody
from eventrunner.events import Event, check_event, decode_event, decode_incoming
from eventrunner.rules import explain, explanation_document, verdict_document
from eventrunner.stage.answers import json_response
from eventrunner.tenancy import PLATFORM

__all__ = ["EventBody", "ExplainBody", "RuleExplanations", "read_event"]


class EventBody(msgspec.Struct, forbid_unknown_fields=True):
    event: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})] = msgspec.field(
        default_factory=msgspec.Raw
    )
    id: str | None = None
    """Of a stored event, in place of `event`."""
    source: str | None = None


class ExplainBody(EventBody, forbid_unknown_fields=True):
    text: str | None = None
    version: VersionNumber | None = None
    """Without text and version: the version in force, else the newest."""
    together: bool = False
    """Among all that is in force, as `explain_all` shows it."""


class RuleExplanations:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._sets = RuleSets(backend)

    def explain(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """Each condition with its value and each firing with what it did, for one event."""
        self._sets.check_access(identity, tenant)
        body = read_json(request, ExplainBody)
        chosen = self._sets.draft_or_version(tenant, name, body.text, body.version)
        if chosen is None:
            rules = self._sets.find(tenant, name)
            chosen = compiled(name, rules.in_force or rules.versions[-1])
        event = self._event(body, tenant)
        if body.together:
            in_force = self._sets.in_force(event.tenantid, Draft(tenant, name, chosen.rules))
            return json_response({"version": chosen.version, **self._way(event, in_force, identity)})
        explanation = explain(chosen.rules, event, self._sets.facts(event.tenantid))
        return json_response({"version": chosen.version, **explanation_document(event.id, explanation)})

    def explain_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        """What the event goes through in the engine: the platform's rules, then all of the tenant's in force."""
        self._sets.check_access(identity, tenant)
        event = self._event(read_json(request, EventBody), tenant)
        return json_response(self._way(event, self._sets.in_force(event.tenantid, None), identity))

    def _way(self, event: Event, in_force: InForce, identity: Identity) -> dict[str, Any]:
        facts: Mapping[str, Any] = self._sets.facts(event.tenantid)
        stages = []
        for is_platform, explanation in in_force.chain.explain(event, facts):
            document = explanation_document(event.id, explanation)
            owner, sets = (PLATFORM, in_force.platform) if is_platform else (event.tenantid, in_force.own)
            if is_platform and not identity.is_admin:
                # Its rules are an admin's to see; what they make of the event is not.
                stages.append({"owner": owner, "result": document["result"]})
            else:
                stages.append({"owner": owner, "sets": sets, **document})
        return {"stages": stages, "result": verdict_document(event.id, in_force.chain.evaluate(event, facts))}

    def _event(self, body: EventBody, owner: str) -> Event:
        if bool(body.event) == bool(body.id):
            message = "give `event`, a CloudEvent, or the `id` of a stored one"
            raise InvalidInput(f"Which event? {message.capitalize()}.", (FieldError("event", message),))
        if body.event:
            return read_event(body.event, "event", owner)
        if owner == PLATFORM:
            raise InvalidInput("The platform has no stored events.", (FieldError("event", "give a CloudEvent"),))
        assert body.id
        return decode_event(find_event(self._backend.store, owner, body.id, body.source))


def read_event(raw: msgspec.Raw, field: str, owner: str) -> Event:
    """A CloudEvent of the body, made the owner's unless that is the platform. Raises InvalidInput, MalformedBody."""
    try:
        event = check_event(decode_incoming(raw))
    except InvalidInput as error:
        fields = tuple(FieldError(f"{field}.{item.field}", item.message) for item in error.fields)
        kind = MalformedBody if isinstance(error, MalformedBody) else InvalidInput
        raise kind(f"{field}: {error.detail}", fields) from error
    if owner != PLATFORM:
        event.tenantid = owner
    return event
