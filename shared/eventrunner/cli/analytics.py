"""`eventrunner analytics`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from eventrunner.cli.connection import Api, find_connection

__all__ = ["command"]


@dataclass
class _Report:
    tenants: int = 0
    checked: int = 0
    restored: int = 0


@click.group("analytics", help="Make the analytics again from the event store.")
def command() -> None:
    pass


@command.command("rebuild")
@click.argument("tenant", required=False)
@click.option("--all", "everybody", is_flag=True, help="All tenants that have events.")
@click.option("--from", "since", metavar="TIME", help="Events that happened then or later, in RFC 3339.")
@click.option("--to", "until", metavar="TIME", help="Events that happened before then.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def rebuild(tenant: str | None, everybody: bool, since: str | None, until: str | None, as_json: bool) -> None:
    """Write into ClickHouse what the event store has of TENANT and ClickHouse has not.

    It may be stopped and run again at any time, also while events flow: what is there already stays as it is.
    """
    if (tenant is None) != everybody:
        raise click.UsageError("Name a TENANT, or give --all.")
    order = {"tenant": tenant or "", "all": everybody, "from": since, "to": until}
    report = asyncio.run(_rebuild(order, as_json))
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        click.echo(f"{report.checked} events of {report.tenants} tenants checked, {report.restored} restored")


async def _rebuild(order: dict[str, Any], quiet: bool) -> _Report:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    report = _Report()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task, tenant = progress.add_task("", total=None), None
        async with Api(find_connection()) as api:
            following: dict[str, Any] | None = order
            while following is not None:
                page = await api.call("POST", "/api/v1/analytics/rebuild", following)
                if page["tenant"] != tenant:
                    tenant = page["tenant"]
                    report.tenants += 1
                    progress.reset(task, description=tenant)
                report.checked += page["checked"]
                report.restored += page["restored"]
                progress.update(task, total=page["of"], advance=page["checked"])
                following = page["next"]
    return report
