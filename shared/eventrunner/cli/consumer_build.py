"""`eventrunner consumer build`: from a project to WebAssembly that will be taken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import click

from eventrunner.cli.guest_projects import MODULE, missing_tools, read_project, tool_environment
from eventrunner.cli.wasm_policy import find_wasm_policy
from eventrunner.errors import ConfigurationError, InvalidInput
from eventrunner.wasm.binary import Kind, Module, read_module

__all__ = ["build", "build_project"]

_HANDLERS: Final = {Kind.COMPONENT: "wasmcloud:messaging/handler@0.2.0", Kind.MODULE: "__guest_call"}


@click.command("build")
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--tenant", default="acme", show_default=True, help="Whose imports the policy allows.")
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON.")
def build(folder: Path, tenant: str, as_json: bool) -> None:
    """Build the project in FOLDER into build/consumer.wasm and check what it imports.

    Says what is missing on this machine, and how to get it.
    """
    file = build_project(folder)
    code = file.read_bytes()
    module = read_module(code)
    unchecked = _check(module, tenant)
    imports = [str(item) for item in module.imports]
    if as_json:
        document: dict[str, Any] = {"file": str(file), "kind": module.kind.value, "size": len(code)}
        click.echo(json.dumps(document | {"imports": imports, "exports": list(module.exports)}))
        return
    click.echo(f"{file}: {module.kind} of {len(code)} bytes")
    click.echo(f"  imports {', '.join(imports) or 'nothing'}")
    if unchecked:
        click.echo(f"  its imports are checked when it is deployed: {unchecked}", err=True)


def build_project(folder: Path) -> Path:
    """The file that was built. Raises ConfigurationError if tools are missing, InvalidInput if it does not build."""
    project = read_project(folder)
    if missing := missing_tools(project, folder):
        lines = "".join(f"\n  {tool.command}, which {tool.why}: {tool.get}" for tool in missing)
        raise ConfigurationError(f"Building {project.language} needs what this machine has not:{lines}")
    file = folder / MODULE
    file.unlink(missing_ok=True)
    # Standard output is for what was built.
    done = subprocess.run(["sh", "build.sh"], cwd=folder, env=tool_environment(), stdout=2, check=False)
    if done.returncode:
        raise InvalidInput(f"{folder} does not build: build.sh ended with status {done.returncode}.")
    if not file.is_file():
        raise InvalidInput(f"{folder / 'build.sh'} has not written {MODULE}.")
    return file


def _check(module: Module, tenant: str) -> str:
    """Why not all could be checked here, if so. Raises InvalidInput if the module would be refused."""
    handler = _HANDLERS[module.kind]
    if handler not in module.exports:
        raise InvalidInput(f"The {module.kind} exports no {handler}, by which it would be handed events.")
    policy, reason = find_wasm_policy()
    forbidden = policy.forbidden(module, tenant) if policy else []
    if forbidden:
        names = ", ".join(str(item) for item in forbidden)
        raise InvalidInput(f"The {module.kind} imports what no consumer of {tenant} is given: {names}.")
    return reason
