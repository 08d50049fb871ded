"""`eventrunner consumer`: a tenant's WebAssembly consumers, through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eventrunner.api.consumer_settings import STREAMS
from eventrunner.cli.calls import all_pages, as_json, path, run, show
from eventrunner.cli.connection import Api
from eventrunner.cli.consumer_build import build
from eventrunner.cli.consumer_logs import logs
from eventrunner.cli.consumer_new import new
from eventrunner.cli.consumer_options import instance_option, limit_options
from eventrunner.cli.consumer_run import run as run_
from eventrunner.cli.consumer_sign import SECRET_KEY, SIGNATURE_COMMANDS, signed_code
from eventrunner.cli.consumer_wait import described, settled
from eventrunner.cli.names import OwnedName, OwnedNameType
from eventrunner.errors import InvalidInput
from eventrunner.wasm.binary import read_module
from eventrunner.wasm.signing import SecretKey

__all__ = ["command"]

_CONSUMER = OwnedNameType("acme/alerts")
_MEDIA = "application/wasm"


@click.group("consumer", help="Write, build, sign, try, deploy, list and remove tenants' WebAssembly consumers.")
def command() -> None:
    pass


for _subcommand in (new, build, run_, logs, *SIGNATURE_COMMANDS):
    command.add_command(_subcommand)


@command.command("deploy")
@click.argument("consumer", metavar="TENANT/NAME", type=_CONSUMER)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--stream", type=click.Choice(STREAMS), default="results", show_default=True, help="After rules, or before."
)
@click.option("--type", "types", multiple=True, help="Only these; `order.*`: all that begin so. Repeatable.")
@click.option("--source", "sources", multiple=True, help="From this source only. Repeatable.")
@click.option("--ordered", is_flag=True, help="One event after the other.")
@instance_option
@limit_options(None)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds until it must have been tried; 0 does not wait.",
)
@click.option("--sign-key", "secret", type=SECRET_KEY, help="Sign it with this secret key before.")
@as_json
def deploy(
    consumer: OwnedName,
    file: Path,
    types: tuple[str, ...],
    sources: tuple[str, ...],
    ordered: bool,
    secret: SecretKey | None,
    wait: float,
    as_json: bool,
    **settings: Any,
) -> None:
    """Store FILE (a WebAssembly component, or a waPC module) as the consumer TENANT/NAME, or in its place. It must be
    signed with one of the tenant's keys. Its limits come from the tenant's plan, which also says how much may be asked
    for. Waits until it is known whether it runs; ends with 1 if it does not."""
    code = file.read_bytes()
    try:
        read_module(code)
    except InvalidInput as error:
        raise click.UsageError(f"{file}: {error.detail}") from error
    code = code if secret is None else signed_code(file, secret)
    query = {**settings, "type": types, "source": sources, "ordered": "true" if ordered else None}

    async def work(api: Api) -> dict[str, Any]:
        made = await api.call("PUT", path("consumers", *consumer, **query), content=(_MEDIA, code))
        return await settled(api, consumer, made, wait)

    made = run(work)
    module = made["module"]
    stored = f"{module['kind']} of {module['size']} bytes, {module['sha256'][:12]}"
    show(made, as_json, f"{consumer} is stored: {stored}\n{described(made['status'])}")
    if made["status"]["state"] == "failed":
        raise SystemExit(1)


@command.command("list")
@click.argument("tenant")
@as_json
def list_(tenant: str, as_json: bool) -> None:
    """List TENANT's consumers."""
    found = run(lambda api: all_pages(api, "consumers", tenant, member="consumers"))
    lines = [_line(item) for item in found["consumers"]]
    show(found, as_json, "\n".join(lines) or f"{tenant} has no consumers")


@command.command("show")
@click.argument("consumer", metavar="TENANT/NAME", type=_CONSUMER)
@as_json
def show_(consumer: OwnedName, as_json: bool) -> None:
    """Show a consumer: its module, which events it is handed, its limits and its status."""
    found = run(lambda api: api.call("GET", path("consumers", *consumer)))
    lines = [_line(found)]
    lines.append(f"  signed by      {found['signed_by'] or 'nobody'}")
    lines.append(f"  instance       {found['instance']}")
    parts = found | {"status": found["status"] | {"skipped": _skipped(found["status"]["skipped"])}}
    for part in ("module", "subscription", "limits", "status"):
        lines += [f"  {part}", *(f"    {name:14} {_text(value)}" for name, value in (parts[part] or {}).items())]
    show(found, as_json, "\n".join(lines))


@command.command("remove")
@click.argument("consumer", metavar="TENANT/NAME", type=_CONSUMER)
@as_json
def remove(consumer: OwnedName, as_json: bool) -> None:
    """Remove a consumer, and its module where no other consumer has the same."""
    run(lambda api: api.call("DELETE", path("consumers", *consumer)))
    show({"removed": str(consumer)}, as_json, f"{consumer} is removed")


def _line(item: dict[str, Any]) -> str:
    module = item["module"]
    kind = f"{module['kind']} of {module['size']} bytes" if module else "no module"
    status = item["status"]
    counts = f"{_text(status['handled'])} handled, {_text(status['failed'])} failed"
    why = f": {status['detail']}" if status["state"] == "failed" else ""
    if skipped := status["skipped"]:
        counts += f", {skipped['messages']} messages skipped"
    return f"{item['name']}  {kind}, {status['state']}, {_replicas(status['replicas'])}, {counts}{why}"


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _skipped(told: dict[str, Any] | None) -> str:
    return f"{told['messages']} messages, {told['first']} to {told['last']}" if told else "none"


def _text(value: Any) -> str:
    if value is None:
        return "not known"
    return (", ".join(value) or "-") if isinstance(value, list) else str(value)
