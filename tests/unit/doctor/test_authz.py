"""The request matrix says what the policy says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.policy import Policy
from eventrunner.doctor.authz import matrix

POLICIES = Path(__file__).parents[3] / "policies"


def test_every_call_has_its_rows() -> None:
    rules = load_access_rules(POLICIES / "access-rules.yaml")
    rows = matrix(rules, Policy.from_folder(POLICIES))
    assert {row.call for row in rows} == {f"{method} {rule.template}" for rule in rules for method in rule.methods}
    by_call = {(row.call, row.whose): row.allowed for row in rows}
    assert by_call["GET /api/v1/rules/*", "own"] == {
        "nobody": False,
        "admin": True,
        "user": True,
        "event_publisher": False,
    }
    assert by_call["GET /api/v1/rules/*", "other"]["user"] is False
    assert by_call["POST /api/v1/events", "own"]["event_publisher"] is True
    assert by_call["GET /healthz", ""]["nobody"] is True


def test_the_command_prints_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eventrunner", "doctor", "authz", "--json", "--policies", str(POLICIES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    rows = json.loads(done.stdout)
    assert {"call": "PUT /api/v1/plans/*", "whose": ""}.items() <= next(
        row for row in rows if row["call"] == "PUT /api/v1/plans/*"
    ).items()
