"""Makes tenants ready to send: the record, a key of its own, an active rule set."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from eventrunner.cli.connection import Api, ApiError, Connection
from eventrunner.errors import ConfigurationError

__all__ = ["provision", "shipped_rules"]


def shipped_rules(name: str) -> str:
    """Text of a rule set in the repository's folder `rules/`. Raises ConfigurationError when it is not there."""
    for folder in (Path.cwd(), *Path(__file__).resolve().parents):
        file = folder / "rules" / name
        # The library has a package of that name too; the folder of rule sets is the one with the file.
        if file.is_file():
            return file.read_text()
    raise ConfigurationError(f"rules/{name} is not in this folder: run the command from the repository.")


async def provision(
    api: Api, tenants: Iterable[str], *, rules: Mapping[str, str], plan: str = "standard"
) -> dict[str, str]:
    """Creates the tenants with one publishing key each and the named rule sets active; returns the keys by tenant."""

    async def one(tenant: str) -> tuple[str, str]:
        await api.call("PUT", f"/api/v1/tenants/{tenant}", {"name": tenant, "plan": plan})
        for name, text in rules.items():
            await api.call("PUT", f"/api/v1/rules/{tenant}/{name}", text=text)
            await api.call("POST", f"/api/v1/rules/{tenant}/{name}/activate")
        key = await api.call("POST", f"/api/v1/tenants/{tenant}/keys", {"roles": ["event_publisher", "user"]})
        await _until_live(api.url, key["key"])
        return tenant, key["key"]

    return dict(await asyncio.gather(*(one(tenant) for tenant in tenants)))


async def _until_live(url: str, key: str) -> None:
    """Returns when the gateway knows the key and ingest the tenant: a change of the registry takes a moment."""
    async with asyncio.timeout(10), Api(Connection(url, key)) as api:
        while True:
            try:
                # A request without an event: refused for that as soon as it is let through.
                await api.call("POST", "/api/v1/events")
            except ApiError as error:
                if error.http_status not in (401, 403):
                    return
            await asyncio.sleep(0.05)
