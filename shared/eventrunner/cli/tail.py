"""`eventrunner tail`: a tenant's events as they leave the event engine."""

from __future__ import annotations

import contextlib
import json

import click

from eventrunner.cli.calls import run
from eventrunner.cli.connection import Api
from eventrunner.cli.events import event_line
from eventrunner.cli.live import live_events

__all__ = ["command"]


@click.command("tail")
@click.argument("tenant")
@click.option("--type", "type_", help="Only events of this type.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def command(tenant: str, type_: str | None, limit: int | None, as_json: bool) -> None:
    """Print TENANT's events as they come, until Ctrl-C. A connection that is lost goes on where it was."""

    async def follow(api: Api) -> None:
        shown = 0
        async with contextlib.aclosing(live_events(api, tenant, type_)) as events:
            async for text in events:
                event = json.loads(text)
                click.echo(json.dumps(event, ensure_ascii=False) if as_json else event_line(event))
                shown += 1
                if shown == limit:
                    return

    with contextlib.suppress(KeyboardInterrupt):
        run(follow)
