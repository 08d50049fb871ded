"""`eventrunner doctor`: what an installation must refuse, tried on it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.keys import ROLES
from eventrunner.access.policy import Policy
from eventrunner.cli.calls import as_json, show
from eventrunner.cli.connection import Connection, find_connection
from eventrunner.cli.lent_tenants import lent_tenants
from eventrunner.doctor.authz import Row, matrix
from eventrunner.doctor.gateway import Result, check, read_probes
from eventrunner.local.project import find_project

__all__ = ["command"]


@click.group("doctor", help="Check what an installation lets through, and print who may do what.")
def command() -> None:
    pass


@command.command("gateway")
@click.option("--url", help="Base URL of the gateway; else that of the platform found as by every command.")
@as_json
def gateway(url: str | None, as_json: bool) -> None:
    """Send a gateway what it has to let through and what it has to refuse: every call by every role and by nobody,
    forged tokens, other tenants' things, tricks with paths. Works in two tenants that it makes and deletes, with the
    operator's key of EVENTRUNNER_KEY or of `eventrunner dev`. Exits with 1 if an answer is wrong."""
    found = find_connection()
    results = asyncio.run(_try(Connection(url or found.url, found.key)))
    wrong = [result for result in results if not result.passed]
    show(
        {"requests": len(results), "wrong": [_as_dict(result) for result in wrong]},
        as_json,
        "\n".join([f"{len(results)} requests, {len(wrong)} with the wrong answer", *map(_line, wrong)]),
    )
    sys.exit(1 if wrong else 0)


async def _try(connection: Connection) -> list[Result]:
    async with lent_tenants(connection) as credentials:
        probes = read_probes(credentials)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("asking", total=len(probes))
            return await check(connection.url, probes, lambda result: progress.advance(task))


def _as_dict(result: Result) -> dict[str, object]:
    request = result.probe.request
    return {
        "name": result.probe.name,
        "request": f"{request.method} {request.target}",
        "status": result.answer.status,
        "expected": list(result.probe.expected),
    }


def _line(result: Result) -> str:
    found = _as_dict(result)
    return f"{found['name']}: {found['request']} → {found['status']}, expected {found['expected']}"


@command.command("authz")
@click.option(
    "--policies",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with access-rules.yaml, authz.rego and data.json.  [default: that of the project]",
)
@as_json
def authz(policies: Path | None, as_json: bool) -> None:
    """Print which role may make which call, of its own tenant's things and of another's."""
    folder = policies or find_project().policies
    rows = matrix(load_access_rules(folder / "access-rules.yaml"), Policy.from_folder(folder))
    if as_json:
        show([{"call": row.call, "whose": row.whose, "allowed": row.allowed} for row in rows], True, "")
        return
    Console(width=140 if not sys.stdout.isatty() else None).print(_table(rows))


def _table(rows: list[Row]) -> Table:
    table = Table("call", "whose", "nobody", *ROLES)
    for row in rows:
        table.add_row(row.call, row.whose, *("yes" if row.allowed[who] else "–" for who in ("nobody", *ROLES)))
    return table
