"""Durable consumers of tenants' consumers: there as long as their records are, and no longer, as what they have not
acked stays in the stream."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from eventrunner.source.consumer import delete_consumer, ensure_consumer
from eventrunner.source.spec import SourceSpec
from eventrunner.source.tenant_consumers import STREAMS, is_tenants_durable, stream_of
from eventrunner.storage.jetstream import NOT_FOUND, JetStreamApi, JetStreamError
from eventrunner.storage.records import Consumer

__all__ = ["Durable", "durables_of", "prepare_durable", "remove_orphans"]

_log = logging.getLogger(__name__)

Durable = tuple[str, str]
"""Stream and name."""


def durables_of(consumers: Iterable[Consumer]) -> set[Durable]:
    return {(stream_of(consumer.subscription), consumer.durable_name) for consumer in consumers}


async def prepare_durable(api: JetStreamApi, spec: SourceSpec) -> None:
    """Makes it, so that nothing is missed from now on. One that is left of an earlier consumer of the same name goes.
    Raises ConfigurationError, JetStreamError, Unavailable."""
    try:
        config = (await api.request(f"CONSUMER.INFO.{spec.stream}.{spec.consumer}"))["config"]
    except JetStreamError as error:
        if error.http_code != NOT_FOUND:
            raise
    else:
        if config.get("opt_start_time", "") != spec.start_time:
            await delete_consumer(api, spec.stream, spec.consumer)
    await ensure_consumer(api, spec)


async def remove_orphans(api: JetStreamApi, wanted: Collection[Durable]) -> list[Durable]:
    """Deletes those that no record asks for; says which. Raises JetStreamError, Unavailable."""
    orphans = []
    for stream in STREAMS.values():
        for name in await _names(api, stream):
            if is_tenants_durable(name) and (stream, name) not in wanted:
                await delete_consumer(api, stream, name)
                _log.info("%s: removed the consumer %s, which no tenant has any more", stream, name)
                orphans.append((stream, name))
    return orphans


async def _names(api: JetStreamApi, stream: str) -> list[str]:
    found: list[str] = []
    while True:
        page = await api.request(f"CONSUMER.NAMES.{stream}", {"offset": len(found)})
        names = page.get("consumers") or []
        found += names
        if not names or len(found) >= int(page["total"]):
            return found
