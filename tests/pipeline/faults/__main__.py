"""`python -m tests.pipeline.faults`, or `make faults`: the long run."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
from pathlib import Path

import click
from eventrunner.cli.platform_process import make_folder
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from tests.pipeline.faults.recovery import Struck
from tests.pipeline.faults.report import Report
from tests.pipeline.faults.run import Plan, run


@click.command()
@click.option("--seconds", type=click.FloatRange(1), default=600, show_default=True, envvar="FAULTS_SECONDS")
@click.option("--seed", type=int, envvar="FAULTS_SEED", help="Order of the faults.  [default: a new one]")
@click.option(
    "--store", type=click.Choice(["sqlite", "cassandra"]), default="sqlite", show_default=True, envvar="FAULTS_STORE"
)
@click.option(
    "--rate", type=click.FloatRange(1), default=3000, show_default=True, envvar="FAULTS_RATE", help="Events/s."
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="faults-report.json",
    show_default=True,
    envvar="FAULTS_REPORT",
    help="File for the result as JSON; `python -m tests.pipeline.faults.summary` sums several.",
)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the platform's state in this new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON too.")
def main(
    seconds: float, seed: int | None, store: str, rate: float, report_path: Path, keep: Path | None, as_json: bool
) -> None:
    """Runs the platform under load and injects faults; exit code 1 when anything is lost, doubled, late or wrong."""
    folder = keep or make_folder("faults")
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(folder.resolve(), random.randrange(10**6) if seed is None else seed, seconds, store, rate)
    report = None
    try:
        report = _run(plan, Console(stderr=True, quiet=as_json))
    finally:
        if keep is None and report is not None and report.passed:
            shutil.rmtree(folder, ignore_errors=True)
    report.write(report_path)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        report.print(Console())
    if not report.passed:
        click.echo(f"The state of the platform is in {folder}.", err=True)
    sys.exit(0 if report.passed else 1)


def _run(plan: Plan, console: Console) -> Report:
    columns = (TextColumn("{task.description}"), TimeElapsedColumn(), TextColumn("{task.fields[last]}"))
    console.print(f"seed {plan.seed}, {plan.seconds:g} s of faults on {plan.store}, {plan.rate:g} events/s")
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("faults: 0", last="")
        count = 0

        def show(struck: Struck) -> None:
            nonlocal count
            count += 1
            last = f"{struck.kind} {struck.detail}: {struck.recovery:.2f} s"
            progress.update(task, description=f"faults: {count}", last=last)
            if not console.is_terminal:
                console.print(f"{struck.at:7.1f} s  {last}")

        return asyncio.run(run(plan, show))


if __name__ == "__main__":
    main()
