"""`eventrunner consumer run`: a module on this machine, handed events as the platform would hand them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from eventrunner.api.consumer_settings import INSTANCES, STREAMS
from eventrunner.cli.calls import run as run_with_api
from eventrunner.cli.connection import Api
from eventrunner.cli.consumer_options import limit_options
from eventrunner.cli.consumer_report import Report
from eventrunner.cli.event_files import parse_event, read_events
from eventrunner.cli.guest_projects import ABOUT, MODULE, read_project
from eventrunner.cli.live import live_events
from eventrunner.cli.wasm_policy import OwnSubjects, find_wasm_policy
from eventrunner.errors import ConfigurationError, NotFound
from eventrunner.events import Event
from eventrunner.settings import Settings
from eventrunner.storage.records import Limits

if TYPE_CHECKING:
    from eventrunner.cli.consumer_trial import Trial

__all__ = ["run"]

_EVENT: Final = "event.json"
_SILENT_SECONDS: Final = 1.0
_CACHE: Final = Path.home() / ".cache" / "eventrunner" / "modules"


@click.command("run")
@click.argument("module", metavar="[FILE|DIR]", default=".", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--events",
    type=click.File("rb"),
    metavar="FILE|-",
    help="Events in JSON: one, an array, or one a line.  [default: the project's event.json]",
)
@click.option("--live", metavar="TENANT", help="A tenant's events as they come, until Ctrl-C.")
@click.option("--type", "type_", help="With --live: only events of this type.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--tenant", default="acme", show_default=True, help="Of events that have none.")
@click.option("--name", default="trial", show_default=True, help="Of the consumer, in what it publishes.")
@click.option("--stream", type=click.Choice(STREAMS), default="results", show_default=True, help="That it reads.")
@click.option(
    "--instance",
    type=click.Choice(INSTANCES),
    help="For each event, or for many.  [default: what project.json says, else fresh]",
)
@limit_options(Limits())
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Hand each event over so many times.")
@click.option(
    "--module-cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for native code.  [default: EVENTRUNNER_MODULE_CACHE, else ~/.cache/eventrunner/modules]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each.")
def run(
    module: Path,
    events: IO[bytes] | None,
    live: str | None,
    type_: str | None,
    limit: int | None,
    tenant: str,
    instance: str | None,
    repeat: int,
    as_json: bool,
    **of: Any,
) -> None:
    """Hand events to a module, without a platform. Exits 1 if some were not handled.

    FILE is WebAssembly, DIR a project that `eventrunner consumer build` has built. Shown is for each event what came of
    it, what was published and logged, and what it took: fuel, CPU time, memory. Each is tried once. The limits are
    those of a plan that says nothing of them.
    """
    if (type_ and not live) or (live and events):
        raise click.UsageError("--type goes with --live, and --events does not.")
    file, project = _module(module)
    trial = _trial(file, instance=instance or _instance(project), **of)
    report = Report(as_json, brief=repeat > 1)

    def hand(event: Event) -> bool:
        """Whether it was the last one."""
        for _ in range(repeat):
            report.add(trial.hand(event))
        return limit is not None and report.handed >= limit * repeat

    with contextlib.suppress(KeyboardInterrupt):
        if live:
            run_with_api(lambda api: _follow(api, live, type_, hand))
        else:
            with _opened(events, project) as opened:
                for event in read_events(opened, tenant):
                    if hand(event):
                        break
    report.end()
    sys.exit(1 if report.failed else 0)


def _module(path: Path) -> tuple[Path, Path]:
    """The WebAssembly, and the folder in which its project would be. Raises NotFound if there is none."""
    if path.is_dir():
        if not (path / MODULE).is_file():
            raise NotFound(f"{path / MODULE} does not exist: `eventrunner consumer build` makes it of a project.")
        return path / MODULE, path
    return path, path.parent.parent if path.parent.name == MODULE.parent.name else path.parent


def _instance(project: Path) -> str:
    return read_project(project).instance if (project / ABOUT).is_file() else "fresh"


def _trial(file: Path, name: str, stream: str, instance: str, module_cache: Path | None, **limits: int) -> Trial:
    if find_spec("wasmtime") is None:
        raise ConfigurationError("Running WebAssembly needs wasmtime: pip install 'eventrunner[demo]'.")
    from eventrunner.cli.consumer_trial import Trial

    settings = Settings.from_env()
    policy, _ = find_wasm_policy()
    cache = module_cache or (Path(settings.module_cache) if settings.module_cache else _CACHE)
    # Native code for a large module, such as one of Python, takes some 10 s, once.
    with _said(f"loading {file}; a large module takes long, the first time"):
        return Trial(
            file.read_bytes(),
            name,
            stream,
            Limits(**limits),
            "reuse" if instance == "reuse" else "fresh",
            policy or OwnSubjects(),
            settings.max_event_bytes,
            cache,
        )


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """On standard error while it lasts; where that is no terminal, once, if it lasts."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(what):
            yield
        return
    timer = threading.Timer(_SILENT_SECONDS, lambda: print(what, file=sys.stderr, flush=True))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _opened(events: IO[bytes] | None, project: Path) -> Iterator[IO[bytes]]:
    """The file of events. Raises NotFound if none is given and the project has none."""
    if events is not None:
        yield events
        return
    file = project / _EVENT
    if not file.is_file():
        raise NotFound(f"{file} does not exist: say where events are with --events FILE, or --live TENANT.")
    with file.open("rb") as opened:
        yield opened


async def _follow(api: Api, tenant: str, type_: str | None, hand: Callable[[Event], bool]) -> None:
    async with contextlib.aclosing(live_events(api, tenant, type_)) as texts:
        async for text in texts:
            if hand(parse_event(text.encode(), tenant)):
                return
