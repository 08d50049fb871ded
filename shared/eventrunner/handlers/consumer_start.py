"""Puts a tenant's consumer together out of the settings of its process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.errors import ConfigurationError
from eventrunner.handlers.consumer_attempts import Attempts
from eventrunner.handlers.consumer_guest import ActiveGuest, Source
from eventrunner.handlers.tenant_consumer import TenantConsumer
from eventrunner.settings import Settings
from eventrunner.storage.consumer_logs import ConsumerLog, log_subject
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.modules import ModuleStore
from eventrunner.storage.records import CONSUMERS, SIGNING_KEYS, SigningKey, tenant_key
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.signing import PublicKey, verify

__all__ = ["make_consumer"]


def make_consumer(settings: Settings, policies: Path) -> TenantConsumer:
    """Raises ConfigurationError when the settings name no consumer."""
    tenant, _, name = settings.consumer.partition("/")
    if not tenant or not name:
        raise ConfigurationError(f"EVENTRUNNER_CONSUMER must be <tenant>/<name>, not {settings.consumer!r}.")
    registry = Mirror(settings.nats_url, (CONSUMERS, SIGNING_KEYS))
    engine = shared_engine()
    cache = ModuleCache(engine, Path(settings.module_cache) if settings.module_cache else None)

    def compiled(code: bytes, keys: Iterable[bytes]) -> Guest:
        # Once more: the key may have been revoked since the module was taken.
        verify(code, [PublicKey.parse(SigningKey.from_json(key).public.encode()) for key in keys])
        return load_guest(engine, cache, code)

    def catch_up() -> None:
        for bucket in (CONSUMERS, SIGNING_KEYS):
            registry.catch_up(bucket)

    source = Source(
        record=partial(registry.get, CONSUMERS, tenant_key(tenant, name)),
        keys=partial(registry.items, SIGNING_KEYS),
        code=ModuleStore(registry).read,
        catch_up=catch_up,
        compiled=compiled,
    )
    guest = ActiveGuest(settings.consumer, engine, source)
    log = ConsumerLog(partial(registry.send_later, log_subject(tenant, name)))
    return TenantConsumer(guest, WasmPolicy.from_folder(policies), Attempts(log), settings.max_event_bytes)
