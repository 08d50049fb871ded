"""`eventrunner rules`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO

import click

from eventrunner.cli import rule_sets, rule_trials
from eventrunner.cli.rule_files import RULE_FILE, read_rules
from eventrunner.errors import InvalidInput
from eventrunner.rules.protocol import answer

__all__ = ["command"]


@click.group("rules", help="Check, run, try and manage GRL rule sets.")
def command() -> None:
    pass


for _subcommand in (*rule_sets.COMMANDS, *rule_trials.COMMANDS):
    command.add_command(_subcommand)


@command.command("check")
@click.argument("files", nargs=-1, required=True, type=RULE_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Compile rule files (GRL, or Grule's JSON rules in *.json) and show every error. Exits 1 if there is one."""
    checked = [read_rules(path) for path in files]
    for file in checked:
        if as_json:
            click.echo(json.dumps(file.report()))
        else:
            click.echo(file.shown, err=file.rules is None)
    sys.exit(0 if all(file.rules is not None for file in checked) else 1)


@command.command("run")
@click.argument("source", type=click.File("rb"), default="-")
def run(source: IO[bytes]) -> None:
    """Run rules on JSON facts: one request a line from SOURCE (default: standard input), one answer a line.

    \b
    request  {id, grl | grl_json, grls?, remove?, facts, mode: execute|match, max_cycle?, err_on_eval?, runs?}
    answer   {id, facts, fired, cycles, matched, logs, eval_failed, grl_out, error}
    """
    output = sys.stdout.buffer
    for number, line in enumerate(source, start=1):
        if not line.strip():
            continue
        try:
            output.write(answer(line) + b"\n")
        except InvalidInput as error:
            raise click.UsageError(f"line {number}: {error}") from None
        output.flush()
