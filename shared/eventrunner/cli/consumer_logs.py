"""`eventrunner consumer logs`."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click
import msgspec

from eventrunner.cli.calls import as_json, path, run, show
from eventrunner.cli.connection import Api
from eventrunner.cli.live import sent_events
from eventrunner.cli.names import OwnedName, OwnedNameType
from eventrunner.storage.consumer_logs import MOST_LINES, LogEntry

__all__ = ["logs"]


@click.command("logs")
@click.argument("consumer", metavar="TENANT/NAME", type=OwnedNameType("acme/alerts"))
@click.option("--since", help="Only lines from this time on, such as 2026-01-31T12:00:00Z.")
@click.option("--limit", type=click.IntRange(1, MOST_LINES), default=100, show_default=True, help="The last so many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it logs from now on, until Ctrl-C.")
@as_json
def logs(consumer: OwnedName, since: str | None, limit: int, follow: bool, as_json: bool) -> None:
    """Print what a consumer has logged, and why its attempts have failed."""
    where = path("consumers", *consumer, "logs", since=since, limit=limit, follow="true" if follow else None)
    if not follow:
        found = run(lambda api: api.call("GET", where))
        show(found, as_json, "\n".join(map(_line, found["logs"])))
        return

    async def print_live(api: Api) -> None:
        async with contextlib.aclosing(sent_events(api, where)) as lines:
            async for text in lines:
                click.echo(text if as_json else _line(json.loads(text)))

    with contextlib.suppress(KeyboardInterrupt):
        run(print_live)


def _line(entry: Any) -> str:
    line = msgspec.convert(entry, LogEntry)
    event = f"  {line.event}#{line.attempt}" if line.event else ""
    context = f"  {line.context}:" if line.context else " "
    return f"{line.time}  {line.level:5}{event}{context} {line.text}"
