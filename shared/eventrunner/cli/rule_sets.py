"""`eventrunner rules put|list|activate|deactivate`: rule sets and their versions, through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eventrunner.cli.calls import all_pages, as_json, path, run, show
from eventrunner.cli.connection import Api
from eventrunner.cli.names import OwnedName
from eventrunner.cli.rule_files import RULE_FILE, RULE_SET, read_or_exit

__all__ = ["COMMANDS"]


@click.command("put")
@click.argument("rule_set", metavar="TENANT/NAME", type=RULE_SET)
@click.argument("file", type=RULE_FILE)
@click.option("--activate", "activates", is_flag=True, help="Put the version in force at once.")
@as_json
def put(rule_set: OwnedName, file: Path, activates: bool, as_json: bool) -> None:
    """Store FILE (GRL, or Grule's JSON rules in *.json) as the newest version of TENANT/NAME.

    It is not in force before it is activated. The same text again makes no new version.
    """
    read = read_or_exit(file, as_json)

    async def store(api: Api) -> Any:
        made = await api.call("PUT", path("rules", *rule_set), text=read.text)
        if activates:
            made |= await api.call("POST", path("rules", *rule_set, "activate"), {"version": made["newest"]})
        return made

    made = run(store)
    for warning in () if as_json else read.warnings:
        click.echo(warning, err=True)
    show(made, as_json, f"{rule_set} has version {made['newest']}; {_in_force(made)}")


@click.command("list")
@click.argument("tenant", metavar="TENANT[/NAME]")
@as_json
def list_(tenant: str, as_json: bool) -> None:
    """List TENANT's rule sets, or the versions of one: those that can be activated. `_platform` has the platform's."""
    if "/" in tenant:
        _list_versions(RULE_SET.convert(tenant, None, None), as_json)
        return
    found = run(lambda api: all_pages(api, "rules", tenant, member="rules"))
    lines = [f"{item['name']}  newest version {item['newest']}, {_in_force(item)}" for item in found["rules"]]
    show(found, as_json, "\n".join(lines) or f"{tenant} has no rule sets")


def _list_versions(rule_set: OwnedName, as_json: bool) -> None:
    found = run(lambda api: api.call("GET", path("rules", *rule_set)))
    lines = [
        f"{'*' if item['version'] == found['active'] else ' '} {item['version']:>4}  {item['created'][:19]}Z"
        for item in found["versions"]
    ]
    show(found, as_json, "\n".join([f"{rule_set}, {_in_force(found)}", *lines]))


@click.command("activate")
@click.argument("rule_set", metavar="TENANT/NAME", type=RULE_SET)
@click.option("--version", type=click.IntRange(min=1), help="An earlier one rolls back.  [default: the newest]")
@as_json
def activate(rule_set: OwnedName, version: int | None, as_json: bool) -> None:
    """Put a version of TENANT/NAME in force, in every engine within a second."""
    _set_active(rule_set, version, as_json)


@click.command("deactivate")
@click.argument("rule_set", metavar="TENANT/NAME", type=RULE_SET)
@as_json
def deactivate(rule_set: OwnedName, as_json: bool) -> None:
    """Put no version of TENANT/NAME in force. All versions stay."""
    _set_active(rule_set, 0, as_json)


def _set_active(rule_set: OwnedName, version: int | None, as_json: bool) -> None:
    made = run(lambda api: api.call("POST", path("rules", *rule_set, "activate"), {"version": version}))
    show(made, as_json, f"{rule_set}: {_in_force(made)}")


def _in_force(summary: dict[str, Any]) -> str:
    return f"version {summary['active']} is in force" if summary["active"] else "none is in force"


COMMANDS = (put, list_, activate, deactivate)
