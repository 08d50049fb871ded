"""`eventrunner events`: what is stored, through the API."""

from __future__ import annotations

import json
from typing import Any

import click

from eventrunner.cli.calls import as_json, path, run
from eventrunner.cli.connection import Api
from eventrunner.errors import Conflict, NotFound

__all__ = ["command", "event_line"]


@click.group("events", help="List stored events, show one, follow its way through the system.")
def command() -> None:
    pass


@command.command("list")
@click.argument("tenant")
@click.option("--type", "type_", help="Type of the events.")
@click.option("--source", help="Source of the events.")
@click.option("--from", "since", metavar="TIME", help="Events of this time or later (RFC 3339).")
@click.option("--to", "until", metavar="TIME", help="Events before this time.")
@click.option("--newest-first", is_flag=True, help="The latest events first.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show at most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def list_(tenant: str, limit: int, newest_first: bool, as_json: bool, **given: str | None) -> None:
    """List TENANT's stored events in the order of their time."""
    query = {"type": given["type_"], "source": given["source"], "from_": given["since"], "to": given["until"]}
    order = "desc" if newest_first else None

    async def pages(api: Api) -> int:
        shown, cursor = 0, None
        while shown < limit:
            wanted = min(limit - shown, 1000)
            page = await api.call("GET", path("events", tenant, **query, order=order, limit=wanted, cursor=cursor))
            for event in page["events"]:
                click.echo(json.dumps(event, ensure_ascii=False) if as_json else event_line(event))
            shown, cursor = shown + len(page["events"]), page["next"]
            if cursor is None:
                break
        return shown

    if not run(pages) and not as_json:
        click.echo("no events")


@command.command("get")
@click.argument("tenant")
@click.argument("event_id")
@click.option("--source", help="Needed when several sources use the id.")
def get(tenant: str, event_id: str, source: str | None) -> None:
    """Show one stored event as JSON."""
    # By query: not every id can be a segment of a path.
    found = run(lambda api: api.call("GET", path("events", tenant, id=event_id, source=source)))["events"]
    if not found:
        raise NotFound(f"Tenant {tenant} has no event {event_id}" + (f" from {source}." if source else "."))
    if len(found) > 1:
        sources = ", ".join(event["source"] for event in found)
        raise Conflict(f"Several sources have an event {event_id}; name one with --source: {sources}.")
    click.echo(json.dumps(found[0], indent=2, ensure_ascii=False))


@command.command("trace")
@click.argument("tenant")
@click.argument("event_id")
@click.option("--source", help="Needed when several sources use the id.")
@as_json
def trace(tenant: str, event_id: str, source: str | None, as_json: bool) -> None:
    """Follow an event through the system: received, routed, changed, stored, derived from, given up, billed."""
    found = run(lambda api: api.call("GET", path("traces", tenant, id=event_id, source=source)))
    click.echo(json.dumps(found) if as_json else "\n".join(_steps(found)))


def event_line(event: dict[str, Any]) -> str:
    """An event on one line."""
    data = json.dumps(event["data"], ensure_ascii=False) if "data" in event else event.get("data_base64", "")
    moment = event.get("time") or event.get("receivedtime", "")
    return f"{moment}  {event['type']}  {event['source']}  {event['id']}  {data[:120]}"


def _steps(found: dict[str, Any]) -> list[str]:
    steps = [f"{found['type']} {found['id']} from {found['source']}", f"  received  {found['received']}"]
    if found["cause"]:
        steps.append(f"  derived   from {found['cause']['id']} by {_who(found['cause'])}")
    if found["route"]:
        steps.append(f"  routed    {found['route']}")
    steps.append(
        "  stored    " + ("yes" if found["stored"] else "no") + (", data changed" if found["data_changed"] else "")
    )
    for derived in found["derived"]:
        by = f" in replay {derived['replay']}" if derived["replay"] else ""
        steps.append(f"  led to    {derived['type']} {derived['id']} by {_who(derived)}{by}")
    steps += [f"  {item['outcome']:9} by consumer {item['name']}" for item in found["consumers"]]
    steps += [f"  {item['kind']:9} in {item['stage']}" for item in found["ended"]]
    steps += [
        f"  dead      letter {item['id']} in {item['stage']}, {item['attempts']} attempts: {item['reason']}"
        for item in found["dead_letters"]
    ]
    if found.get("invoice"):
        steps.append(f"  billed    {found['invoice']['id']} ({found['invoice']['status']})")
    return steps + [f"  unknown   {text}" for text in found.get("missing", [])]


def _who(derivation: dict[str, Any]) -> str:
    consumer = derivation.get("consumer")
    return f"consumer {consumer}" if consumer else f"rule {derivation['rule']}"
