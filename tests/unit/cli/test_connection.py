from __future__ import annotations

import json
from pathlib import Path

import pytest
from eventrunner.cli.connection import Connection, find_connection
from eventrunner.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTRUNNER_URL", raising=False)
    monkeypatch.delenv("EVENTRUNNER_KEY", raising=False)


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({"url": "http://b", "admin_key": "kb"}))
    monkeypatch.setenv("EVENTRUNNER_URL", "http://a")
    assert find_connection(tmp_path) == Connection("http://a", "kb")


def test_a_running_dev_platform_is_found_by_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({"url": "http://b", "admin_key": "kb"}))
    assert find_connection(tmp_path) == Connection("http://b", "kb")


def test_no_platform_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="eventrunner dev"):
        find_connection(tmp_path)
