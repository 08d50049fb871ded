"""Projects of consumers: the templates that ship, and what a project says of its tools in `project.json`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from eventrunner.errors import Conflict, FieldError, InvalidInput, NotFound

__all__ = [
    "ABOUT",
    "LANGUAGES",
    "MODULE",
    "TEMPLATES",
    "Project",
    "Tool",
    "check_name",
    "missing_tools",
    "read_project",
    "tool_environment",
    "write_project",
]

LANGUAGES: Final = ("assemblyscript", "c", "go", "javascript", "python", "rust")
TEMPLATES: Final = Path(__file__).parents[1] / "guest_projects"
MODULE: Final = Path("build", "consumer.wasm")
"""What a project's `build.sh` writes."""
ABOUT: Final = "project.json"
_SCRIPT: Final = "build.sh"
_WIT: Final = "wit"
_PLACEHOLDER: Final = "{{name}}"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Tool(msgspec.Struct, frozen=True):
    command: str
    why: str
    get: str
    """How to get it, for a person."""
    check: str = ""
    """A shell command that succeeds where the tool can be used; else it is enough that `command` is on the PATH."""


class Project(msgspec.Struct, frozen=True):
    language: str
    tools: tuple[Tool, ...]
    wit: bool = True
    """Whether the project has the WIT that all share; a waPC module has no use for it."""
    instance: Literal["fresh", "reuse"] = "fresh"
    """How it is meant to be deployed, and how it is tried where nothing else is said."""


def check_name(name: str) -> str:
    """Returns the name. Raises InvalidInput if it would not do in every language."""
    if _NAME.fullmatch(name) is None:
        message = "1 to 63 lower-case letters, digits and '-', a letter first"
        raise InvalidInput(
            f"{name!r} is no name for a consumer's project: use {message}.", (FieldError("name", message),)
        )
    return name


def read_project(folder: Path) -> Project:
    """Raises NotFound and InvalidInput that say what is wrong with `project.json`."""
    file = folder / ABOUT
    if not file.is_file():
        raise NotFound(
            f"{folder} is no project of a consumer, as it has no {ABOUT}: begin one with `eventrunner consumer new`."
        )
    try:
        return msgspec.json.decode(file.read_bytes(), type=Project)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{file}: {error}.") from error


def write_project(language: str, name: str, folder: Path) -> Project:
    """Raises Conflict when there is something in the folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there already and not empty; nothing was written. Name another one with --dir.")
    template = TEMPLATES / language
    project = read_project(template)
    for source, path in _files(template, project):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes().replace(_PLACEHOLDER.encode(), name.encode()))
    (folder / _SCRIPT).chmod(0o755)
    return project


def _files(template: Path, project: Project) -> Iterator[tuple[Path, Path]]:
    """Each file with its path in the project."""
    roots = [(template, Path())] + ([(TEMPLATES / _WIT, Path(_WIT))] if project.wit else [])
    for root, place in roots:
        for path in sorted(root.rglob("*")):
            # pip compiles the Python files of what it installs.
            if path.is_file() and "__pycache__" not in path.parts:
                yield path, place / path.relative_to(root)


def tool_environment() -> Mapping[str, str]:
    """Of a build: what is installed beside this Python comes first, so that no virtual environment has to be active."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {**os.environ, "PATH": path}


def missing_tools(project: Project, folder: Path) -> list[Tool]:
    return [tool for tool in project.tools if not _is_there(tool, folder)]


def _is_there(tool: Tool, folder: Path) -> bool:
    environment = tool_environment()
    if not tool.check:
        return shutil.which(tool.command, path=environment["PATH"]) is not None
    done = subprocess.run(["sh", "-c", tool.check], cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode == 0
