"""Consumers of every language: the project templates and the examples, built by their own toolchains and run.

The template for Python is built by the test of docs/consumers.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eventrunner.cli.guest_projects import LANGUAGES, TEMPLATES, missing_tools, read_project
from eventrunner.cli.main import cli

from tests.support import unavailable

# Python and QuickJS are large to compile.
pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/consumers/*/project.json"))
MADE = shutil.ignore_patterns("build", "node_modules", "packages", "target", "__pycache__", ".venv")


@pytest.fixture(autouse=True, scope="module")
def rust_builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In one place, so that Rust's standard library is built once if there is only its source."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARGO_TARGET_DIR", str(tmp_path_factory.mktemp("cargo")))
        yield


def consumer(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["consumer", *arguments])


def handled(folder: Path) -> list[dict[str, Any]]:
    """Builds the project and runs it on its events: a document for each."""
    if missing := missing_tools(read_project(folder), folder):
        unavailable("; ".join(f"needs {tool.command}: {tool.get}" for tool in missing))
    built = consumer("build", str(folder))
    assert (built.exit_code, built.exception) == (0, None)
    ran = consumer("run", str(folder), "--json", "--module-cache", str(folder / "build" / "native"))
    assert ran.exit_code == 0, ran.output
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "python"])
def test_what_consumer_new_writes_can_be_built_and_publishes(tmp_path: Path, language: str) -> None:
    folder = tmp_path / "project"
    assert consumer("new", "late-flights", "--lang", language, "--dir", str(folder)).exit_code == 0
    assert [len(event["published"]) for event in handled(folder)] == [1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_publishes_what_it_says(tmp_path: Path, example: Path) -> None:
    folder = tmp_path / example.name
    shutil.copytree(example, folder, ignore=MADE)
    found = [
        {
            "outcome": event["outcome"],
            "published": [{"subject": it["subject"], "data": it["event"].get("data")} for it in event["published"]],
        }
        for event in handled(folder)
    ]
    assert found == json.loads((folder / "expected.json").read_text())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_built_as_the_template_of_its_language_is(example: Path) -> None:
    project = read_project(example)
    template = TEMPLATES / project.language
    same = [(template / path.name, path) for path in example.glob("build.*")]
    if project.wit:
        wit = TEMPLATES / "wit"
        same += [(path, example / "wit" / path.relative_to(wit)) for path in wit.rglob("*.wit")]
    for source, copy in same:
        assert copy.read_bytes() == source.read_bytes(), copy
    assert project.tools == read_project(template).tools


def test_every_language_has_a_template_and_an_example() -> None:
    assert {path.parent.name for path in TEMPLATES.glob("*/project.json")} == set(LANGUAGES)
    assert {read_project(path).language for path in EXAMPLES} == set(LANGUAGES)
