"""Tenants that a check makes for itself and takes away again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eventrunner.cli.connection import Api, ApiError, Connection
from eventrunner.doctor.gateway import Credentials
from eventrunner.ids import new_id

__all__ = ["lent_tenants"]


@asynccontextmanager
async def lent_tenants(connection: Connection) -> AsyncIterator[Credentials]:
    """Two tenants and keys of the one, on the installation that the connection leads to. Raises ApiError."""
    own, other = (f"doctor-{name}-{new_id()[-8:].lower()}" for name in ("own", "other"))
    async with Api(connection) as api:
        try:
            for tenant in (own, other):
                await api.call("PUT", f"/api/v1/tenants/{tenant}", {"name": "made by eventrunner doctor"})
            keys = {role: await _key(api, own, role) for role in ("user", "event_publisher", "deleted")}
            await api.call("DELETE", f"/api/v1/tenants/{own}/keys/{keys['deleted'][0]}")
            texts = {role: text for role, (_, text) in keys.items()}
            await _until_settled(connection.url, own, texts["user"], texts["deleted"])
            yield Credentials(own, other, admin=connection.key, **texts)
        finally:
            for tenant in (own, other):
                await api.call("DELETE", f"/api/v1/tenants/{tenant}?confirm={tenant}")


async def _key(api: Api, tenant: str, role: str) -> tuple[str, str]:
    made = await api.call("POST", f"/api/v1/tenants/{tenant}/keys", {"roles": ["user" if role == "deleted" else role]})
    return made["id"], made["key"]


async def _until_settled(url: str, tenant: str, good: str, deleted: str) -> None:
    """A change of the registry takes a moment to reach everybody."""
    async with asyncio.timeout(20):
        while await _status(url, tenant, good) != 200 or await _status(url, tenant, deleted) != 401:
            await asyncio.sleep(0.1)


async def _status(url: str, tenant: str, key: str) -> int:
    async with Api(Connection(url, key)) as api:
        try:
            await api.call("GET", f"/api/v1/tenants/{tenant}")
        except ApiError as error:
            return error.http_status
        return 200
