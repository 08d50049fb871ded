"""The function `api`: which handler answers which call."""

from __future__ import annotations

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.analytics import AnalyticsCalls
from eventrunner.api.backend import Backend
from eventrunner.api.dead_letters import DeadLetterCalls
from eventrunner.api.erasure import ErasureCalls
from eventrunner.api.events import EventCalls
from eventrunner.api.live import LiveCalls
from eventrunner.api.openapi import describe
from eventrunner.api.plans import PlanCalls
from eventrunner.api.replays import ReplayCalls
from eventrunner.api.rule_explanations import RuleExplanations
from eventrunner.api.rule_trials import RuleTrials
from eventrunner.api.rules import RuleCalls
from eventrunner.api.status import StatusCalls
from eventrunner.api.tenants import TenantCalls
from eventrunner.api.traces import TraceCalls
from eventrunner.clock import Clock, utc_now
from eventrunner.stage.answers import json_response
from eventrunner.stage.http import HttpFunction, RouteHandler

__all__ = ["make_function"]


def make_function(clock: Clock = utc_now) -> HttpFunction:
    """Opens nothing before the first request."""
    function = HttpFunction("api")
    backend = Backend(function.settings)
    for (method, template), handler in _handlers(backend, clock).items():
        function.route(method, template)(handler)
    return function


def _handlers(backend: Backend, clock: Clock) -> dict[tuple[str, str], RouteHandler]:
    tenants, plans = TenantCalls(backend, clock), PlanCalls(backend)
    erasure, trials, explanations = ErasureCalls(backend, clock), RuleTrials(backend, clock), RuleExplanations(backend)
    rules, events, analytics = RuleCalls(backend, clock), EventCalls(backend), AnalyticsCalls(backend)
    letters, replays = DeadLetterCalls(backend), ReplayCalls(backend, clock)
    return {
        ("GET", "/api/v1/openapi.json"): _openapi,
        ("GET", "/api/v1/status"): StatusCalls(backend).get,
        ("GET", "/api/v1/tenants/{tenant}"): tenants.get,
        ("PUT", "/api/v1/tenants/{tenant}"): tenants.put,
        ("DELETE", "/api/v1/tenants/{tenant}"): erasure.erase,
        ("POST", "/api/v1/retention/sweep"): erasure.sweep,
        ("POST", "/api/v1/tenants/{tenant}/keys"): tenants.create_key,
        ("DELETE", "/api/v1/tenants/{tenant}/keys/{key}"): tenants.delete_key,
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
        ("GET", "/api/v1/events/{tenant}/stream"): LiveCalls(backend).stream,
        ("GET", "/api/v1/events/{tenant}/{event_id}"): events.get,
        ("GET", "/api/v1/events/{tenant}/{event_id}/trace"): TraceCalls(backend).get,
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
        ("POST", "/api/v1/analytics/rebuild"): analytics.rebuild,
    }


def _openapi(_: Request, __: Identity) -> Response:
    return json_response(describe())
