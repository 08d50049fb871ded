"""`eventrunner tail`: a tenant's events as they leave the event engine."""

from __future__ import annotations

import asyncio
import contextlib
import json

import click

from eventrunner.cli.calls import path, run
from eventrunner.cli.connection import Api
from eventrunner.cli.events import event_line
from eventrunner.errors import Unavailable

__all__ = ["command"]

_PAUSE_SECONDS = 1.0


@click.command("tail")
@click.argument("tenant")
@click.option("--type", "type_", help="Only events of this type.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def command(tenant: str, type_: str | None, limit: int | None, as_json: bool) -> None:
    """Print TENANT's events as they come, until Ctrl-C. A connection that is lost goes on where it was."""

    async def follow(api: Api) -> None:
        shown, last, began = 0, None, False
        while True:
            async with contextlib.aclosing(api.stream(path("events", tenant, "stream", type=type_), last)) as events:
                try:
                    async for seen, text in events:
                        last, began, shown = seen, True, shown + 1
                        event = json.loads(text)
                        click.echo(json.dumps(event, ensure_ascii=False) if as_json else event_line(event))
                        if shown == limit:
                            return
                    began = True
                except Unavailable:
                    if not began:
                        raise
            await asyncio.sleep(_PAUSE_SECONDS)

    with contextlib.suppress(KeyboardInterrupt):
        run(follow)
