"""What a consumer's process is told of the registry: its own record, its tenant's signing keys, and its module."""

from __future__ import annotations

import msgspec
from nats.aio.client import Client

from eventrunner.storage.modules import read_module
from eventrunner.storage.records import CONSUMERS, SIGNING_KEYS, Consumer, tenant_key
from eventrunner.storage.registry import Registry
from eventrunner.storage.stream_reader import read_stream

__all__ = ["ConsumerState", "ConsumerStates"]

_PAGE, _PAGE_BYTES = 256, 1024 * 1024


class ConsumerState(msgspec.Struct, frozen=True):
    """Values as they are in the buckets."""

    record: bytes | None = None
    keys: dict[str, bytes] = {}
    """`<tenant>.<key id>`."""


class ConsumerStates:
    """Reads them from the server. Every call may raise Unavailable."""

    def __init__(self, client: Client) -> None:
        self._registry = Registry(client)

    async def read(self, tenant: str, name: str) -> ConsumerState:
        record = await self._registry.get(CONSUMERS, tenant_key(tenant, name))
        return ConsumerState(record, await self._keys(tenant) if record is not None else {})

    async def module(self, tenant: str, name: str, sha256: str) -> bytes | None:
        """None for any other module than the one that the consumer's record names. Raises InvalidInput for a record
        that cannot be read."""
        record = await self._registry.get(CONSUMERS, tenant_key(tenant, name))
        module = Consumer.from_json(record).module if record is not None else None
        if module is None or module.sha256 != sha256:
            return None
        return await read_module(self._registry.client, sha256)

    async def _keys(self, tenant: str) -> dict[str, bytes]:
        prefix = f"$KV.{SIGNING_KEYS}."
        keys: dict[str, bytes] = {}
        sequence = 1
        # Without a watch, of which each look would leave one behind at the server for a while.
        while page := await read_stream(
            self._registry.client,
            f"KV_{SIGNING_KEYS}",
            f"{prefix}{tenant}.*",
            sequence=sequence,
            most=_PAGE,
            max_bytes=_PAGE_BYTES,
        ):
            keys |= {
                item.subject[len(prefix) :]: item.body for item in page if item.headers.get("KV-Operation") is None
            }
            sequence = page[-1].sequence + 1
        return keys
