"""`eventrunner consumer new` and `build`: a project is written, its toolchain checked, what it builds too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from eventrunner.cli.guest_projects import TEMPLATES, read_project
from eventrunner.cli.main import cli
from eventrunner.events import check_event, decode_incoming
from support_wasm import actor, component

SHIPPED = sorted(path.parent.name for path in TEMPLATES.glob("*/project.json"))
NAMED = "alerts-2"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["consumer", *arguments])


def project(folder: Path, script: str, **tool: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tools = [{"why": "is for a test", "get": "get it somewhere", **tool}] if tool else []
    (folder / "project.json").write_text(json.dumps({"language": "c", "tools": tools}))
    (folder / "build.sh").write_text(script)
    return folder


def ready(folder: Path, code: bytes) -> Path:
    """A project that has only to copy what it builds."""
    made = project(folder, "mkdir -p build; cp made.wasm build/consumer.wasm")
    (made / "made.wasm").write_bytes(code)
    return made


@pytest.mark.parametrize("language", SHIPPED)
def test_new_writes_a_complete_project_under_its_name(tmp_path: Path, language: str) -> None:
    folder = tmp_path / "made"
    made = run("new", NAMED, "--lang", language, "--dir", str(folder))
    assert made.exit_code == 0, made.output
    assert all(tool.get in made.output for tool in read_project(folder).tools)
    assert made.output.endswith(f"  cd {folder}\n  eventrunner consumer build\n  eventrunner consumer run\n")
    texts = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {"project.json", "build.sh", "event.json", "README.md", ".gitignore"} < texts.keys()
    assert ("wit/world.wit" in texts) is read_project(folder).wit
    assert not [name for name, text in texts.items() if "{{" + "name}}" in text]
    assert texts["README.md"].startswith(f"# {NAMED}\n")
    assert (folder / "build.sh").stat().st_mode & 0o111
    event = decode_incoming(texts["event.json"].encode())
    event.tenantid = "acme"
    check_event(event)


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused = run("new", NAMED, "--lang", "python", "--dir", str(tmp_path))
    assert (refused.exit_code, "not empty; nothing was written" in str(refused.exception)) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["Alerts", "2nd", "a_b", "a" * 64, "../up", ""])
def test_a_name_that_some_language_cannot_have_is_refused(name: str) -> None:
    refused = run("new", name, "--lang", "python")
    assert "use 1 to 63 lower-case letters" in str(refused.exception)


def test_build_says_what_is_built(tmp_path: Path) -> None:
    code = component("wasi:logging/logging@0.1.0-draft")
    folder = ready(tmp_path, code)
    file = folder / "build" / "consumer.wasm"
    built = run("build", str(folder))
    expected = f"{file}: component of {len(code)} bytes\n  imports wasi:logging/logging@0.1.0-draft\n"
    assert (built.exit_code, built.output) == (0, expected)
    assert json.loads(run("build", str(folder), "--json").output) == {
        "file": str(file),
        "kind": "component",
        "size": len(code),
        "imports": ["wasi:logging/logging@0.1.0-draft"],
        "exports": ["wasmcloud:messaging/handler@0.2.0"],
    }
    assert "module of" in run("build", str(ready(tmp_path / "old", actor(("wapc", "__guest_error"))))).output


def test_build_names_every_missing_tool_with_how_to_get_it(tmp_path: Path) -> None:
    folder = project(tmp_path, "exit 1", command="no-such-compiler")
    problem = str(run("build", str(folder)).exception)
    assert problem.endswith("\n  no-such-compiler, which is for a test: get it somewhere")
    found = project(tmp_path, "exit 1", command="sh", check="test -e build.sh")
    assert "status 1" in str(run("build", str(found)).exception)
    old = project(tmp_path, "exit 1", command="sh", check="test -e nothing")
    assert "get it somewhere" in str(run("build", str(old)).exception)


def test_a_build_that_fails_leaves_no_module_of_an_earlier_one(tmp_path: Path) -> None:
    folder = ready(tmp_path, component())
    assert run("build", str(folder)).exit_code == 0
    project(folder, "exit 3")
    assert "build.sh ended with status 3" in str(run("build", str(folder)).exception)
    project(folder, "true")
    assert "has not written build/consumer.wasm" in str(run("build", str(folder)).exception)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (component("wasi:sockets/tcp@0.2.0"), "imports what no consumer of acme is given: wasi:sockets/tcp@0.2.0"),
        (actor(("env", "abort")), "imports what no consumer of acme is given: env.abort"),
        (component(serves=False), "exports no wasmcloud:messaging/handler@0.2.0"),
        (b"text", "begins with 74 65 78 74"),
    ],
)
def test_build_refuses_what_could_not_be_deployed(tmp_path: Path, code: bytes, problem: str) -> None:
    assert problem in str(run("build", str(ready(tmp_path, code))).exception)


def test_a_folder_that_is_no_project_is_told_apart(tmp_path: Path) -> None:
    assert "is no project of a consumer" in str(run("build", str(tmp_path)).exception)
    (tmp_path / "project.json").write_text('{"language": "c"}')
    assert "missing required field `tools`" in str(run("build", str(tmp_path)).exception)
