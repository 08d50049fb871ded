"""The local gateway reads the very file that Oathkeeper reads, and refuses what it would not follow."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from eventrunner.access.access_rules import Credential, TenantFrom, load_access_rules, parse_access_rules
from eventrunner.errors import ConfigurationError

FOLDER = Path(__file__).parents[3] / "policies"
RULES = load_access_rules(FOLDER / "access-rules.yaml")
PAYLOAD = (
    '{"subject": {"authenticated": true, "id": {{ .Subject | toJson }}, "tenant": {{ .Extra.tenant | toJson }}, '
    '"roles": {{ .Extra.roles | toJson }}}, "resource": "rules", "action": "get", '
    '"tenant": {{ printIndex .MatchContext.RegexpCaptureGroups 2 | toJson }}}'
)


def rule(**changes: object) -> dict[str, object]:
    good = {
        "id": "one",
        "upstream": {"url": "http://api.eventrunner.svc.cluster.local"},
        "match": {"methods": ["GET"], "url": "<https?>://<[^/]+>/api/v1/rules/<[a-z]+>"},
        "authenticators": [{"handler": "bearer_token", "config": {"prefix": "er_"}}],
        "authorizer": {"handler": "remote_json", "config": {"payload": PAYLOAD}},
        "mutators": [{"handler": "id_token"}, {"handler": "header"}],
        "errors": [{"handler": "json"}],
    }
    return {**good, **changes}


def parse(*rules: object):
    return parse_access_rules(yaml.safe_dump(list(rules)))


def test_a_rule_is_read_whole():
    (one,) = parse(rule())
    assert (one.id, one.service, one.methods, one.literal) == ("one", "api", ("GET",), None)
    assert one.permission is not None
    assert (one.permission.resource, one.permission.action, one.permission.tenant) == ("rules", "get", TenantFrom.PATH)
    assert one.credentials == (Credential.BEARER_KEY,)
    assert one.pattern.fullmatch("/api/v1/rules/acme")


def test_text_outside_the_brackets_is_literal():
    (one,) = parse(rule(match={"methods": ["GET"], "url": "<https?>://<[^/]+>/a.b/<[a-z]+>"}))
    assert one.pattern.fullmatch("/a.b/acme")
    assert not one.pattern.fullmatch("/a-b/acme")


def test_every_rule_that_ships_asks_for_credentials_but_for_health_and_the_description():
    public = {one.id for one in RULES if one.permission is None}
    assert public == {"healthz", "readyz", "openapi"}


def test_what_ships_needs_only_handlers_that_the_configuration_enables():
    rules = yaml.safe_load((FOLDER / "access-rules.yaml").read_text())
    configuration = yaml.safe_load((FOLDER / "oathkeeper.yaml").read_text())
    used = {
        "authenticators": {handler["handler"] for one in rules for handler in one["authenticators"]},
        "authorizers": {one["authorizer"]["handler"] for one in rules},
        "mutators": {handler["handler"] for one in rules for handler in one["mutators"]},
    }
    for kind, names in used.items():
        assert names == {name for name, part in configuration[kind].items() if part["enabled"]}, kind


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": 7}, "needs an id"),
        ({"version": "v0.40"}, "unknown: version"),
        ({"upstream": {"url": "http://evil.example"}}, "upstream.url"),
        ({"upstream": {"url": "http://api.eventrunner.svc.cluster.local", "strip_path": "/api"}}, "strip_path"),
        ({"match": {"methods": [], "url": "<https?>://<[^/]+>/a"}}, "methods"),
        ({"match": {"methods": ["get"], "url": "<https?>://<[^/]+>/a"}}, "methods"),
        ({"match": {"methods": ["GET"], "url": "http://localhost/a"}}, "must start with"),
        ({"match": {"methods": ["GET"], "url": "<https?>://<[^/]+>/<a"}}, "do not pair"),
        ({"match": {"methods": ["GET"], "url": "<https?>://<[^/]+>/<(a)>"}}, "groups"),
        ({"match": {"methods": ["GET"], "url": "<https?>://<[^/]+>/<[>"}}, "regular expression"),
        ({"match": {"methods": ["GET"], "url": "<https?>://<[^/]+>/fixed"}}, "no variable part"),
        ({"authenticators": []}, "not empty"),
        ({"authenticators": [{"handler": "cookie_session"}]}, "cookie_session"),
        ({"authenticators": [{"handler": "noop"}]}, "asks nobody"),
        ({"authenticators": [{"handler": "jwt"}, {"handler": "noop"}]}, "asks nobody"),
        # It refuses whoever sends credentials, which nobody else would.
        ({"authenticators": [{"handler": "anonymous"}], "authorizer": {"handler": "allow"}}, "anonymous"),
        ({"authenticators": [{"handler": "bearer_token", "config": {"prefix": ""}}]}, "bearer_token"),
        ({"authorizer": {"handler": "allow"}}, "needs a permission"),
        ({"authorizer": {"handler": "remote_json"}}, "authorizer"),
        (
            {"authorizer": {"handler": "remote_json", "config": {"payload": PAYLOAD, "remote": "http://x"}}},
            "authorizer",
        ),
        ({"authorizer": {"handler": "remote_json", "config": {"payload": "{"}}}, "not JSON"),
        (
            {"authorizer": {"handler": "remote_json", "config": {"payload": PAYLOAD.replace(" | toJson", "")}}},
            "both gateways",
        ),
        (
            {"authorizer": {"handler": "remote_json", "config": {"payload": PAYLOAD.replace("true", "false")}}},
            "both gateways",
        ),
        ({"mutators": [{"handler": "noop"}]}, "id_token"),
        ({"mutators": [{"handler": "header"}]}, "id_token"),
        ({"mutators": [{"handler": "id_token"}]}, "header"),
        ({"mutators": [{"handler": "id_token", "config": {"ttl": "1h"}}, {"handler": "header"}]}, "id_token"),
        ({"errors": [{"handler": "redirect"}]}, "redirect"),
    ],
)
def test_what_is_not_understood_is_refused(changes, reason):
    with pytest.raises(ConfigurationError, match=reason):
        parse(rule(**changes))


def test_ids_are_unique():
    with pytest.raises(ConfigurationError, match="same id"):
        parse(rule(), rule())


@pytest.mark.parametrize("text", ["", "{}", "a: [", "- 1", "- {}"])
def test_a_file_that_is_no_list_of_rules_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_access_rules(text)


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_access_rules(tmp_path / "none.yaml")
