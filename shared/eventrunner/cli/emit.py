"""`eventrunner emit`: events from a file or standard input to the platform."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import IO
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from eventrunner.cli.connection import find_connection
from eventrunner.cli.sender import Batch, Sender, SendReport, cut

__all__ = ["command"]

_SHOWN = 20
"""Rejections that are printed for people."""


@click.command("emit")
@click.argument("file", type=click.File("rb"))
@click.option("--tenant", help="tenant of the events (an admin's key; a tenant's own key needs none)")
@click.option("--type", "type_", help="type of raw lines: JSON that is no CloudEvent")
@click.option("--source", help="source of raw lines")
@click.option("--batch", type=click.IntRange(1, 10_000), default=500, show_default=True, help="events in one request")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="events per second; default: as fast as it goes"
)
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def command(
    file: IO[bytes],
    tenant: str | None,
    type_: str | None,
    source: str | None,
    batch: int,
    rate: float | None,
    as_json: bool,
) -> None:
    """Sends the lines of FILE (- is standard input): a CloudEvent or a raw JSON value on each.

    What the platform refuses is named and the rest is sent; the exit code then is 1.
    """
    connection = find_connection()
    query = urlencode(
        {name: value for name, value in (("tenant", tenant), ("type", type_), ("source", source)) if value}
    )
    batches = cut(_lines(file), connection.key, batch, query)
    report = asyncio.run(_send(Sender(connection.url, passes_over_refused=True), batches, rate, as_json))
    if as_json:
        click.echo(json.dumps({"accepted": report.accepted, "rejected": report.rejected, "seconds": report.seconds}))
    else:
        pace = report.accepted / report.seconds if report.seconds else 0
        click.echo(
            f"{report.accepted} accepted, {len(report.rejected)} rejected in {report.seconds:.1f} s ({pace:.0f}/s)"
        )
        for rejection in report.rejected[:_SHOWN]:
            click.echo(f"  event {rejection['index'] + 1}: {rejection['error']}", err=True)
        if len(report.rejected) > _SHOWN:
            click.echo(f"  and {len(report.rejected) - _SHOWN} more; --json shows all", err=True)
    if report.rejected:
        sys.exit(1)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    for line in file:
        stripped = line.strip()
        if stripped:
            yield stripped


async def _send(sender: Sender, batches: Iterator[Batch], rate: float | None, quiet: bool) -> SendReport:
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("sending", total=None)
        return await sender.send(batches, rate=rate, on_accepted=lambda sent, _: progress.advance(task, sent.count))
