"""`eventrunner reload` beside a running `eventrunner dev`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eventrunner.cli.processes import sample_tree

from tests.unit.local.test_dev import call, running

pytestmark = pytest.mark.pipeline

_ROOT = Path(__file__).parents[3]


def _reload(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eventrunner", "reload", "--data-dir", str(data), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _pids(process: subprocess.Popen[str], part: str) -> set[int]:
    return {sample.pid for sample in sample_tree(process.pid) if sample.part == part}


def _answers(ready: dict[str, Any]) -> bool:
    return call(ready, "GET", "/api/v1/tenants/acme")[0] == 404


def test_what_runs_is_replaced_and_what_is_broken_stays_as_it_is(tmp_path: Path) -> None:
    project, data = tmp_path / "project", tmp_path / "data"
    for folder in ("functions", "policies", "rules", "knative"):
        shutil.copytree(_ROOT / folder, project / folder)
    with running(data, "--manifests", str(project / "knative" / "base")) as (process, ready):
        assert _answers(ready)
        api, adapter = _pids(process, "api"), _pids(process, "source adapter")

        done = _reload(data, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"replaced": {"api": 1, "source adapter": 1}, "kept": {}}
        assert _answers(ready)
        newer, (new_adapter,) = _pids(process, "api"), _pids(process, "source adapter")
        assert not newer <= api
        assert new_adapter not in adapter

        (project / "functions" / "api" / "main.py").write_text("raise RuntimeError('half written')")
        done = _reload(data)
        assert done.returncode == 1
        assert "source adapter: 1 new" in done.stdout
        assert "api: the old one stays, because the new one did not become ready: " in done.stderr
        assert "half written" in done.stderr
        assert _answers(ready)
        assert newer & _pids(process, "api")
        log = (data / "logs" / "platform.log").read_text()
        assert "api: the new one did not become ready, so the old one stays" in log


def test_without_a_platform_it_says_how_to_start_one(tmp_path: Path) -> None:
    # As one leaves it that was killed.
    (tmp_path / "dev.json").write_text('{"pid": 1}')
    (tmp_path / "lock").touch()
    done = _reload(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "start one with `eventrunner dev`" in done.stderr
