"""`eventrunner rules explain|dry-run`: what rules would do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from eventrunner.cli.calls import as_json, path, progress_bar, run
from eventrunner.cli.connection import Api
from eventrunner.cli.names import OwnedName
from eventrunner.cli.rule_files import RULE_FILE, RULE_SET, read_or_exit
from eventrunner.cli.rule_reports import dry_run_text, explanation_text, merge_pages
from eventrunner.errors import InvalidInput
from eventrunner.events import check_event, decode_incoming
from eventrunner.rules import RuleSet, explain, explanation_document
from eventrunner.tenancy import PLATFORM, check_tenant

__all__ = ["COMMANDS"]


def _facts(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if wrong := [name + found + text for name, found, text in pairs if not (name and found)]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE, such as plan=gold")
    return {name: text for name, _, text in pairs}


@click.command("explain")
@click.argument("rules", metavar="FILE|TENANT[/NAME]")
@click.option("--event", type=RULE_FILE, help="File with one CloudEvent in JSON.")
@click.option("--id", "event_id", help="A stored event of the tenant instead.")
@click.option("--source", help="Source of the stored event, if several have that id.")
@click.option("--version", type=click.IntRange(min=1), help="Of TENANT/NAME.  [default: in force, else the newest]")
@click.option("--together", is_flag=True, help="TENANT/NAME among all that is in force.")
@click.option("--tenant", "facts", multiple=True, callback=_facts, metavar="NAME=VALUE", help="Fact of FILE's Tenant.")
@as_json
def explain_(
    rules: str, event: Path | None, event_id: str | None, facts: dict[str, str], as_json: bool, **of: Any
) -> None:
    """Show for one event what each condition yields, part by part, which rules fire and what each statement does.

    The rules are those of a FILE, which needs no platform, of a stored rule set TENANT/NAME, or all that events of
    TENANT go through: the platform's in force, then the tenant's.
    """
    if (event is None) == (event_id is None):
        raise click.UsageError("say which event: --event FILE, or --id of a stored one, one of the two.")
    file = Path(rules)
    if file.is_file():
        if event is None or any(of.values()):
            raise click.UsageError(
                "--id, --source, --version and --together go with TENANT/NAME; a FILE of rules takes --event."
            )
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
    together: bool,
) -> dict[str, Any]:
    if facts:
        raise click.UsageError("--tenant is for the rules of a FILE: the facts of a stored set's tenant are known.")
    segments = _segments(target)
    if len(segments) == 1 and (version is not None or together):
        raise click.UsageError("--version and --together go with TENANT/NAME; TENANT has all that is in force.")
    body: dict[str, Any] = {"version": version, "id": event_id, "source": source, "together": together or None}
    if file is not None:
        body["event"] = _read_json(file)
    given = {name: value for name, value in body.items() if value is not None}
    document: dict[str, Any] = run(lambda api: api.call("POST", path("rules", *segments, "explain"), given))
    return document


def _segments(target: str) -> Sequence[str]:
    """Of the path of a tenant or of a rule set."""
    if "/" in target:
        return RULE_SET.convert(target, None, None)
    try:
        return [target if target == PLATFORM else check_tenant(target)]
    except InvalidInput:
        message = f"{target!r} is no file and neither TENANT nor TENANT/NAME."
        raise click.BadParameter(message, param_hint="FILE|TENANT[/NAME]") from None


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
@click.option("--together", is_flag=True, help="Among all that is in force, the platform's too.")
@click.option("--over", "tenant", metavar="TENANT", help="Whose events, for a rule set of the platform.")
@as_json
def dry_run(
    rule_set: OwnedName, draft: Path | None, version: int | None, together: bool, as_json: bool, **asked: str | None
) -> None:
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
    body |= {"together": True} if together else {}
    document = run(lambda api: _pages(api, rule_set, body, as_json))
    click.echo(json.dumps(document) if as_json else dry_run_text(str(rule_set), document))


async def _pages(api: Api, rule_set: OwnedName, body: dict[str, Any], quiet: bool) -> dict[str, Any]:
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
