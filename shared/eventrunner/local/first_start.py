"""What has to be in NATS before the first event: streams and buckets, the administrator's key, the plans that ship."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import msgspec

from eventrunner.access.keys import hash_key, make_key
from eventrunner.billing.plans import shipped_plan
from eventrunner.errors import Conflict
from eventrunner.local.data_dir import DataDir
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from eventrunner.storage.records import KEYS, PLANS
from eventrunner.storage.registry import Registry

__all__ = ["admin_key", "apply_manifests", "register_admin", "register_plans"]


async def apply_manifests(nats_url: str, manifests: Iterable[Path]) -> None:
    """Each stream and bucket as declared, with one replica: there is one server."""
    client = await connect(nats_url, name="eventrunner dev")
    try:
        await apply_streams(JetStreamApi(client), read_streams(manifests), replicas=1)
    finally:
        await disconnect(client)


def admin_key(data: DataDir) -> str:
    return data.admin_key(lambda: make_key("any", ["admin"])[0])


async def register_admin(registry: Registry, text: str) -> None:
    """The key of whoever runs the platform: it belongs to no tenant."""
    _, record = make_key("any", ["admin"], subject="admin")
    record = msgspec.structs.replace(record, hash=hash_key(text), last4=text[-4:], tenant="")
    await _put_if_absent(registry, KEYS, {record.hash: record.to_json()})


async def register_plans(registry: Registry) -> None:
    """Adds the plans that ship; one that is there stays as it was made."""
    names = [file.name.removesuffix(".yaml") for file in files("eventrunner.billing").joinpath("plans").iterdir()]
    plans = {name: plan for name in names if (plan := shipped_plan(name)) is not None}
    await _put_if_absent(registry, PLANS, {name: msgspec.json.encode(plan) for name, plan in plans.items()})


async def _put_if_absent(registry: Registry, bucket: str, values: Mapping[str, bytes]) -> None:
    for key, value in values.items():
        with contextlib.suppress(Conflict):
            await registry.create(bucket, key, value)
