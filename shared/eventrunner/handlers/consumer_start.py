"""Puts a tenant's consumer together out of the settings of its process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.errors import ConfigurationError
from eventrunner.handlers.consumer_attempts import Attempts
from eventrunner.handlers.consumer_desk import Desk
from eventrunner.handlers.consumer_guest import ActiveGuest, Source
from eventrunner.handlers.tenant_consumer import TenantConsumer
from eventrunner.settings import Settings
from eventrunner.stage import Batch, Handler, Outcomes
from eventrunner.storage.consumer_logs import ConsumerLog
from eventrunner.storage.records import SigningKey
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.signing import PublicKey, verify

__all__ = ["make_consumer"]


def make_consumer(settings: Settings, policies: Path) -> Handler:
    """Raises ConfigurationError when the settings name no consumer, or no desk."""
    tenant, _, name = settings.consumer.partition("/")
    if not tenant or not name:
        raise ConfigurationError(f"EVENTRUNNER_CONSUMER must be <tenant>/<name>, not {settings.consumer!r}.")
    if not settings.consumer_desk_url:
        raise ConfigurationError(
            "EVENTRUNNER_CONSUMER_DESK_URL must say where the platform tells what there is to run."
        )
    desk = Desk(settings.consumer_desk_url, settings.consumer)
    engine = shared_engine()
    cache = ModuleCache(engine, Path(settings.module_cache) if settings.module_cache else None)

    def compiled(code: bytes, keys: Iterable[bytes]) -> Guest:
        # Once more: the key may have been revoked since the module was taken.
        verify(code, [PublicKey.parse(SigningKey.from_json(key).public.encode()) for key in keys])
        return load_guest(engine, cache, code)

    source = Source(record=desk.record, keys=desk.keys, code=desk.code, compiled=compiled)
    guest = ActiveGuest(settings.consumer, engine, source)
    attempts = Attempts(ConsumerLog(desk.send_later))
    consumer = TenantConsumer(guest, WasmPolicy.from_folder(policies), attempts, settings.max_event_bytes)

    def handle(batch: Batch) -> Outcomes:
        # Who sends nothing asks whether the guest can be run as things are.
        desk.look(batch.authorization, anew=not batch.count)
        return consumer(batch)

    return handle
