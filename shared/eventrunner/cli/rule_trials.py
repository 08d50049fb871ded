"""`eventrunner rules explain|dry-run`: what rules would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from eventrunner.cli.calls import as_json, path, progress_bar, run
from eventrunner.cli.connection import Api
from eventrunner.cli.rule_files import RULE_FILE, RULE_SET, SetName, read_or_exit
from eventrunner.cli.rule_reports import dry_run_text, explanation_text, merge_pages
from eventrunner.errors import InvalidInput
from eventrunner.events import check_event, decode_incoming
from eventrunner.rules import RuleSet, explain, explanation_document

__all__ = ["COMMANDS"]


def _facts(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if wrong := [name + found + text for name, found, text in pairs if not (name and found)]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE, such as plan=gold")
    return {name: text for name, _, text in pairs}


@click.command("explain")
@click.argument("rules", metavar="FILE|TENANT/NAME")
@click.option("--event", type=RULE_FILE, help="File with one CloudEvent in JSON.")
@click.option("--id", "event_id", help="A stored event of the tenant instead.")
@click.option("--source", help="Source of the stored event, if several have that id.")
@click.option("--version", type=click.IntRange(min=1), help="Of TENANT/NAME.  [default: in force, else the newest]")
@click.option("--tenant", "facts", multiple=True, callback=_facts, metavar="NAME=VALUE", help="Fact of FILE's Tenant.")
@as_json
def explain_(
    rules: str, event: Path | None, event_id: str | None, facts: dict[str, str], as_json: bool, **of: Any
) -> None:
    """Show for one event what each condition yields, part by part, which rules fire and what each statement does.

    The rules are those of a FILE, which needs no platform, or of a stored rule set TENANT/NAME.
    """
    if (event is None) == (event_id is None):
        raise click.UsageError("say which event: --event FILE, or --id of a stored one, one of the two.")
    file = Path(rules)
    if file.is_file():
        if event is None or any(of.values()):
            raise click.UsageError("--id, --source and --version go with TENANT/NAME; a FILE of rules takes --event.")
        compiled = read_or_exit(file, as_json).rules
        assert compiled is not None
        document = _explain(compiled, event, facts)
    else:
        document = _explain_stored(rules, event, event_id, facts, **of)
    click.echo(json.dumps(document) if as_json else explanation_text(document))


def _explain(rules: RuleSet, file: Path, facts: dict[str, str]) -> dict[str, Any]:
    try:
        event = check_event(decode_incoming(file.read_bytes()))
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {error.detail}", error.fields) from error
    return explanation_document(event.id, explain(rules, event, facts))


def _explain_stored(
    target: str,
    file: Path | None,
    event_id: str | None,
    facts: dict[str, str],
    version: int | None,
    source: str | None,
) -> dict[str, Any]:
    if "/" not in target:
        raise click.BadParameter(f"{target!r} is no file and not TENANT/NAME.", param_hint="FILE|TENANT/NAME")
    rule_set = RULE_SET.convert(target, None, None)
    if facts:
        raise click.UsageError("--tenant is for the rules of a FILE: the facts of a stored set's tenant are known.")
    body: dict[str, Any] = {"version": version, "id": event_id, "source": source}
    if file is not None:
        body["event"] = _read_json(file)
    given = {name: value for name, value in body.items() if value is not None}
    document: dict[str, Any] = run(lambda api: api.call("POST", path("rules", *rule_set, "explain"), given))
    return document


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise InvalidInput(f"{file} is not JSON: {error}.") from error


@click.command("dry-run")
@click.argument("rule_set", metavar="TENANT/NAME", type=RULE_SET)
@click.argument("draft", required=False, type=RULE_FILE)
@click.option("--version", type=click.IntRange(min=1), help="Try a stored version.  [default: the newest]")
@click.option("--from", "since", metavar="TIME", required=True, help="Events of this time or later (RFC 3339).")
@click.option("--to", "until", metavar="TIME", help="Events before this time.  [default: now]")
@click.option("--type", "type_", help="Type of the events.")
@click.option("--source", help="Source of the events.")
@click.option("--over", "tenant", metavar="TENANT", help="Whose events, for a rule set of the platform.")
@as_json
def dry_run(rule_set: SetName, draft: Path | None, version: int | None, as_json: bool, **asked: str | None) -> None:
    """Run the file DRAFT, or a stored version, over the tenant's stored events, and compare with what is in force.

    Says how many events match, how often each rule fires, what would be changed, derived, dropped or fail. Nothing is
    stored or sent.
    """
    if draft is not None and version is not None:
        raise click.UsageError("give a DRAFT or a --version, one of the two.")
    text = read_or_exit(draft, as_json).text if draft is not None else None
    names = {"since": "from", "until": "to", "type_": "type"}
    body: dict[str, Any] = {names.get(name, name): value for name, value in asked.items() if value is not None}
    body |= {name: value for name, value in (("text", text), ("version", version)) if value is not None}
    document = run(lambda api: _pages(api, rule_set, body, as_json))
    click.echo(json.dumps(document) if as_json else dry_run_text(str(rule_set), document))


async def _pages(api: Api, rule_set: SetName, body: dict[str, Any], quiet: bool) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    with progress_bar(quiet) as progress:
        task = progress.add_task(f"dry run of {rule_set}", total=1.0, note="")
        while True:
            page = await api.call("POST", path("rules", *rule_set, "dry-run"), body)
            merged = merge_pages(merged, page)
            progress.update(task, completed=page["progress"], note=f"{merged['read']} events")
            if page["next"] is None:
                return merged
            body |= {"cursor": page["next"], "to": page["to"]}


COMMANDS = (explain_, dry_run)
