"""`eventrunner doctor`: what an installation must refuse, tried on it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.keys import ROLES
from eventrunner.access.policy import Policy
from eventrunner.cli.calls import as_json, show
from eventrunner.cli.connection import Connection, find_connection
from eventrunner.cli.lent_tenants import lent_tenants
from eventrunner.doctor.authz import Row, matrix
from eventrunner.doctor.gateway import Result, check, read_probes, signed_probes
from eventrunner.doctor.signed_tokens import Issuer, SigningKey
from eventrunner.errors import ConfigurationError
from eventrunner.local.project import find_project
from eventrunner.settings import Settings

__all__ = ["command"]


@click.group("doctor", help="Check what an installation lets through, and print who may do what.")
def command() -> None:
    pass


@command.command("gateway")
@click.option("--url", help="Base URL of the gateway; else that of the platform found as by every command.")
@click.option(
    "--signing-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key (PEM, JWK or JWKS) of an issuer whose tokens the gateway takes, for tokens signed by it.",
)
@click.option("--key-id", default="", help="How the gateway's key set names that key.  [default: the key's kid]")
@click.option("--issuer", help="`iss` of its tokens.  [default: the first of EVENTRUNNER_JWT_ISSUERS]")
@click.option("--audience", help="`aud` of its tokens.  [default: EVENTRUNNER_JWT_AUDIENCE, else eventrunner-api]")
@as_json
def gateway(
    url: str | None, signing_key: Path | None, key_id: str, issuer: str | None, audience: str | None, as_json: bool
) -> None:
    """Send a gateway what it has to let through and what it has to refuse: every call by every role and by nobody,
    forged tokens, other tenants' things, tricks with paths; with --signing-key also tokens that are really signed, good
    and bad ones. Works in two tenants that it makes and deletes, with the operator's key of EVENTRUNNER_KEY or of
    `eventrunner dev`. Exits with 1 if an answer is wrong."""
    found = find_connection()
    trusted = _issuer(signing_key, key_id, issuer, audience) if signing_key is not None else None
    results, signed = asyncio.run(_try(Connection(url or found.url, found.key), trusted))
    wrong = [result for result in results if not result.passed]
    counted = f"{signed} of them with" if signed else "none with"
    summary = [f"{len(results)} requests, {len(wrong)} with the wrong answer; {counted} signed tokens"]
    if not signed:
        summary.append("signed tokens (expired, for others, of crafted subjects …) were not tried: give --signing-key")
    show(
        {"requests": len(results), "signed": signed, "wrong": [_as_dict(result) for result in wrong]},
        as_json,
        "\n".join([*summary, *map(_line, wrong)]),
    )
    sys.exit(1 if wrong else 0)


def _issuer(file: Path, key_id: str, name: str | None, audience: str | None) -> Issuer:
    settings = Settings.from_env()
    name = name or settings.jwt_issuers.partition(",")[0].strip()
    if not name:
        raise ConfigurationError("Say with --issuer (or EVENTRUNNER_JWT_ISSUERS) whose tokens the gateway takes.")
    return Issuer(name, audience or settings.jwt_audience, SigningKey.read(file.read_text(), key_id))


async def _try(connection: Connection, issuer: Issuer | None) -> tuple[list[Result], int]:
    """The results, and how many of them are of signed tokens."""
    async with lent_tenants(connection) as credentials:
        signed = signed_probes(credentials, issuer) if issuer is not None else []
        probes = read_probes(credentials) + signed
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("asking", total=len(probes))
            return await check(connection.url, probes, lambda result: progress.advance(task)), len(signed)


def _as_dict(result: Result) -> dict[str, object]:
    request = result.probe.request
    return {
        "name": result.probe.name,
        "request": f"{request.method} {request.target}",
        "status": result.answer.status,
        "expected": list(result.probe.expected),
    }


def _line(result: Result) -> str:
    found = _as_dict(result)
    return f"{found['name']}: {found['request']} → {found['status']}, expected {found['expected']}"


@command.command("authz")
@click.option(
    "--policies",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with access-rules.yaml, authz.rego and data.json.  [default: that of the project]",
)
@as_json
def authz(policies: Path | None, as_json: bool) -> None:
    """Print which role may make which call, of its own tenant's things and of another's."""
    folder = policies or find_project().policies
    rows = matrix(load_access_rules(folder / "access-rules.yaml"), Policy.from_folder(folder))
    if as_json:
        show([{"call": row.call, "whose": row.whose, "allowed": row.allowed} for row in rows], True, "")
        return
    Console(width=140 if not sys.stdout.isatty() else None).print(_table(rows))


def _table(rows: list[Row]) -> Table:
    table = Table("call", "whose", "nobody", *ROLES)
    for row in rows:
        table.add_row(row.call, row.whose, *("yes" if row.allowed[who] else "–" for who in ("nobody", *ROLES)))
    return table
