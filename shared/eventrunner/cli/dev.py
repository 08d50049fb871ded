"""`eventrunner dev`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop

from eventrunner.cli.connection import DEFAULT_DATA_DIR
from eventrunner.local.data_dir import DataDir
from eventrunner.local.platform import Platform
from eventrunner.local.project import Project, find_project
from eventrunner.memory import keep_memory
from eventrunner.settings import Settings
from eventrunner.telemetry import configure_logging

__all__ = ["command"]

_log = logging.getLogger(__name__)
_FILES: Final = 65_536


@click.command("dev", help="Run the platform on this machine until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Public port; 0 for any.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="All state is kept here; another start over it goes on where this one was.",
)
@click.option(
    "--manifests",
    type=click.Path(file_okay=False, path_type=Path),
    help="Knative manifests to run.  [default: knative/base of the project]",
)
def command(port: int, data_dir: Path, manifests: Path | None) -> None:
    settings = Settings.from_env()
    project = find_project(manifests)
    _allow_many_files()
    # Events, logs and streams are their owner's, whichever process writes them.
    os.umask(0o077)
    with DataDir(data_dir) as data:
        configure_logging("platform", settings.log_level)
        _log_to_file(data.logs / "platform.log")
        uvloop.run(_serve(project, data, port, settings))


async def _serve(project: Project, data: DataDir, port: int, settings: Settings) -> None:
    _stop_on_signals()
    asked = _reload_on_signal()
    with contextlib.suppress(asyncio.CancelledError):
        async with Platform(project, data, port, settings) as platform:
            keep_memory()
            data.write_ready(platform.ready_line | {"pid": os.getpid()})
            click.echo(json.dumps(platform.ready_line))
            _log.info("ready at %s", platform.ready_line["url"])
            while True:
                await asked.wait()
                asked.clear()
                report = await platform.reload()
                try:
                    data.write_reloaded(msgspec.json.encode(report))
                except OSError as error:
                    _log.error("cannot tell how the reload went: %s", error)
    _log.info("stopped")


def _stop_on_signals() -> None:
    """The first signal lets everything end in order; a second one ends it at once, children included."""
    main = asyncio.current_task()
    assert main is not None
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            os.kill(os.getpid(), signal.SIGKILL)
        asked = True
        _log.info("stopping")
        main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _reload_on_signal() -> asyncio.Event:
    """Not SIGHUP, which comes when a terminal is closed."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    return asked


def _allow_many_files() -> None:
    """Every connection is a file, here twice; the usual limit of 1024 is meant for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _log_to_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    root = logging.getLogger()
    handler.setFormatter(root.handlers[0].formatter)
    root.addHandler(handler)
