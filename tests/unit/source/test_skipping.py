"""A tenant's consumer that does not keep up fills no stream for the others."""

from __future__ import annotations

import logging

import pytest
from eventrunner.storage.records import CONSUMER_STATUS, SkippedMessages
from eventrunner.storage.registry import Registry
from support_nats import NatsServer

from tests.unit.source.test_keeper import Stream, keeping, stream

FULL = {"max_bytes": 100_000, **keeping("1h")}


async def make(s: Stream) -> None:
    """A reader of the platform, and one consumer of each of two tenants."""
    bucket = {"name": f"KV_{CONSUMER_STATUS}", "subjects": [f"$KV.{CONSUMER_STATUS}.>"], "max_msgs_per_subject": 1}
    more = {"allow_rollup_hdrs": True, "allow_direct": True, "deny_delete": True, "discard": "new"}
    await s.api.request(f"STREAM.CREATE.KV_{CONSUMER_STATUS}", bucket | more)
    await s.consumer("reader")
    await s.consumer("a=slow", "s.a")
    await s.consumer("b=quick", "s.b")


async def skipped(s: Stream, key: str) -> SkippedMessages | None:
    value = await Registry(s.client).get(CONSUMER_STATUS, f"{key}.skipped")
    return SkippedMessages.from_json(value) if value else None


async def unread(s: Stream, name: str) -> int:
    info = await s.api.request(f"CONSUMER.INFO.S.{name}")
    return int(info["num_pending"]) + int(info["num_ack_pending"])


async def test_the_oldest_goes_of_what_only_tenants_consumers_have_not_acked(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with stream(server, **FULL) as s:
        await make(s)
        await s.publish(40, "s.a")
        await s.publish(40, "s.b")
        await s.read("reader", 80)
        with caplog.at_level(logging.WARNING):
            await s.keeper.look()
        noted = await skipped(s, "a.slow")
        assert noted is not None
        assert 10 <= noted.messages <= 25
        assert await unread(s, "a=slow") == 40 - noted.messages
        assert noted.first <= noted.last
        # The other one, whose messages are younger, loses nothing.
        assert await unread(s, "b=quick") == 40
        assert await skipped(s, "b.quick") is None
        assert f"{noted.messages} messages that a=slow has not acked were removed" in caplog.text
        await s.publish(20, "s.a")
        await s.read("reader", 20)
        await s.keeper.look()
        again = await skipped(s, "a.slow")
        assert again is not None
        assert again.messages > noted.messages
        assert again.first == noted.first


async def test_what_the_platform_has_not_read_stays_whatever_comes(server: NatsServer) -> None:
    async with stream(server, **FULL) as s:
        await make(s)
        await s.publish(85, "s.a")
        await s.keeper.look()
        assert await s.sequences() == (1, 85)
        await s.read("reader", 10)
        await s.keeper.look()
        assert await s.sequences() == (11, 85)
        noted = await skipped(s, "a.slow")
        assert noted is not None
        assert noted.messages == 10


async def test_nothing_goes_while_there_is_room(server: NatsServer) -> None:
    async with stream(server, **FULL) as s:
        await make(s)
        await s.publish(60, "s.a")
        await s.read("reader", 60)
        await s.keeper.look()
        assert await unread(s, "a=slow") == 60
        assert await skipped(s, "a.slow") is None


async def test_what_a_consumer_has_acked_is_not_counted_as_lost(server: NatsServer) -> None:
    async with stream(server, **FULL) as s:
        await make(s)
        await s.consumer("operators-own", "s.b")
        await s.publish(1, "s.b")
        await s.publish(84, "s.a")
        await s.read("reader", 85)
        await s.read("a=slow", 5)
        # What an operator's reader has not acked is protected, so nothing is trimmed by position.
        await s.keeper.look()
        assert await skipped(s, "a.slow") is None
        await s.read("operators-own", 1)
        await s.keeper.look()
        noted = await skipped(s, "a.slow")
        assert noted is not None
        assert await unread(s, "a=slow") == 79 - noted.messages
