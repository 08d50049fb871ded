"""The command line prints the audit log, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from support_api import served_api
from support_identity import sign


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served_api(tmp_path) as (url, _):
        monkeypatch.setenv("EVENTRUNNER_URL", url)
        monkeypatch.setenv("EVENTRUNNER_KEY", sign(Identity("root", "", ("admin",))))
        yield url


def test_changes_are_printed_a_line_each(url: str) -> None:
    def run(*arguments: str) -> list[str]:
        return CliRunner().invoke(cli, arguments, catch_exceptions=False).output.splitlines()

    run("tenant", "create", "acme")
    run("tenant", "retention", "acme", "--days", "5")
    first, second = run("audit", "acme")
    assert "root  PUT /api/v1/tenants/acme  201  tenants -→" in first
    assert "200  tenants " in second
    assert [json.loads(line)["status"] for line in run("audit", "acme", "--json")] == [201, 200]
    assert len(run("audit", "acme", "--limit", "1")) == 1
    assert run("audit", "acme", "--from", "2200-01-01T00:00:00Z") == []
