"""`eventrunner rules`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

import click

from eventrunner.errors import InvalidInput
from eventrunner.rules import RuleSyntaxError, compile_rules, json_to_grl
from eventrunner.rules.protocol import answer

__all__ = ["command"]


@click.group("rules", help="Check and run GRL rule sets.")
def command() -> None:
    pass


@command.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Compile rule files (GRL, or Grule's JSON rules in *.json) and show every error. Exits 1 if there is one."""
    reports = [_report(path) for path in files]
    for report in reports:
        if as_json:
            click.echo(json.dumps({key: value for key, value in report.items() if key != "text"}))
        else:
            click.echo(report["text"], err=not report["ok"])
    sys.exit(0 if all(report["ok"] for report in reports) else 1)


def _report(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        rule_set = compile_rules(json_to_grl(text, str(path)) if path.suffix == ".json" else text, name=str(path))
    except RuleSyntaxError as error:
        problems = [
            {"line": item.line, "column": item.column, "message": item.message, "hint": item.hint}
            for item in error.problems
        ]
        return {"file": str(path), "ok": False, "rules": 0, "problems": problems, "text": str(error)}
    except UnicodeDecodeError as error:
        problem = {"line": 1, "column": 1, "message": f"not UTF-8: {error}", "hint": ""}
        return {
            "file": str(path),
            "ok": False,
            "rules": 0,
            "problems": [problem],
            "text": f"{path}: {problem['message']}",
        }
    count = len(rule_set.names)
    text = f"{path}: {count} rule{'' if count == 1 else 's'}, no errors"
    return {"file": str(path), "ok": True, "rules": count, "problems": [], "text": text}


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
