"""An image installs the extra of its function and nothing else, so the function may import nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[3]
_PROJECT: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_EXTRAS: dict[str, list[str]] = _PROJECT["optional-dependencies"]
_FUNCTIONS = sorted(main.parent.name for main in _ROOT.glob("functions/*/main.py"))

_REPORT = """
import json, os, threading
links = [os.readlink(path) for fd in os.listdir("/proc/self/fd") if os.path.lexists(path := "/proc/self/fd/" + fd)]
print(json.dumps([threading.active_count() - 1, [link for link in links if link.startswith("socket:")]]))
"""
_WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Without())
"""


def _run(statement: str, extra: str) -> tuple[int, list[str]]:
    """Runs it where nothing but the extra is installed; the threads and sockets that are there afterwards."""
    code = _WITHOUT.format(missing=_missing_with(extra)) + statement + _REPORT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    threads, sockets = json.loads(done.stdout.splitlines()[-1])
    return threads, sockets


def _installed_by(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that pip would install."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            for text in metadata.requires(name) or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    needed.marker = None
                    waiting.append(needed)
    return {name for name, _ in found}


def _missing_with(extra: str) -> set[str]:
    """Top-level modules of this environment that would not be there."""
    installed = _installed_by([*_PROJECT["dependencies"], *_EXTRAS[extra]]) | {"eventrunner"}
    owners = metadata.packages_distributions().items()
    return {module for module, names in owners if not {canonicalize_name(name) for name in names} & installed}


def test_every_function_has_an_extra_that_every_pip_knows_by_its_name() -> None:
    # Older pips compare the text of an extra with the normalised one in the metadata.
    assert {name.replace("_", "-") for name in _FUNCTIONS} <= set(_EXTRAS)
    assert [name for name in _EXTRAS if name != canonicalize_name(name)] == []


@pytest.mark.parametrize("function", _FUNCTIONS)
def test_a_function_imports_what_its_extra_brings_and_opens_nothing(function: str) -> None:
    statement = f"sys.path.insert(0, {str(_ROOT / 'functions' / function)!r}); import main"
    assert _run(statement, function.replace("_", "-")) == (0, [])


def test_the_source_adapter_needs_its_extra_only() -> None:
    assert _run("import eventrunner.cli.main, eventrunner.cli.source, eventrunner.cli.streams", "source") == (0, [])
