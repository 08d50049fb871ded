"""`eventrunner reload`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console

from eventrunner.cli.calls import as_json
from eventrunner.cli.connection import DEFAULT_DATA_DIR
from eventrunner.errors import ConfigurationError, Unavailable
from eventrunner.local.data_dir import DataDir
from eventrunner.local.reload import Reloaded

__all__ = ["command", "reload_platform"]

_PATIENCE: Final = 600.0
_POLL: Final = 0.1


@click.command("reload")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Of the platform.",
)
@as_json
def command(data_dir: Path, as_json: bool) -> None:
    """Take changed code of functions and library into the platform that runs here.

    Each function that runs, and the source adapter, gets a new process beside the old one, which goes on until the new
    one is ready and then ends what it has begun. Exit code 1 when a new one does not become ready; its old one stays.
    """
    with Console(stderr=True, quiet=as_json).status("starting new processes beside the old ones"):
        reloaded = reload_platform(data_dir)
    if as_json:
        click.echo(msgspec.json.encode(reloaded))
    else:
        _show(reloaded)
    sys.exit(1 if reloaded.kept else 0)


def reload_platform(data_dir: Path) -> Reloaded:
    """Returns when it is done. Raises ConfigurationError when no platform runs over the folder, Unavailable."""
    data = DataDir(data_dir)
    if not data.is_in_use() or not data.ready_file.is_file():
        raise ConfigurationError(f"No platform is ready over {data_dir}: start one with `eventrunner dev`.")
    data.reload_file.unlink(missing_ok=True)
    os.kill(json.loads(data.ready_file.read_text())["pid"], signal.SIGUSR1)
    deadline = time.monotonic() + _PATIENCE
    while not data.reload_file.is_file():
        if not data.is_in_use():
            raise Unavailable("The platform has ended.")
        if time.monotonic() > deadline:
            raise Unavailable(f"The platform has not reloaded within {_PATIENCE:g} s; its log is in {data.logs}.")
        time.sleep(_POLL)
    return msgspec.json.decode(data.reload_file.read_bytes(), type=Reloaded)


def _show(reloaded: Reloaded) -> None:
    for part, count in sorted(reloaded.replaced.items()):
        click.echo(f"{part}: {count} new")
    for part, reason in sorted(reloaded.kept.items()):
        click.echo(f"{part}: the old one stays, because the new one did not become ready: {reason}", err=True)
    if not reloaded.replaced and not reloaded.kept:
        click.echo("nothing runs just now; the next request starts the new code")
