"""The description of the API and the API agree, as schemathesis finds out through the gateway of a whole platform.

https://schemathesis.readthedocs.io
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eventrunner.wasm.signing import SecretKey

from tests.unit.local.test_dev import call, running

pytestmark = [pytest.mark.alone, pytest.mark.peer, pytest.mark.timeout(900)]

FOLDER = Path(__file__).parent / "schemathesis"
RULE = b'rule Late { when Event.data.delay > 15 then Tag("late", "yes"); Retract("Late"); }'
EVENT = b'{"specversion": "1.0", "id": "e1", "source": "/s", "type": "t", "data": {"delay": 20}}'


def test_requests_and_answers_are_what_the_description_says(tmp_path: Path) -> None:
    """At random, and then on a tenant that has something."""
    with running(tmp_path / "data") as (_, ready):
        report = run(ready, tmp_path / "any.json", {})
        assert report["test_cases"]["generated"] >= 2000, report["test_cases"]
        prepare(ready)
        run(ready, tmp_path / "acme.json", {"path.tenant": "acme", "path.name": "late", "path.id": "e1"})


def prepare(ready: dict[str, Any]) -> None:
    assert call(ready, "PUT", "/api/v1/tenants/acme", b"{}")[0] in (200, 201)
    assert call(ready, "PUT", "/api/v1/rules/acme/late", RULE, **{"Content-Type": "text/plain"})[0] == 201
    key = json.dumps({"public_key": SecretKey(bytes(range(32))).public.to_text()}).encode()
    assert call(ready, "POST", "/api/v1/signing-keys/acme", key)[0] == 201
    kind = {"Content-Type": "application/cloudevents+json"}
    assert call(ready, "POST", "/api/v1/events?tenant=acme", EVENT, **kind)[0] == 202


def run(ready: dict[str, Any], report: Path, parameters: dict[str, str]) -> dict[str, Any]:
    config = (FOLDER / "schemathesis.toml").read_text()
    config += "\n[parameters]\n" + "".join(f'"{name}" = "{value}"\n' for name, value in parameters.items())
    (report.parent / "schemathesis.toml").write_text(config)
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", "schemathesis.toml", "run"),
        *(f"{ready['url']}/api/v1/openapi.json", "--header", f"Authorization: Bearer {ready['admin_key']}"),
        *("--checks", "all", "--max-examples", "25", "--seed", "6"),
        *("--continue-on-failure", "--no-color", "--report-json-path", str(report)),
    ]
    environ = {**os.environ, "PYTHONPATH": str(FOLDER)}
    done = subprocess.run(command, cwd=report.parent, env=environ, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    document: dict[str, Any] = json.loads(report.read_text())
    assert document["complete"]
    return document
