"""The streams of the platform: whether anything is still on its way, and what a reader of RESULTS gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from eventrunner.errors import Unavailable
from eventrunner.events.packing import ENCODING, unpack
from eventrunner.source.spec import SourceSpec, read_sources
from eventrunner.storage.jetstream import NOT_FOUND, JetStreamApi, JetStreamError, connect, disconnect
from eventrunner.tenancy import RESULTS_STREAM, subject
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout

from tests.pipeline.faults.places import Found
from tests.pipeline.faults.probe import Stuck
from tests.pipeline.faults.target import Target

__all__ = ["Streams"]

_LIMIT: Final = 64 * 1024 * 1024
_PATIENCE: Final = 180.0
_LOOKS: Final = 2
"""At empty streams: a message may go from one that is still to be looked at to one that was, and the server counts what
is published for its consumers a little later than it confirms it."""
_FETCH: Final = 200
_ACK_WAIT: Final = 60 * 10**9


@dataclass(slots=True)
class Streams:
    target: Target
    manifests: Path
    """Of the sources that work the streams off."""

    async def follow_results(self, tenants: Sequence[str]) -> None:
        """Makes durable consumers of RESULTS, as readers that come late do, so that nothing of it may be thrown away
        before it is read."""
        client = await connect(self.target.platform.nats, name="faults")
        try:
            for tenant in tenants:
                await _make_consumer(JetStreamApi(client), tenant)
        finally:
            await disconnect(client)

    async def results(self, tenant: str) -> AsyncIterator[Found]:
        """All that came since `follow_results`. Raises Unavailable when less comes than there is."""
        decoder = msgspec.json.Decoder(list[Found])
        client = await connect(self.target.platform.nats, name="faults")
        try:
            async for body in _messages(client, tenant):
                for event in decoder.decode(body):
                    yield event
        finally:
            await disconnect(client)

    async def drained(self) -> None:
        """Returns when nothing is on its way any more. Raises Stuck."""
        client = await connect(self.target.platform.nats, name="faults")
        sources = read_sources([self.manifests])
        work, looks = "", 0
        try:
            async with asyncio.timeout(_PATIENCE):
                while looks < _LOOKS:
                    left = await self.left(JetStreamApi(client), sources)
                    work = ", ".join(f"{name}: {what}" for name, what in left.items()) or work
                    looks = 0 if left else looks + 1
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise Stuck(f"after the load had ended, not all was worked off within {_PATIENCE:g} s: {work}") from None
        finally:
            await disconnect(client)

    @staticmethod
    async def left(api: JetStreamApi, sources: Sequence[SourceSpec]) -> dict[str, str]:
        """By consumer, what keeps it from being done: messages that wait or are worked on, or that there is no such
        consumer, so that nobody reads its stream."""
        left = {}
        for source in sources:
            try:
                info = await api.request(f"CONSUMER.INFO.{source.stream}.{source.consumer}")
            except JetStreamError as error:
                if error.http_code != NOT_FOUND:
                    raise
                left[source.consumer] = f"no consumer of that name on {source.stream}"
                continue
            if waiting := info["num_pending"] + info["num_ack_pending"]:
                left[source.consumer] = f"{waiting} messages"
        return left


def _durable(tenant: str) -> str:
    return f"faults-{tenant}"


async def _make_consumer(api: JetStreamApi, tenant: str) -> None:
    config: dict[str, Any] = {
        "name": _durable(tenant),
        "durable_name": _durable(tenant),
        "filter_subject": subject(RESULTS_STREAM, tenant),
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": _ACK_WAIT,
        "max_ack_pending": 10 * _FETCH,
    }
    request = {"stream_name": RESULTS_STREAM, "config": config}
    await api.request(f"CONSUMER.CREATE.{RESULTS_STREAM}.{_durable(tenant)}", request)


async def _messages(client: Client, tenant: str) -> AsyncIterator[bytes]:
    api = JetStreamApi(client)
    subscription = await client.jetstream().pull_subscribe_bind(_durable(tenant), RESULTS_STREAM)
    seen: set[int] = set()
    while True:
        info = await api.request(f"CONSUMER.INFO.{RESULTS_STREAM}.{_durable(tenant)}")
        if not info["num_pending"]:
            return
        try:
            messages = await subscription.fetch(_FETCH, timeout=20)
        except NatsTimeout as error:
            raise Unavailable(f"RESULTS gives nothing to {_durable(tenant)}, which has more to read.") from error
        for message in messages:
            sequence = message.metadata.sequence.stream
            await message.ack()
            if sequence not in seen:
                # A message that we get twice is no event that is there twice.
                seen.add(sequence)
                packed = (message.headers or {}).get("Content-Encoding") == ENCODING
                yield unpack(message.data, _LIMIT) if packed else message.data
