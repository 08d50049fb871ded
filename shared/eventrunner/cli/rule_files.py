"""Rule files and rule sets as arguments of commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from eventrunner.rules import RuleSet, RuleSyntaxError, compile_rules, json_to_grl

__all__ = ["RULE_FILE", "RULE_SET", "RuleFile", "SetName", "read_or_exit", "read_rules"]

RULE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class RuleFile(NamedTuple):
    """A file and what is wrong with it; `rules` is None if anything is."""

    path: Path
    text: str
    """GRL, also of Grule's JSON rules."""
    rules: RuleSet | None
    problems: list[dict[str, Any]]
    shown: str
    """For people: the problems, each with its line and a caret, or how many rules there are."""

    def report(self) -> dict[str, Any]:
        count = len(self.rules.names) if self.rules else 0
        return {"file": str(self.path), "ok": self.rules is not None, "rules": count, "problems": self.problems}


class SetName(NamedTuple):
    tenant: str
    name: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.name}"


class _SetNameType(click.ParamType[SetName]):
    name = "TENANT/NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SetName:
        if isinstance(value, SetName):
            return value
        tenant, _, name = str(value).partition("/")
        if not tenant or not name or "/" in name:
            self.fail(f"{value!r} is not TENANT/NAME, such as acme/alerts (_platform/NAME for the platform's own)")
        return SetName(tenant, name)


RULE_SET = _SetNameType()


def read_rules(path: Path) -> RuleFile:
    """Compiles a file: GRL, or Grule's JSON rules in *.json."""
    try:
        text = path.read_text(encoding="utf-8")
        text = json_to_grl(text, str(path)) if path.suffix == ".json" else text
        rules = compile_rules(text, name=str(path))
    except RuleSyntaxError as error:
        problems = [
            {"line": item.line, "column": item.column, "message": item.message, "hint": item.hint}
            for item in error.problems
        ]
        return RuleFile(path, "", None, problems, str(error))
    except UnicodeDecodeError as error:
        problem = {"line": 1, "column": 1, "message": f"not UTF-8: {error}", "hint": ""}
        return RuleFile(path, "", None, [problem], f"{path}: {problem['message']}")
    count = len(rules.names)
    return RuleFile(path, text, rules, [], f"{path}: {count} rule{'' if count == 1 else 's'}, no errors")


def read_or_exit(path: Path, as_json: bool) -> RuleFile:
    """Shows the problems of a file that has any, as `check` does, and ends the command with status 1."""
    file = read_rules(path)
    if file.rules is None:
        click.echo(json.dumps(file.report()) if as_json else file.shown, err=not as_json)
        sys.exit(1)
    return file
