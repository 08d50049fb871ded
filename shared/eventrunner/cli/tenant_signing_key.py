"""`eventrunner tenant signing-key`: the keys that a tenant's modules may be signed with, through the API."""

from __future__ import annotations

from typing import Any

import click

from eventrunner.cli.calls import all_pages, as_json, path, run, show
from eventrunner.cli.consumer_sign import PublicKeyFile
from eventrunner.wasm.signing import PublicKey

__all__ = ["signing_key"]


@click.group("signing-key", help="Register, list and revoke the keys that sign a tenant's consumers.")
def signing_key() -> None:
    pass


@signing_key.command("add")
@click.argument("tenant")
@click.argument("key", metavar="FILE", type=PublicKeyFile())
@click.option("--name", default="", help="For people, such as `ci`.")
@as_json
def add(tenant: str, key: PublicKey, name: str, as_json: bool) -> None:
    """Register the public key in FILE: as wasmsign2 writes it, PEM, DER or OpenSSH's line."""
    body = {"public_key": key.to_text(), "name": name}
    made = run(lambda api: api.call("POST", path("signing-keys", tenant), body))
    show(made, as_json, f"{made['id']} may sign consumers of {tenant}")


@signing_key.command("list")
@click.argument("tenant")
@as_json
def list_(tenant: str, as_json: bool) -> None:
    """List TENANT's keys, each with the id by which modules name it."""
    found = run(lambda api: all_pages(api, "signing-keys", tenant, member="signing_keys"))
    lines = [_line(item) for item in found["signing_keys"]]
    show(found, as_json, "\n".join(lines) or f"{tenant} has no signing keys")


@signing_key.command("remove")
@click.argument("tenant")
@click.argument("key", metavar="KEY-ID")
@as_json
def remove(tenant: str, key: str, as_json: bool) -> None:
    """Revoke the key with this id: what is signed with it runs no longer."""
    run(lambda api: api.call("DELETE", path("signing-keys", tenant, key)))
    show({"id": key, "removed": True}, as_json, f"{key} is revoked: what it has signed of {tenant}'s runs no longer")


def _line(item: dict[str, Any]) -> str:
    return f"{item['id']}  {item['module_key_id']} in modules  since {item['created'][:16]}Z  {item['name']}".rstrip()
