"""`eventrunner replay`: stored events once more through a rule set or to a consumer."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from eventrunner.cli.calls import all_pages, as_json, path, progress_bar, run
from eventrunner.cli.connection import Api

__all__ = ["command"]

_POLL_SECONDS = 0.5
_FINAL = ("done", "failed", "cancelled")
_SHOWN = ("read", "matched", "sent", "evaluated", "derived", "known", "conflicts", "changed", "dropped", "failed")


def _rules(context: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    name, at, version = value.partition("@")
    if not name or (at and not (version.isascii() and version.isdigit() and int(version))):
        raise click.BadParameter(f"{value!r} is not NAME or NAME@VERSION")
    return {"rules": name, **({"version": int(version)} if at else {})}


def _filters(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[dict[str, Any]]:
    filters = []
    for value in values:
        name, found, text = value.partition("=")
        if not (found and name and text):
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        filters.append({"exact": {name: text}})
    return filters


@click.command("replay")
@click.argument("tenant")
@click.argument("replay_id", required=False)
@click.option("--rules", callback=_rules, metavar="NAME[@VERSION]", help="Rule set to send the events through.")
@click.option("--consumer", help="Consumer to send the events to.")
@click.option("--from", "since", metavar="TIME", help="Events of this time or later (RFC 3339).")
@click.option("--to", "until", metavar="TIME", help="Events before this time.  [default: now]")
@click.option("--type", "type_", help="Type of the events.")
@click.option("--source", help="Source of the events.")
@click.option("--filter", "filters", callback=_filters, multiple=True, metavar="NAME=VALUE", help="Attribute to equal.")
@click.option("--rate", type=click.FloatRange(0.1, 100_000), default=1000, show_default=True, help="Events a second.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; nothing is stored or sent.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@click.option("--cancel", is_flag=True, help="End the replay REPLAY_ID where it is.")
@click.option("--list", "listed", is_flag=True, help="List TENANT's replays of the last 30 days.")
@as_json
def command(
    tenant: str, replay_id: str | None, detach: bool, cancel: bool, listed: bool, as_json: bool, **asked: Any
) -> None:
    """Send stored events of TENANT through a rule set, or to a consumer, once more.

    Replayed events are on no bill. With REPLAY_ID, follows the replay that was started before.
    """
    if cancel and not replay_id:
        raise click.UsageError("--cancel needs the id of a replay.")
    if listed:
        _list(tenant, as_json)
        return
    if replay_id is None:
        body = _body(**asked)
        replay = run(lambda api: api.call("POST", path("replays", tenant), body))
    else:
        method = "DELETE" if cancel else "GET"
        replay = run(lambda api: api.call(method, path("replays", tenant, replay_id)))
    if not (detach or cancel):
        replay = run(lambda api: _follow(api, replay, as_json))
    click.echo(json.dumps(replay) if as_json else _summary(replay))
    if replay["state"] == "failed" or (replay["state"] == "cancelled" and not cancel):
        sys.exit(1)


def _body(
    rules: dict[str, Any] | None,
    consumer: str | None,
    since: str | None,
    until: str | None,
    type_: str | None,
    source: str | None,
    filters: list[dict[str, Any]],
    rate: float,
    dry_run: bool,
) -> dict[str, Any]:
    if (rules is None) == (consumer is None):
        raise click.UsageError("say where the events go: --rules or --consumer, one of the two.")
    if since is None:
        raise click.UsageError("say which events: --from TIME.")
    target = rules or {"consumer": consumer}
    body = {"from": since, "to": until, "type": type_, "source": source, "filters": filters, "rate": rate}
    return body | {"target": target, "dry_run": dry_run}


async def _follow(api: Api, replay: dict[str, Any], quiet: bool) -> dict[str, Any]:
    with progress_bar(quiet) as progress:
        task = progress.add_task(f"replay {replay['id']}", total=1.0, note="")
        while True:
            note = f"{replay['counts']['matched']} events, {replay['state']}"
            progress.update(task, completed=replay["progress"], note=note)
            if replay["state"] in _FINAL:
                return replay
            await asyncio.sleep(_POLL_SECONDS)
            replay = await api.call("GET", path("replays", replay["tenant"], replay["id"]))


def _list(tenant: str, as_json: bool) -> None:
    found = run(lambda api: all_pages(api, "replays", tenant, member="replays"))
    if as_json:
        click.echo(json.dumps(found))
        return
    for replay in found["replays"]:
        click.echo(f"{replay['id']}  {replay['created'][:19]}Z  {_summary(replay)}")


def _summary(replay: dict[str, Any]) -> str:
    target = replay["target"]
    name = target.get("consumer") or f"{target['rules']}@{target['version']}"
    counts = ", ".join(f"{name} {replay['counts'][name]}" for name in _SHOWN if replay["counts"][name])
    fired = ", ".join(f"{rule} ×{count}" for rule, count in sorted(replay["counts"]["fired"].items()))
    emitted = ", ".join(f"{kind} ×{count}" for kind, count in sorted(replay["counts"]["emitted"].items()))
    lines = [
        f"{'dry run' if replay['dry_run'] else 'replay'} {replay['id']} to {name}: {replay['state']}"
        + (f" ({replay['error']})" if replay.get("error") else f", {replay['progress']:.0%}"),
        f"  {counts or 'no events'}",
        *([f"  rules fired: {fired}"] if fired else []),
        *([f"  derived: {emitted}"] if emitted else []),
    ]
    return "\n".join(lines)
