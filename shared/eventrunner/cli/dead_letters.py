"""`eventrunner dead-letters`: what the stages gave up, through the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from eventrunner.cli.calls import as_json, path, progress_bar, run, show
from eventrunner.cli.connection import Api

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
_Filters = dict[str, str | None]
_SHOWN = 80
"""Characters of a reason in a list."""


def _filters(command: F) -> F:
    for option in (
        click.option("--to", "until", metavar="TIME", help="Given up before this time (RFC 3339)."),
        click.option("--from", "since", metavar="TIME", help="Given up at this time or later (RFC 3339)."),
        click.option("--type", "type_", help="Type of the event."),
        click.option("--stage", help="Stage that gave the event up, such as event-engine."),
    ):
        command = option(command)
    return command


def _query(stage: str | None, type_: str | None, since: str | None, until: str | None) -> _Filters:
    return {"stage": stage, "type": type_, "from_": since, "to": until}


@click.group("dead-letters", help="See, replay and drop the events that a stage gave up.")
def command() -> None:
    pass


@command.command("list")
@click.argument("tenant")
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show at most so many.")
@as_json
def list_(
    tenant: str, stage: str | None, type_: str | None, since: str | None, until: str | None, limit: int, as_json: bool
) -> None:
    """List TENANT's dead letters, the oldest first, and how many there are."""

    async def pages(api: Api) -> dict[str, Any]:
        found: list[Any] = []
        page: dict[str, Any] = {"next": None}
        while not found or (page["next"] and len(found) < limit):
            query = _query(stage, type_, since, until)
            wanted = min(limit - len(found), 1000)
            page = await api.call("GET", path("dead-letters", tenant, **query, limit=wanted, cursor=page["next"]))
            found += page["dead_letters"]
            if not page["next"]:
                break
        return page | {"dead_letters": found}

    listed = run(pages)
    if as_json:
        click.echo(json.dumps(listed))
        return
    for letter in listed["dead_letters"]:
        click.echo(_line(letter))
    stages = ", ".join(f"{name} {count}" for name, count in listed["stages"].items())
    click.echo(f"{len(listed['dead_letters'])} shown of {listed['total']} in all" + (f" ({stages})" if stages else ""))


@command.command("show")
@click.argument("tenant")
@click.argument("letter")
@as_json
def show_one(tenant: str, letter: str, as_json: bool) -> None:
    """Show one dead letter: why and where it failed, how often, and the event."""
    found = run(lambda api: api.call("GET", path("dead-letters", tenant, letter)))
    event = json.dumps(found["event"], indent=2, ensure_ascii=False)
    lines = [f"{name:12} {value}" for name, value in found.items() if name != "event"]
    show(found, as_json, "\n".join([*lines, event]))


@command.command("replay")
@click.argument("tenant")
@click.argument("letters", nargs=-1)
@_filters
@click.option("--all", "everything", is_flag=True, help="All that there are.")
@as_json
def replay(tenant: str, letters: tuple[str, ...], everything: bool, as_json: bool, **filters: str | None) -> None:
    """Send events back to the stage that gave them up: those of the LETTERS, or all that the options fit.

    A letter is removed when its event is stored in the stream again. What fails again is a dead letter again.
    """
    _check_choice(letters, filters, everything)
    if letters:
        run(lambda api: _each(api, "POST", tenant, letters, "replay"))
        show({"replayed": len(letters), "skipped": []}, as_json, f"{len(letters)} replayed")
        return

    async def sweep(api: Api) -> dict[str, Any]:
        return await _sweep(api, "POST", tenant, filters, {}, "replayed", as_json)

    swept = run(sweep)
    show(swept, as_json, f"{swept['replayed']} replayed, {len(swept['skipped'])} cannot be")
    for skipped in () if as_json else swept["skipped"]:
        click.echo(f"  {skipped['id']}: {skipped['problem']}", err=True)


@command.command("drop")
@click.argument("tenant")
@click.argument("letters", nargs=-1)
@_filters
@click.option("--all", "everything", is_flag=True, help="All that there are.")
@as_json
def drop(tenant: str, letters: tuple[str, ...], everything: bool, as_json: bool, **filters: str | None) -> None:
    """Drop the LETTERS, or all that the options fit. There is no way back."""
    _check_choice(letters, filters, everything)
    if letters:
        run(lambda api: _each(api, "DELETE", tenant, letters))
        show({"dropped": len(letters)}, as_json, f"{len(letters)} dropped")
        return

    async def sweep(api: Api) -> dict[str, Any]:
        more = {"all": "true"} if everything else {}
        return await _sweep(api, "DELETE", tenant, filters, more, "dropped", as_json)

    swept = run(sweep)
    del swept["skipped"]
    show(swept, as_json, f"{swept['dropped']} dropped")


def _check_choice(letters: tuple[str, ...], filters: _Filters, everything: bool) -> None:
    filtered = any(value is not None for value in filters.values())
    if bool(letters) + filtered + everything != 1:
        raise click.UsageError(
            "name letters, or give --stage, --type, --from or --to, or give --all: one of the three."
        )


async def _each(api: Api, method: str, tenant: str, letters: tuple[str, ...], *action: str) -> None:
    for letter in letters:
        await api.call(method, path("dead-letters", tenant, letter, *action))


async def _sweep(
    api: Api, method: str, tenant: str, filters: _Filters, more: dict[str, str], counted: str, quiet: bool
) -> dict[str, Any]:
    """Calls until nothing is left, with a progress bar."""
    stage, query = filters["stage"], _query(**filters)
    stages = (await api.call("GET", path("dead-letters", tenant, limit=1)))["stages"]
    total = stages.get(stage, 0) if stage else sum(stages.values())
    segments = ("dead-letters", tenant, "replay") if method == "POST" else ("dead-letters", tenant)
    done, skipped, cursor = 0, [], None
    with progress_bar(quiet) as progress:
        task = progress.add_task(counted, total=total, note="")
        while True:
            swept = await api.call(method, path(*segments, **query, **more, cursor=cursor))
            done, cursor = done + swept[counted], swept["next"]
            skipped += swept.get("skipped", [])
            progress.update(task, completed=done)
            if cursor is None:
                progress.update(task, completed=total)
                return {counted: done, "skipped": skipped}


def _brief(reason: str) -> str:
    """On one line; a trap's reason has the guest's call stack on lines of its own."""
    return " ".join(reason.split())[:_SHOWN]


def _line(letter: dict[str, Any]) -> str:
    mark = "" if letter["replayable"] else "  (cannot be replayed)"
    return (
        f"{letter['id']:>6}  {letter['last'][:19]}Z  {letter['stage']}  ×{letter['attempts']}  {letter['type']}  "
        f"{letter['event_id']}  {letter['code']} {_brief(letter['reason'])}{mark}"
    )
