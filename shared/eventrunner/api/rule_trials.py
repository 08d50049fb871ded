"""What rules would do: a dry run over events of the body or over stored history."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend
from eventrunner.api.bodies import read_json, read_time
from eventrunner.api.rule_explanations import read_event
from eventrunner.api.rule_sets import Chosen, Draft, RuleSets, compiled
from eventrunner.api.texts import TenantName, Time, VersionNumber
from eventrunner.clock import Clock, format_time, from_micros
from eventrunner.errors import BodyTooLarge, FieldError, InvalidInput
from eventrunner.events.event import micros
from eventrunner.replay.dry_run import DryRun, Stretch, Tally
from eventrunner.replay.record import Counts
from eventrunner.rules import verdict_document
from eventrunner.stage.answers import json_response
from eventrunner.tenancy import PLATFORM

__all__ = ["DryRunBody", "RuleTrials"]

_MAX_EVENTS = 1000
_SECONDS = 5.0
"""For the events of a body: rules may take a quarter of a second for each."""
_COUNTED = ("fired", "emitted", "changed", "dropped", "failed")


class DryRunBody(msgspec.Struct, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}):
    events: list[msgspec.Raw] | None = None
    since: Time | None = None
    until: Time | None = None
    type: str | None = None
    source: str | None = None
    cursor: str | None = None
    text: str | None = None
    version: VersionNumber | None = None
    """Without text and version: the newest."""
    tenant: TenantName | None = None
    """Whose history, for a rule set of the platform."""
    together: bool = False
    """Among all that is in force: after the platform's rules, together with the tenant's other sets."""


class RuleTrials:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._sets = RuleSets(backend)
        self._clock = clock

    def dry_run(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """Nothing is stored or sent."""
        self._sets.check_access(identity, tenant)
        body = read_json(request, DryRunBody)
        chosen = self._sets.draft_or_version(tenant, name, body.text, body.version)
        if chosen is None:
            chosen = compiled(name, self._sets.find(tenant, name).versions[-1])
        if (body.events is None) == (body.since is None):
            message = "give `events`, or `from` for a dry run over what is stored"
            raise InvalidInput(f"Which events? {message.capitalize()}.", (FieldError("events", message),))
        if body.events is None:
            return json_response(self._over_history(body, chosen, tenant, name))
        results = self._over_body(body.events, chosen, Draft(tenant, name, chosen.rules), body.together)
        return json_response({"version": chosen.version, "results": results})

    def _over_body(self, raws: list[msgspec.Raw], chosen: Chosen, draft: Draft, together: bool) -> list[dict[str, Any]]:
        if len(raws) > _MAX_EVENTS:
            raise BodyTooLarge(f"A dry run takes at most {_MAX_EVENTS} events.")
        events = [read_event(raw, f"events[{index}]", draft.owner) for index, raw in enumerate(raws)]
        rules = {
            tenant: self._sets.in_force(tenant, draft).chain if together else chosen.rules
            for tenant in {event.tenantid for event in events}
        }
        results: list[dict[str, Any]] = []
        until = time.monotonic() + _SECONDS
        for event in events:
            if time.monotonic() > until:
                took = f"{len(results)} of {len(events)} events took the rules {_SECONDS:g} s"
                raise BodyTooLarge(f"{took}: send fewer at once.")
            verdict = rules[event.tenantid].evaluate(event, self._sets.facts(event.tenantid))
            results.append(verdict_document(event.id, verdict))
        return results

    def _over_history(self, body: DryRunBody, chosen: Chosen, owner: str, name: str) -> dict[str, Any]:
        stretch = self._stretch(body, owner)
        rules = self._sets.get(owner, name)
        in_force = compiled(name, rules.in_force) if rules is not None and rules.in_force else None
        if body.together:
            draft = Draft(owner, name, chosen.rules)
            tried, current = (self._sets.in_force(stretch.tenant, item).chain for item in (draft, None))
            dry_run = DryRun(tried, current, self._sets.facts(stretch.tenant))
        else:
            dry_run = DryRun(chosen.rules, in_force.rules if in_force else None, self._sets.facts(stretch.tenant))
        tally = dry_run.over(self._backend.store, stretch, body.cursor)
        versions = {"version": chosen.version, "in_force_version": in_force.version if in_force else 0}
        return versions | _document(tally, stretch)

    def _stretch(self, body: DryRunBody, owner: str) -> Stretch:
        """Raises InvalidInput that names every wrong field."""
        problems: list[FieldError] = []
        now = micros(self._clock().isoformat())
        since, until = (_time(field, text, problems) for field, text in (("from", body.since), ("to", body.until)))
        if since is not None and since >= (now if until is None else until):
            problems.append(FieldError("from", "must be before `to` and before now"))
        if body.cursor is not None and body.until is None:
            problems.append(FieldError("to", "give the `to` of the first answer with a cursor"))
        tenant = owner if body.tenant is None else body.tenant
        if owner != PLATFORM and tenant != owner:
            problems.append(FieldError("tenant", "only for a rule set of the platform"))
        if tenant == PLATFORM:
            problems.append(FieldError("tenant", "the platform has no events: name a tenant"))
        if problems:
            reasons = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
            raise InvalidInput(f"No dry run: {reasons}.", tuple(problems))
        assert since is not None
        self._backend.tenant(tenant)
        return Stretch(tenant, since, now if until is None else until, body.type, body.source)


def _time(name: str, text: str | None, problems: list[FieldError]) -> int | None:
    try:
        return read_time(name, text)
    except InvalidInput as error:
        problems += error.fields
        return None


def _document(tally: Tally, stretch: Stretch) -> dict[str, Any]:
    span = max(1, stretch.until - stretch.since)
    progress = 1.0 if tally.cursor is None else max(0.0, min(1.0, (tally.position - stretch.since) / span))
    return {
        "from": format_time(from_micros(stretch.since)),
        "to": format_time(from_micros(stretch.until)),
        "read": tally.read,
        "evaluated": tally.evaluated,
        "matched": tally.matched,
        "draft": _counts(tally.draft),
        "in_force": _counts(tally.in_force),
        "gained": tally.gained,
        "lost": tally.lost,
        "different": tally.different,
        "samples": tally.samples,
        "progress": round(progress, 4),
        "next": tally.cursor,
    }


def _counts(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in _COUNTED}
