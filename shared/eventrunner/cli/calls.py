"""What the commands that call the API share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from eventrunner.cli.connection import Api, find_connection

__all__ = ["all_pages", "as_json", "path", "progress_bar", "run", "show"]

T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's answer as JSON.")


def run(work: Callable[[Api], Awaitable[T]]) -> T:
    """Does the work with a connection to the platform."""

    async def connected() -> T:
        async with Api(find_connection()) as api:
            return await work(api)

    return asyncio.run(connected())


def show(document: Any, as_json: bool, text: str) -> None:
    click.echo(json.dumps(document) if as_json else text)


def path(*segments: str, **query: str | int | Sequence[str] | None) -> str:
    """The path of a call; segments are escaped, parameters without a value left out, those with several repeated."""
    given = {name.rstrip("_"): value for name, value in query.items() if value is not None and value != ()}
    return (
        "/api/v1/"
        + "/".join(quote(segment, safe="") for segment in segments)
        + (f"?{urlencode(given, doseq=True)}" if given else "")
    )


async def all_pages(api: Api, *segments: str, member: str) -> dict[str, Any]:
    """A list's pages as one answer, without `next`."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        page = await api.call("GET", path(*segments, limit=1000, cursor=cursor))
        items += page[member]
        cursor = page["next"]
        if cursor is None:
            return {member: items}


def progress_bar(quiet: bool) -> Progress:
    """On standard error; the field `note` of a task stands at its end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True), disable=quiet)
