"""`eventrunner status`: the streams, who is behind, and what holds events up."""

from __future__ import annotations

from typing import Any

import click

from eventrunner.cli.calls import as_json, path, run, show

__all__ = ["command"]


@click.command("status")
@as_json
def command(as_json: bool) -> None:
    """Show how full the streams are, which consumers are behind, and what holds events up."""
    status = run(lambda api: api.call("GET", path("status")))
    lines = [_line(stream) for stream in status["streams"]]
    show(status, as_json, "\n".join([*lines, *(status["problems"] or ["Nothing holds events up."])]))


def _line(stream: dict[str, Any]) -> str:
    fill = f"{stream['bytes'] / stream['max_bytes']:.0%}" if stream["max_bytes"] else "-"
    readers = ", ".join(f"{item['name']} {item['unread']}" for item in stream["readers"] if item["unread"])
    line = f"{stream['name']:10}  {fill:>4} full  {stream['messages']:>9} messages"
    return line + (f"  not acked: {readers}" if readers else "")
