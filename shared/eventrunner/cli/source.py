"""`eventrunner source`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click
import uvloop

from eventrunner.access.senders import SourceSigner
from eventrunner.memory import keep_memory
from eventrunner.nesting import read_deep_events
from eventrunner.settings import Settings
from eventrunner.source.adapter import Adapter
from eventrunner.source.spec import read_sources
from eventrunner.source.streams import read_streams
from eventrunner.telemetry import configure_logging

__all__ = ["command"]

_PATH = click.Path(exists=True, path_type=Path)


def _sinks(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    sinks = {}
    for value in values:
        name, found, url = value.partition("=")
        if not found or not url.startswith(("http://", "https://")):
            raise click.BadParameter(f"{value!r} is not name=URL")
        sinks[name] = url
    return sinks


@click.command("source")
@click.option("--sources", "-f", "paths", type=_PATH, multiple=True, help="File or folder of manifests; repeatable.")
@click.option(
    "--watch",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of sources that come and go: put each into a file of its own, by renaming a finished one.",
)
@click.argument("more", type=_PATH, nargs=-1, metavar="[FILE|DIR]...")
@click.option("--nats", "nats_url", help="NATS servers.  [default: EVENTRUNNER_NATS_URL]")
@click.option("--sink", "sinks", multiple=True, callback=_sinks, metavar="NAME=URL", help="Address of a sink's object.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve /metrics, /healthz and /readyz there.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address of the metrics port.")
def command(
    paths: tuple[Path, ...],
    watch: Path | None,
    more: tuple[Path, ...],
    nats_url: str | None,
    sinks: dict[str, str],
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Run the JetStreamSources of the manifests until SIGTERM.

    Stream manifests among them are applied when a stream is missing. In the folder that is watched, a new file starts
    a source, a changed one starts it anew, and with a file that is gone goes the source, once it has finished what is
    under way, and its durable consumer.
    """
    settings = Settings.from_env()
    configure_logging("source", settings.log_level)
    files = paths + more
    sources = read_sources(files)
    if not sources and watch is None:
        raise click.UsageError("no JetStreamSource in the given files")
    adapter = Adapter(
        sources=sources,
        watch=watch,
        nats_url=nats_url or settings.nats_url,
        sink_urls=sinks,
        streams=read_streams(files),
        stream_replicas=settings.stream_replicas,
        signer=SourceSigner(settings.source_keys) if settings.source_keys else None,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        consumer_namespace=settings.consumer_namespace,
    )
    keep_memory()
    read_deep_events()
    uvloop.run(_run(adapter))


async def _run(adapter: Adapter) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await adapter.run(stopping)
