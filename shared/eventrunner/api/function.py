"""The function `api`: which handler answers which call."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.api.analytics import AnalyticsCalls
from eventrunner.api.audit import AuditCalls, AuditLog
from eventrunner.api.backend import Backend
from eventrunner.api.conditions import tagged, untagged
from eventrunner.api.consumer_logs import ConsumerLogCalls
from eventrunner.api.consumers import ConsumerCalls
from eventrunner.api.dead_letters import DeadLetterCalls
from eventrunner.api.erasure import ErasureCalls
from eventrunner.api.events import EventCalls
from eventrunner.api.live import LiveCalls
from eventrunner.api.openapi.document import describe
from eventrunner.api.places import Places
from eventrunner.api.plans import PlanCalls
from eventrunner.api.replays import ReplayCalls
from eventrunner.api.rule_explanations import RuleExplanations
from eventrunner.api.rule_trials import RuleTrials
from eventrunner.api.rules import RuleCalls
from eventrunner.api.signing_keys import SigningKeyCalls
from eventrunner.api.status import StatusCalls
from eventrunner.api.tenants import TenantCalls
from eventrunner.api.traces import TraceCalls
from eventrunner.clock import Clock, utc_now
from eventrunner.stage.answers import json_response
from eventrunner.stage.body import BODY_LIMIT
from eventrunner.stage.http import BodyLimit, HttpFunction, RouteHandler

__all__ = ["make_function"]

_TRIALS = ("dry-run", "explain")
"""POSTs that change nothing, and bring events."""
_MOST_STREAMS = 16
"""Live at one time in a process: each holds one of its threads."""
_CONDITIONAL = frozenset(
    {
        ("PUT", "/api/v1/tenants/{tenant}"),
        ("DELETE", "/api/v1/tenants/{tenant}"),
        ("PUT", "/api/v1/plans/{plan}"),
        ("PUT", "/api/v1/rules/{tenant}/{name}"),
        ("DELETE", "/api/v1/rules/{tenant}/{name}"),
        ("POST", "/api/v1/rules/{tenant}/{name}/activate"),
        ("PUT", "/api/v1/consumers/{tenant}/{name}"),
        ("DELETE", "/api/v1/consumers/{tenant}/{name}"),
    }
)
"""Calls on what has an ETag: their handlers look at If-Match and If-None-Match."""


def make_function(policies: Path, clock: Clock = utc_now) -> HttpFunction:
    """Opens nothing but the folder of policies before the first request."""
    function = HttpFunction("api")
    backend = Backend(function.settings)
    log = AuditLog(backend, clock)
    for (method, template), handler in _handlers(backend, policies, clock).items():
        is_trial = template.rpartition("/")[2] in _TRIALS
        serve = handler
        if method != "GET" and not is_trial:
            checked = handler if (method, template) in _CONDITIONAL else untagged(handler)
            serve = log.audited(f"{method} {template}", checked)
        function.route(method, template, _body_limit(method, template, is_trial))(serve)
    return function


def _body_limit(method: str, template: str, is_trial: bool) -> BodyLimit:
    if is_trial:
        return lambda settings: settings.max_body_bytes
    if (method, template) == ("PUT", "/api/v1/consumers/{tenant}/{name}"):
        return lambda settings: settings.max_module_bytes
    return lambda _: BODY_LIMIT


def _handlers(backend: Backend, policies: Path, clock: Clock) -> dict[tuple[str, str], RouteHandler]:
    tenants, plans = TenantCalls(backend, clock), PlanCalls(backend)
    erasure, trials, explanations = ErasureCalls(backend, clock), RuleTrials(backend, clock), RuleExplanations(backend)
    rules, events, analytics = RuleCalls(backend, clock), EventCalls(backend), AnalyticsCalls(backend)
    consumers = ConsumerCalls(backend, WasmPolicy.from_folder(policies), clock)
    signing_keys = SigningKeyCalls(backend, clock)
    live = Places(_MOST_STREAMS, "live streams")
    letters, replays, traces = DeadLetterCalls(backend), ReplayCalls(backend, clock), TraceCalls(backend)
    return {
        ("GET", "/api/v1/openapi.json"): _openapi,
        ("GET", "/api/v1/status"): StatusCalls(backend).get,
        ("GET", "/api/v1/tenants/{tenant}"): tenants.get,
        ("PUT", "/api/v1/tenants/{tenant}"): tenants.put,
        ("DELETE", "/api/v1/tenants/{tenant}"): erasure.erase,
        ("POST", "/api/v1/retention/sweep"): erasure.sweep,
        ("POST", "/api/v1/tenants/{tenant}/keys"): tenants.create_key,
        ("GET", "/api/v1/tenants/{tenant}/keys"): tenants.list_keys,
        ("DELETE", "/api/v1/tenants/{tenant}/keys/{key}"): tenants.delete_key,
        ("POST", "/api/v1/tenants/{tenant}/keys/{key}/rotate"): tenants.rotate_key,
        ("GET", "/api/v1/plans/{plan}"): plans.get,
        ("PUT", "/api/v1/plans/{plan}"): plans.put,
        ("GET", "/api/v1/rules/{tenant}"): rules.list_all,
        ("GET", "/api/v1/rules/{tenant}/{name}"): rules.get,
        ("PUT", "/api/v1/rules/{tenant}/{name}"): rules.put,
        ("DELETE", "/api/v1/rules/{tenant}/{name}"): rules.delete,
        ("POST", "/api/v1/rules/{tenant}/{name}/activate"): rules.activate,
        ("POST", "/api/v1/rules/{tenant}/{name}/dry-run"): trials.dry_run,
        ("POST", "/api/v1/rules/{tenant}/{name}/explain"): explanations.explain,
        ("POST", "/api/v1/rules/{tenant}/explain"): explanations.explain_all,
        ("GET", "/api/v1/events/{tenant}"): events.list_all,
        # Before the next one, which `stream` would fit too.
        ("GET", "/api/v1/events/{tenant}/stream"): LiveCalls(backend, live, clock).stream,
        ("GET", "/api/v1/events/{tenant}/{event_id}"): events.get,
        ("GET", "/api/v1/events/{tenant}/{event_id}/trace"): traces.get,
        ("GET", "/api/v1/traces/{tenant}"): traces.find,
        ("GET", "/api/v1/replays/{tenant}"): replays.list_all,
        ("POST", "/api/v1/replays/{tenant}"): replays.create,
        ("GET", "/api/v1/replays/{tenant}/{replay}"): replays.get,
        ("DELETE", "/api/v1/replays/{tenant}/{replay}"): replays.cancel,
        ("GET", "/api/v1/dead-letters/{tenant}"): letters.list_all,
        ("DELETE", "/api/v1/dead-letters/{tenant}"): letters.drop_all,
        ("POST", "/api/v1/dead-letters/{tenant}/replay"): letters.replay_all,
        ("GET", "/api/v1/dead-letters/{tenant}/{letter}"): letters.get,
        ("DELETE", "/api/v1/dead-letters/{tenant}/{letter}"): letters.drop,
        ("POST", "/api/v1/dead-letters/{tenant}/{letter}/replay"): letters.replay,
        ("GET", "/api/v1/consumers/{tenant}"): consumers.list_all,
        ("GET", "/api/v1/consumers/{tenant}/{name}"): consumers.get,
        ("PUT", "/api/v1/consumers/{tenant}/{name}"): consumers.put,
        ("DELETE", "/api/v1/consumers/{tenant}/{name}"): consumers.delete,
        ("GET", "/api/v1/consumers/{tenant}/{name}/logs"): ConsumerLogCalls(backend, live, clock).get,
        ("GET", "/api/v1/signing-keys/{tenant}"): signing_keys.list_all,
        ("POST", "/api/v1/signing-keys/{tenant}"): signing_keys.create,
        ("DELETE", "/api/v1/signing-keys/{tenant}/{key}"): signing_keys.delete,
        ("GET", "/api/v1/audit/{tenant}"): AuditCalls(backend).list_all,
        ("POST", "/api/v1/analytics/rebuild"): analytics.rebuild,
    }


def _openapi(request: Request, _: Identity) -> Response:
    response = json_response(describe())
    return tagged(request, response, hashlib.sha256(response.get_data()).hexdigest()[:16])
