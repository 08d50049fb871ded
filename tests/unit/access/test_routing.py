"""Every call has exactly one rule, and no spelling of a path reaches another one's."""

from __future__ import annotations

from pathlib import Path

import pytest
from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.routing import MethodNotAllowed, Router, check_path
from eventrunner.errors import MalformedPath, NotFound

RULES = load_access_rules(Path(__file__).parents[3] / "policies" / "access-rules.yaml")
ROUTER = Router(RULES)

CALLS = [
    ("POST", "/api/v1/events", "events-publish", "ingest-http"),
    ("GET", "/api/v1/events/acme", "events-list", "api"),
    ("GET", "/api/v1/events/acme/e-1", "events-get", "api"),
    ("GET", "/api/v1/events/acme/a%20b", "events-get", "api"),
    ("GET", "/api/v1/events/acme/e-1/trace", "events-trace", "api"),
    ("GET", "/api/v1/traces/acme", "traces-find", "api"),
    ("GET", "/api/v1/events/acme/stream", "events-stream", "api"),
    ("POST", "/api/v1/replays/acme", "replays-create", "api"),
    ("GET", "/api/v1/replays/acme", "replays-list", "api"),
    ("GET", "/api/v1/replays/acme/r1", "replays-get", "api"),
    ("DELETE", "/api/v1/replays/acme/r1", "replays-cancel", "api"),
    ("GET", "/api/v1/rules/acme", "rules-list", "api"),
    ("GET", "/api/v1/rules/acme/flights", "rules-get", "api"),
    ("PUT", "/api/v1/rules/acme/flights", "rules-put", "api"),
    ("DELETE", "/api/v1/rules/acme/flights", "rules-delete", "api"),
    ("POST", "/api/v1/rules/acme/flights/activate", "rules-activate", "api"),
    ("POST", "/api/v1/rules/acme/flights/dry-run", "rules-dry-run", "api"),
    ("POST", "/api/v1/rules/acme/flights/explain", "rules-explain", "api"),
    ("POST", "/api/v1/rules/acme/explain", "rules-explain-all", "api"),
    ("GET", "/api/v1/consumers/acme", "consumers-list", "api"),
    ("GET", "/api/v1/consumers/acme/c", "consumers-get", "api"),
    ("PUT", "/api/v1/consumers/acme/c", "consumers-put", "api"),
    ("DELETE", "/api/v1/consumers/acme/c", "consumers-delete", "api"),
    ("GET", "/api/v1/consumers/acme/c/logs", "consumers-logs", "api"),
    ("GET", "/api/v1/signing-keys/acme", "signing-keys-list", "api"),
    ("POST", "/api/v1/signing-keys/acme", "signing-keys-create", "api"),
    ("DELETE", "/api/v1/signing-keys/acme/0123456789abcdef", "signing-keys-delete", "api"),
    ("GET", "/api/v1/dead-letters/acme", "dead-letters-list", "api"),
    ("GET", "/api/v1/dead-letters/acme/7", "dead-letters-get", "api"),
    ("POST", "/api/v1/dead-letters/acme/7/replay", "dead-letters-replay", "api"),
    ("DELETE", "/api/v1/dead-letters/acme/7", "dead-letters-delete", "api"),
    ("POST", "/api/v1/dead-letters/acme/replay", "dead-letters-replay-all", "api"),
    ("DELETE", "/api/v1/dead-letters/acme", "dead-letters-delete-all", "api"),
    ("GET", "/api/v1/tenants/acme", "tenants-get", "api"),
    ("PUT", "/api/v1/tenants/acme", "tenants-put", "api"),
    ("POST", "/api/v1/tenants/acme/keys", "keys-create", "api"),
    ("DELETE", "/api/v1/tenants/acme/keys/k1", "keys-delete", "api"),
    ("GET", "/api/v1/tenants/acme/keys", "keys-list", "api"),
    ("GET", "/api/v1/audit/acme", "audit-list", "api"),
    ("POST", "/api/v1/tenants/acme/keys/k1/rotate", "keys-rotate", "api"),
    ("GET", "/api/v1/usage/acme", "usage-get", "billing"),
    ("GET", "/api/v1/invoice/acme", "invoices-latest", "billing"),
    ("GET", "/api/v1/invoice/acme/2026-10", "invoices-get", "billing"),
    ("GET", "/api/v1/invoices/acme", "invoices-list", "billing"),
    ("POST", "/api/v1/billing/close", "billing-close", "billing"),
    ("POST", "/api/v1/retention/sweep", "retention-sweep", "api"),
    ("GET", "/api/v1/status", "status-get", "api"),
    ("DELETE", "/api/v1/tenants/acme", "tenants-delete", "api"),
    ("POST", "/api/v1/analytics/rebuild", "analytics-rebuild", "api"),
    ("GET", "/api/v1/plans/standard", "plans-get", "api"),
    ("PUT", "/api/v1/plans/standard", "plans-put", "api"),
    ("GET", "/metrics", "metrics-get", "api"),
    ("GET", "/healthz", "healthz", "api"),
    ("GET", "/readyz", "readyz", "api"),
    ("GET", "/api/v1/openapi.json", "openapi", "api"),
]


@pytest.mark.parametrize(("method", "path", "rule_id", "service"), CALLS)
def test_every_call_is_governed_by_exactly_one_rule(method, path, rule_id, service):
    assert [rule.id for rule in RULES if method in rule.methods and rule.pattern.fullmatch(path)] == [rule_id]
    rule, tenant = ROUTER.find(method, path)
    assert (rule.id, rule.service) == (rule_id, service)
    assert tenant in ("", "acme", "standard")


def test_every_rule_governs_a_call():
    assert {rule.id for rule in RULES} == {call[2] for call in CALLS}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//api/v1/events",
        "/api//v1/events",
        "/api/v1/events//acme",
        "/api/v1/events/./acme",
        "/api/v1/events/globex/../acme",
        "/api/v1/events/..",
        "/api/v1/events/%2e%2e/acme",
        "/api/v1/events/%2E/acme",
        "/api/v1/events/.%2e/acme",
        "/api/v1/events/acme%2Ftrace",
        "/api/v1/events/acme%2f..%2fglobex",
        "/api/v1/events/acme%5Cx",
        "/api/v1/events/acme\\x",
        "/api/v1/%65vents/acme",
        "/api/v1/events/%61cme",
        "/api/v1/events/acme/%00",
        "/api/v1/events/acme/a%0d%0ab",
        "/api/v1/events/acme/%7f",
        "/api/v1/events/acme/%",
        "/api/v1/events/acme/%zz",
        "/api/v1/events/acme/%2",
        "/api/v1/events/acme/a b",
        "/api/v1/events/acme/é",
        "/api/v1/events/acme#x",
        "/api/v1/events/acme/<x>",
        "http://other/api/v1/events/acme",
        "api/v1/events",
        "*",
    ],
)
def test_a_path_with_two_readings_is_refused(path):
    with pytest.raises(MalformedPath):
        ROUTER.find("GET", path)


def test_an_id_that_no_path_can_hold_has_another_way():
    with pytest.raises(MalformedPath, match=r"\?id="):
        ROUTER.find("GET", "/api/v1/events/acme/a%2Fb")


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/", "/a.b/c..d", "/.well-known/x", "/a/...", "/a/%20%C3%A9%25", "/a;b=c,d"]
)
def test_a_path_with_one_reading_is_fine(path):
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/API/V1/EVENTS/acme",
        "/api/v1/Events/acme",
        "/api/v2/events/acme",
        "/api/v1/events/acme/",
        "/api/v1/events;x/acme",
        "/api/v1/events/acme;x=1",
        "/api/v1/events/ac.me",
        "/api/v1/events/" + "a" * 64,
        "/api/v1/events/acme/e/trace/x",
        "/api/v1/rules/acme/flights/explode",
        "/api/v1/secrets/acme",
        "/api/v1/healthz",
        "/healthz/x",
        "/portal/",
    ],
)
def test_nothing_else_is_served(path):
    with pytest.raises(NotFound):
        ROUTER.find("GET", path)


def test_a_wrong_method_is_told_the_right_ones():
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTER.find("PATCH", "/api/v1/rules/acme/flights")
    assert caught.value.allow == ("DELETE", "GET", "PUT")
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTER.find("GET", "/api/v1/events")
    assert caught.value.allow == ("POST",)
