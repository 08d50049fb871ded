from __future__ import annotations

from pathlib import Path

import pytest
from eventrunner.errors import ConfigurationError
from eventrunner.local.project import find_project

from tests.unit.local.support import ECHO, make_project


def test_the_project_of_the_package_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (find_project().root / "pyproject.toml").is_file()


def test_given_manifests_decide_the_project(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"my-echo": ECHO})
    assert find_project(project.manifests) == project
    assert project.function("my-echo") == tmp_path / "functions" / "my_echo" / "main.py"


def test_a_service_without_a_function_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nobody has no function: .*functions/nobody/main\.py"):
        make_project(tmp_path, {"echo": ECHO}).function("nobody")


def test_missing_manifests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        find_project(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="functions"):
        find_project(tmp_path)
