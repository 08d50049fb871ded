"""The local gateway refuses the bodies that the functions behind it would refuse, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from eventrunner.access.access_rules import AccessRule, load_access_rules
from eventrunner.api import billing, function
from eventrunner.local.body_limits import body_limits
from eventrunner.settings import Settings
from eventrunner.stage.body import BODY_LIMIT

POLICIES = Path(__file__).parents[3] / "policies"
SETTINGS = Settings(max_body_bytes=2_000_001, max_module_bytes=3_000_001)


def of_functions() -> dict[tuple[str, str], int]:
    functions = (function.make_function(POLICIES), billing.make_function())
    limits = {route: limit for item in functions for route, limit in item.body_limits(SETTINGS).items()}
    return {(method, re.sub(r"\{\w+\}", "*", path)): limit for (method, path), limit in limits.items()}


def of_gateway(rule: AccessRule) -> int:
    return body_limits(SETTINGS).get(rule.id, BODY_LIMIT)


def test_a_call_has_one_limit_in_the_gateway_and_in_its_function() -> None:
    served = of_functions()
    rules = [rule for rule in load_access_rules(POLICIES / "access-rules.yaml") if rule.permission is not None]
    of_ingest = {rule.id: of_gateway(rule) for rule in rules if rule.service == "ingest-http"}
    assert of_ingest == {"events-publish": SETTINGS.max_body_bytes}
    for rule in rules:
        if rule.id not in of_ingest and rule.template != "/metrics":
            assert (rule.id, of_gateway(rule)) == (rule.id, served[rule.methods[0], rule.template])


def test_limits_are_of_rules_that_are_there() -> None:
    assert body_limits(SETTINGS).keys() <= {rule.id for rule in load_access_rules(POLICIES / "access-rules.yaml")}
