"""`eventrunner tenant`: tenants, their keys and quotas, through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from eventrunner.access.keys import ROLES
from eventrunner.cli.calls import all_pages, as_json, path, run, show
from eventrunner.cli.connection import Api
from eventrunner.cli.tenant_signing_key import signing_key

__all__ = ["command"]


def _read_yaml(context: click.Context, parameter: click.Parameter, file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise click.BadParameter(f"{file} must be a mapping with members such as `plan` and `adapters`.")
    return document


@click.group("tenant", help="Create tenants, their keys, quotas and retention; erase them.")
def command() -> None:
    pass


command.add_command(signing_key)


@command.command("create")
@click.argument("tenant")
@click.option("--name", help="Name for people.")
@click.option("--plan", help="What the tenant pays by.  [default: standard]")
@click.option(
    "--file",
    "document",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_read_yaml,
    help="YAML with name, plan, quota, adapters and routes (docs/tenants.md).",
)
@as_json
def create(tenant: str, name: str | None, plan: str | None, document: dict[str, Any], as_json: bool) -> None:
    """Create TENANT, or replace it: a quota, adapters and routes it had and is not given again are gone then."""
    given = {key: value for key, value in (("name", name), ("plan", plan)) if value is not None}
    made = run(lambda api: api.call("PUT", f"/api/v1/tenants/{tenant}", document | given))
    show(made, as_json, f"{made['id']} is a tenant on plan {made['plan']}")


@command.command("key")
@click.argument("tenant")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), help="May be repeated. [default: all but admin]"
)
@click.option("--subject", default="", help="Who will hold the key.")
@click.option("--delete", "key_id", help="Delete the key with this id instead.")
@click.option("--list", "listed", is_flag=True, help="List the keys instead, with when they were used last.")
@click.option("--rotate", "rotated", help="Make a key in place of the one with this id instead.")
@click.option(
    "--grace", type=click.IntRange(0, 30 * 86_400), help="Seconds for which a rotated key works on.  [default: 3600]"
)
@as_json
def key(
    tenant: str,
    roles: tuple[str, ...],
    subject: str,
    key_id: str | None,
    listed: bool,
    rotated: str | None,
    grace: int | None,
    as_json: bool,
) -> None:
    """Make an API key for TENANT. Its text is printed this once; the platform keeps a hash."""
    if sum(map(bool, (key_id, listed, rotated))) > 1:
        raise click.UsageError("--delete, --list and --rotate do not go together.")
    if grace is not None and not rotated:
        raise click.UsageError("--grace goes with --rotate only.")
    if key_id:
        run(lambda api: api.call("DELETE", f"/api/v1/tenants/{tenant}/keys/{key_id}"))
        show({"id": key_id, "deleted": True}, as_json, f"{key_id} is deleted")
    elif listed:
        keys = run(lambda api: all_pages(api, "tenants", tenant, "keys", member="keys"))["keys"]
        lines = [_key_line(item) for item in keys]
        show(keys, as_json, "\n".join(lines) or f"{tenant} has no keys")
    elif rotated:
        body = {} if grace is None else {"grace_seconds": grace}
        made = run(lambda api: api.call("POST", path("tenants", tenant, "keys", rotated, "rotate"), body))
        show(made, as_json, made["key"])
    else:
        wanted = {"roles": roles or [role for role in ROLES if role != "admin"], "subject": subject}
        made = run(lambda api: api.call("POST", f"/api/v1/tenants/{tenant}/keys", wanted))
        show(made, as_json, made["key"])


def _key_line(key: dict[str, Any]) -> str:
    used = f"used {key['last_used'][:16]}Z" if key["last_used"] else "never used"
    ends = f", ends {key['expires'][:16]}Z" if key["expires"] else ""
    return f"{key['id']}  …{key['last4']}  {','.join(key['roles'])}  {key['subject']}  {used}{ends}"


@command.command("quota")
@click.argument("tenant")
@click.option("--events-per-second", type=click.IntRange(min=1))
@click.option("--bytes-per-second", type=click.IntRange(min=1))
@click.option("--burst", type=click.FloatRange(min=0, min_open=True), help="Seconds of unused allowance.")
@click.option("--none", "unlimited", is_flag=True, help="Take the quota away.")
@as_json
def quota(
    tenant: str,
    events_per_second: int | None,
    bytes_per_second: int | None,
    burst: float | None,
    unlimited: bool,
    as_json: bool,
) -> None:
    """Show or set what TENANT may send; options that are not given stay as they are."""
    given = {"events_per_second": events_per_second, "bytes_per_second": bytes_per_second, "burst": burst}
    changes = {name: value for name, value in given.items() if value is not None}
    if unlimited and changes:
        raise click.UsageError("--none does not go together with a limit.")

    async def change(api: Api) -> Any:
        record = await api.call("GET", f"/api/v1/tenants/{tenant}")
        if not unlimited and not changes:
            return record
        record["quota"] = None if unlimited else {**(record["quota"] or {}), **changes}
        return await api.call("PUT", f"/api/v1/tenants/{tenant}", record)

    now = run(change)["quota"]
    show(now, as_json, "no limit" if now is None else ", ".join(f"{name}: {value}" for name, value in now.items()))


@command.command("retention")
@click.argument("tenant")
@click.option("--days", type=click.IntRange(1, 36_500), help="Keep events so long after their receipt.")
@click.option("--none", "unlimited", is_flag=True, help="Keep them for ever.")
@as_json
def retention(tenant: str, days: int | None, unlimited: bool, as_json: bool) -> None:
    """Show or set how long TENANT's events are kept. In Cassandra it holds for events that come from then on."""
    if unlimited and days:
        raise click.UsageError("--none and --days do not go together.")

    async def change(api: Api) -> Any:
        record = await api.call("GET", f"/api/v1/tenants/{tenant}")
        if not unlimited and days is None:
            return record
        return await api.call("PUT", f"/api/v1/tenants/{tenant}", record | {"retention_days": days})

    now = run(change)["retention_days"]
    show({"retention_days": now}, as_json, "for ever" if now is None else f"{now} days")


@command.command("sweep")
@as_json
def sweep(as_json: bool) -> None:
    """Delete what is older than its tenant's retention, and what is left of keys that were rotated long ago.
    `eventrunner dev` does so every hour."""
    swept = run(lambda api: api.call("POST", "/api/v1/retention/sweep"))
    lines = [
        f"{name}: {item['events']} events, {item['rows']} rows, {item['dead_letters']} dead letters"
        for name, item in swept["tenants"].items()
    ]
    if swept["expired_keys"]:
        lines.append(f"{swept['expired_keys']} keys that were rotated")
    show(swept, as_json, "\n".join(lines) or "no tenant has a retention")


@command.command("erase")
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--discard-unbilled", is_flag=True, help="Even if the tenant has usage that is on no final invoice.")
@as_json
def erase(tenant: str, yes: bool, discard_unbilled: bool, as_json: bool) -> None:
    """Delete TENANT for good: events, dead letters, analytics, rules, consumers, keys and record.

    What stays, for accounting, is final invoices with the usage that they were made of.
    """
    if not yes and click.prompt(f"All events of {tenant} will be gone. Type its name to go on", err=True) != tenant:
        raise click.UsageError("That is another name; nothing was deleted.")
    query = f"?confirm={tenant}" + ("&unbilled=discard" if discard_unbilled else "")
    done = run(lambda api: api.call("DELETE", f"/api/v1/tenants/{tenant}{query}"))
    gone = ", ".join(f"{count} {name}" for name, count in done["erased"].items()) or "nothing"
    show(done, as_json, f"{tenant}: deleted {gone}; kept {done['kept']['invoices']} final invoices")
