"""What a consumer has used on behalf of an event, as the record that goes to USAGE."""

from __future__ import annotations

from typing import Final

import msgspec

from eventrunner.events import USAGE_TYPE, Event
from eventrunner.handlers.consumer_run import Item
from eventrunner.ids import derived_id

__all__ = ["usage_of"]

_STAGE: Final = "tenant-consumer"

_encoder = msgspec.json.Encoder()


class _Usage(msgspec.Struct, kw_only=True):
    stage: str = _STAGE
    kind: str
    consumer: str
    subject_source: str
    subject_id: str
    usagein: int
    usageout: int
    usagecpu: int
    usagemem: int
    fuel: int


def usage_of(item: Item, consumer: str) -> Event | None:
    """Named after consumer and event alone, so that what is delivered again is the same usage. None for an event of a
    replay, which is on no bill."""
    event = item.event
    if event.extensions is not None and "replayid" in event.extensions:
        return None
    data = _Usage(
        kind="handled" if item.is_handled else "failed",
        consumer=consumer,
        subject_source=event.source,
        subject_id=event.id,
        usagein=len(item.message.body),
        usageout=item.bytes_out,
        usagecpu=item.cpu_ns,
        usagemem=item.memory,
        fuel=item.fuel,
    )
    return Event(
        id=derived_id("consumer", consumer, *event.identity),
        source=f"/eventrunner/{_STAGE}/{consumer}",
        type=USAGE_TYPE,
        tenantid=event.tenantid,
        time=event.receivedtime,
        receivedtime=event.receivedtime,
        data=msgspec.Raw(_encoder.encode(data)),
    )
