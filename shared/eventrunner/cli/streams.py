"""`eventrunner streams`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from eventrunner.settings import Settings
from eventrunner.source.streams import Applied, apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect, without_secrets

__all__ = ["command"]

_CONNECT_TIMEOUT = 10.0


@click.group("streams", help="The JetStream streams, buckets and object stores.")
def command() -> None:
    pass


@command.command("apply")
@click.option(
    "-f",
    "--file",
    "files",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    default=("knative/base/streams.yaml",),
    show_default=True,
    help="Manifest file or folder; may be given several times.",
)
@click.option("--nats", "nats_url", help="NATS servers.  [default: EVENTRUNNER_NATS_URL]")
@click.option("--replicas", type=click.IntRange(0, 5), help="Override the replicas of every manifest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def apply(files: tuple[Path, ...], nats_url: str | None, replicas: int | None, as_json: bool) -> None:
    """Create or update what the manifests declare; applying again changes nothing."""
    settings = Settings.from_env()
    number = settings.stream_replicas if replicas is None else replicas
    applied = asyncio.run(_apply(files, nats_url or settings.nats_url, number))
    if as_json:
        click.echo(json.dumps([{"name": item.name, "change": item.change} for item in applied]))
        return
    for item in applied:
        click.echo(f"{item.name:<16} {item.change}")


async def _apply(files: tuple[Path, ...], nats_url: str, replicas: int) -> list[Applied]:
    streams = read_streams(files)
    try:
        client = await asyncio.wait_for(connect(nats_url, name="eventrunner streams"), _CONNECT_TIMEOUT)
    except TimeoutError:
        raise click.ClickException(f"no NATS server answers at {without_secrets(nats_url)}") from None
    try:
        return await apply_streams(JetStreamApi(client), streams, replicas=replicas)
    finally:
        await disconnect(client)
