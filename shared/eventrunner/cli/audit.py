"""`eventrunner audit`: who changed what through the API."""

from __future__ import annotations

import json
from typing import Any

import click

from eventrunner.cli.calls import as_json, path, run
from eventrunner.cli.connection import Api

__all__ = ["command"]

_PAGE = 1000


@click.command("audit")
@click.argument("tenant")
@click.option("--from", "since", help="RFC 3339 with an offset.")
@click.option("--to", "until", help="RFC 3339 with an offset.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many entries.")
@as_json
def command(tenant: str, since: str | None, until: str | None, limit: int, as_json: bool) -> None:
    """Print who changed what of TENANT, the oldest first. `_platform`: what belongs to no tenant, such as plans."""
    entries = run(lambda api: _entries(api, tenant, since, until, limit))
    for entry in entries:
        click.echo(json.dumps(entry) if as_json else _line(entry))


async def _entries(api: Api, tenant: str, since: str | None, until: str | None, limit: int) -> list[Any]:
    entries: list[Any] = []
    cursor: str | None = None
    while len(entries) < limit:
        size = min(_PAGE, limit - len(entries))
        page = await api.call("GET", path("audit", tenant, from_=since, to=until, limit=size, cursor=cursor))
        entries += page["entries"]
        cursor = page["next"]
        if cursor is None:
            break
    return entries


def _line(entry: dict[str, Any]) -> str:
    method = entry["call"].partition(" ")[0]
    revisions = ", ".join(f"{item['bucket']} {item['before'] or '-'}→{item['after']}" for item in entry["writes"])
    revisions += f" and {entry['more_writes']} more" if entry.get("more_writes") else ""
    what = f"{method} {entry['thing']}  {entry['status'] or 'not known what came of it'}"
    return f"{entry['time'][:19]}Z  {entry['subject']}  {what}  {revisions}".rstrip()
