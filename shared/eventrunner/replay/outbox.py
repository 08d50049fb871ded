"""Sends replayed events to the tenant's stream of results, as bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence

from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.errors import Unavailable
from eventrunner.events import decode_event, encode_event
from eventrunner.events.binary import BATCH_TYPE
from eventrunner.events.headers import ONLY_HEADER
from eventrunner.events.json_format import join_batch
from eventrunner.events.packing import WORTH, bracket, pack
from eventrunner.source.publication import Publication
from eventrunner.storage.mirror import Mirror
from eventrunner.tenancy import RESULTS_STREAM, subject

__all__ = ["Outbox", "flagged"]

_MAX_EVENTS = 500
_MAX_BYTES = 512 * 1024
_TIMEOUT = 5.0
_MARK = b'"replayid"'


class Outbox:
    """Every method returns when JetStream has the events, and raises Unavailable when it does not take them."""

    def __init__(self, registry: Mirror) -> None:
        self._registry = registry

    def send(self, tenant: str, replay_id: str, groups: Sequence[Sequence[bytes]], *, only: str = "") -> None:
        """Each group in a message of its own, or in several if it is large. A group that is sent again within the
        stream's duplicate window is there once. `only`: the durable consumer that they are for; empty for all that
        read results."""
        publications = [_publication(tenant, replay_id, piece, only) for group in groups for piece in _cut(group)]

        async def publish(client: Client) -> None:
            stream = client.jetstream()
            await asyncio.gather(
                *(stream.publish(item.subject, item.body, _TIMEOUT, headers=item.headers) for item in publications)
            )

        try:
            self._registry.run(publish, 2 * _TIMEOUT)
        except (NatsError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"The stream of results does not take replayed events: {reason}.") from error


def flagged(body: bytes, replay_id: str) -> bytes:
    """The event with the attribute `replayid`; decoded only when it may have one already."""
    if _MARK in body:
        event = decode_event(body)
        event.set_extension("replayid", replay_id)
        return encode_event(event)
    return b'%b,"replayid":"%b"}' % (body.rstrip()[:-1], replay_id.encode())


def _publication(tenant: str, replay_id: str, bodies: Sequence[bytes], only: str) -> Publication:
    batch = join_batch(bodies)
    digest = hashlib.blake2b(batch, digest_size=12).hexdigest()
    packs = len(batch) > WORTH
    return Publication(
        subject(RESULTS_STREAM, tenant),
        bracket(pack(batch[1:-1])) if packs else batch,
        BATCH_TYPE,
        f"replay.{replay_id}.{digest}",
        len(bodies),
        packed=packs,
        more_headers=((ONLY_HEADER, only),) if only else (),
    )


def _cut(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start, size = 0, 0
    for number, body in enumerate(bodies):
        if number > start and (number - start == _MAX_EVENTS or size + len(body) > _MAX_BYTES):
            yield bodies[start:number]
            start, size = number, 0
        size += len(body)
    if bodies:
        yield bodies[start:]
