"""Rule files and rule sets as arguments of commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from eventrunner.cli.names import OwnedNameType
from eventrunner.rules import Problem, RuleSet, RuleSyntaxError, as_grl, compile_rules, json_to_grl, warnings_of

__all__ = ["RULE_FILE", "RULE_SET", "RuleFile", "read_or_exit", "read_rules"]

RULE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class RuleFile(NamedTuple):
    """A file and what is wrong with it; `rules` is None if anything is."""

    path: Path
    text: str
    """GRL, also of Grule's JSON rules."""
    rules: RuleSet | None
    problems: Sequence[Problem]
    warnings: Sequence[Problem] = ()

    @property
    def shown(self) -> str:
        """For people: the problems and warnings, each with its line and a caret, and how many rules there are."""
        lines = [str(problem) for problem in (*self.problems, *self.warnings)]
        if self.rules is not None:
            warned = f", {_counted(len(self.warnings), 'warning')}" if self.warnings else ""
            lines.append(f"{self.path}: {_counted(len(self.rules.names), 'rule')}, no errors{warned}")
        return "\n".join(lines)

    def report(self) -> dict[str, Any]:
        return {
            "file": str(self.path),
            "ok": self.rules is not None,
            "rules": len(self.rules.names) if self.rules else 0,
            "problems": [_document(problem) for problem in self.problems],
            "warnings": [_document(problem) for problem in self.warnings],
        }


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _document(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "column": problem.column, "message": problem.message, "hint": problem.hint}


RULE_SET = OwnedNameType("acme/alerts (_platform/NAME for the platform's own)")


def read_rules(path: Path) -> RuleFile:
    """Compiles a file: GRL, or Grule's JSON rules in *.json."""
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            text, name = json_to_grl(text, name), as_grl(name)
        rules = compile_rules(text, name=name)
    except RuleSyntaxError as error:
        return RuleFile(path, "", None, error.problems)
    except UnicodeDecodeError as error:
        return RuleFile(path, "", None, [Problem(name, 1, 1, f"not UTF-8: {error}", "")])
    return RuleFile(path, text, rules, (), warnings_of(rules.rules, text, name))


def read_or_exit(path: Path, as_json: bool) -> RuleFile:
    """Shows the problems of a file that has any, as `check` does, and ends the command with status 1."""
    file = read_rules(path)
    if file.rules is None:
        click.echo(json.dumps(file.report()) if as_json else file.shown, err=not as_json)
        sys.exit(1)
    return file
