"""The faults do to a real platform what they say, and to nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from eventrunner.cli.connection import ApiError
from eventrunner.cli.processes import sample_tree
from eventrunner.source.spec import read_sources
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from nats.js.errors import APIError
from support_nats import eventually

from tests.pipeline.faults.disturbances import BadSink, FullStream, KillWriter
from tests.pipeline.faults.faults import (
    Deploy,
    Kill,
    KillEverything,
    KillSome,
    NotPossible,
    Pause,
    Terminate,
    World,
)
from tests.pipeline.faults.project import make_project
from tests.pipeline.faults.proxy import MISBEHAVIOURS, Proxy
from tests.pipeline.faults.streams import Streams
from tests.pipeline.faults.target import Target

pytestmark = pytest.mark.pipeline

_PLAN = "/api/v1/plans/standard"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("strikes")
    manifests = make_project(folder / "project", {}, "PT10S")
    target = Target(folder / "data", manifests, {})
    asyncio.run(target.start())
    try:
        yield World(target, manifests, {}, None, None)
    finally:
        asyncio.run(target.stop())


def _run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded())


def _pids(world: World, part: str) -> set[int]:
    return {process.pid for process in world.target.processes(part)}


def _states(pids: set[int]) -> set[str]:
    """As in proc(5): T is stopped."""
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids}


@pytest.mark.parametrize("part", ["nats-server", "source adapter", "clickhouse (chdb)"])
def test_a_killed_server_is_gone_and_another_one_comes(world: World, part: str) -> None:
    async def run() -> None:
        (before,) = _pids(world, part)
        others = {sample.pid for sample in sample_tree(world.target.platform.pid)} - {before}
        await Kill(part).strike(world, Random(1))
        await eventually(lambda: bool(_pids(world, part) - {before}), 30)
        assert before not in _pids(world, part)
        assert others <= {sample.pid for sample in sample_tree(world.target.platform.pid)}

    _run(run())


def test_a_process_of_a_function_is_killed_and_the_function_answers_again(world: World) -> None:
    async def run() -> None:
        plan = await world.target.insist("GET", _PLAN)
        before = _pids(world, "api")
        await Kill("api").strike(world, Random(1))
        await eventually(lambda: not before <= _pids(world, "api"))
        assert await world.target.insist("GET", _PLAN) == plan

    _run(run())


def test_what_does_not_run_cannot_be_struck(world: World) -> None:
    for fault in (Kill("replayer"), Terminate("replayer"), Pause("replayer", 0.1)):
        with pytest.raises(NotPossible, match="replayer does not run"):
            asyncio.run(fault.strike(world, Random(1)))


def test_several_are_killed_at_once(world: World) -> None:
    async def run() -> None:
        parts = ("nats-server", "replayer", "source adapter")
        before = {part: _pids(world, part) for part in parts}
        await KillSome(parts).strike(world, Random(1))
        for part in (parts[0], parts[2]):
            await eventually(lambda part=part: bool(_pids(world, part)) and not before[part] & _pids(world, part), 30)

    _run(run())


def test_a_paused_part_stands_still_for_the_time_and_then_goes_on(world: World) -> None:
    async def run() -> None:
        pids = _pids(world, "source adapter")
        pausing = asyncio.create_task(Pause("source adapter", 1.0).strike(world, Random(1)))
        await eventually(lambda: _states(pids) == {"T"})
        await asyncio.sleep(0.5)
        assert _states(pids) == {"T"}
        await pausing
        await eventually(lambda: "T" not in _states(pids))
        assert _pids(world, "source adapter") == pids

    _run(run())


def test_a_function_that_is_terminated_leaves_politely_and_another_one_answers(world: World) -> None:
    async def run() -> None:
        await world.target.insist("GET", _PLAN)
        before = _pids(world, "api")
        await Terminate("api").strike(world, Random(1))
        await eventually(lambda: not before & _pids(world, "api"), 20)
        await world.target.insist("GET", _PLAN)
        assert _pids(world, "api")
        ends = re.findall("api: a replica ended with (-?[0-9]+)", (world.target.folder / "dev.log").read_text())
        # It may have been ended for want of requests in this very moment, which is no line of the log.
        assert set(ends) <= {"0", "-9"}

    _run(run())


def test_a_deployment_replaces_all_that_runs_and_is_answered_all_the_time(world: World) -> None:
    async def run() -> None:
        plan = await world.target.insist("GET", _PLAN)
        before = {part: _pids(world, part) for part in ("api", "source adapter")}
        kept = {part: _pids(world, part) for part in ("nats-server", "clickhouse (chdb)")}
        striking = asyncio.create_task(Deploy().strike(world, Random(1)))
        async with world.target.api() as api:
            while not striking.done():
                assert await api.call("GET", _PLAN) == plan
        await striking
        for part, pids in before.items():
            await eventually(
                lambda part=part, pids=pids: bool(_pids(world, part)) and not pids & _pids(world, part), 30
            )
        assert {part: _pids(world, part) for part in kept} == kept

    _run(run())


def test_a_full_stream_takes_nothing_until_the_fault_is_over(world: World) -> None:
    async def run() -> None:
        client = await connect(world.target.platform.nats, name="test")
        api = JetStreamApi(client)
        try:
            before = (await api.request("STREAM.INFO.RESULTS"))["config"]
            striking = asyncio.create_task(FullStream("RESULTS").strike(world, Random(1)))
            with pytest.raises(APIError, match="maximum bytes exceeded"):
                await _publish_on(client.jetstream())
            assert not striking.done()
            await striking
            await client.jetstream().publish("results.nobody", b"[]")
            assert (await api.request("STREAM.INFO.RESULTS"))["config"] == before
        finally:
            await disconnect(client)

    _run(run())


@pytest.mark.parametrize(("stream", "writer"), [("EVENTS", "source adapter"), ("RAW", "ingest-http")])
def test_what_writes_to_a_full_stream_is_killed_while_it_is_full(world: World, stream: str, writer: str) -> None:
    async def run() -> None:
        with pytest.raises(ApiError, match=": 4"):
            await world.target.insist("POST", "/api/v1/events?tenant=acme")
        before = _pids(world, writer)
        client = await connect(world.target.platform.nats, name="test")
        try:
            config = (await JetStreamApi(client).request(f"STREAM.INFO.{stream}"))["config"]
            striking = asyncio.create_task(KillWriter(stream).strike(world, Random(1)))
            await eventually(lambda: not before <= _pids(world, writer))
            assert (await JetStreamApi(client).request(f"STREAM.INFO.{stream}"))["config"]["max_bytes"] == 1
            await striking
            assert (await JetStreamApi(client).request(f"STREAM.INFO.{stream}"))["config"] == config
        finally:
            await disconnect(client)

    _run(run())


async def _publish_on(stream: Any) -> None:
    while True:
        await stream.publish("results.nobody", b"[]")


def test_a_sink_misbehaves_for_the_time_and_then_behaves(world: World) -> None:
    async def run() -> None:
        proxy = Proxy("analytics", lambda: "")
        striking = asyncio.create_task(
            BadSink("answers 500", "analytics", 0.3).strike(replace(world, proxies={"analytics": proxy}), Random(1))
        )
        await eventually(lambda: proxy.misbehaviour is MISBEHAVIOURS["answers 500"])
        await striking
        assert proxy.misbehaviour is None

    _run(run())


def test_a_consumer_that_is_not_there_has_not_worked_off_its_stream(world: World) -> None:
    async def run() -> None:
        streams = Streams(world.target, world.manifests)
        await streams.drained()
        client = await connect(world.target.platform.nats, name="test")
        try:
            sources = read_sources([world.manifests])
            assert not await streams.left(JetStreamApi(client), sources)
            nobody = replace(sources[0], consumer="nobody")
            left = await streams.left(JetStreamApi(client), [*sources[1:], nobody])
            assert left == {"nobody": f"no consumer of that name on {nobody.stream}"}
        finally:
            await disconnect(client)

    _run(run())


def test_a_message_that_nobody_has_worked_off_is_named(world: World) -> None:
    async def run() -> None:
        client = await connect(world.target.platform.nats, name="test")
        try:
            api = JetStreamApi(client)
            (source,) = [source for source in read_sources([world.manifests]) if source.stream == "RESULTS"]
            late = replace(source, consumer="late")
            config = {"name": "late", "durable_name": "late", "ack_policy": "explicit", "deliver_policy": "new"}
            await api.request("CONSUMER.CREATE.RESULTS.late", {"stream_name": "RESULTS", "config": config})
            await client.jetstream().publish("results.nobody", b"[]")
            # The server confirms a message before it counts it for its consumers.
            async with asyncio.timeout(10):
                while (left := await Streams.left(api, [late])) == {}:
                    await asyncio.sleep(0.05)
            assert left == {"late": "1 messages"}
        finally:
            await disconnect(client)

    _run(run())


def test_everything_is_killed_and_starts_over_the_same_folder(world: World) -> None:
    async def run() -> None:
        plan = await world.target.insist("PUT", "/api/v1/plans/kept", {"name": "kept", "charges": []})
        before = {sample.pid for sample in sample_tree(world.target.platform.pid)}
        await KillEverything().strike(world, Random(1))
        await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
        assert await world.target.insist("GET", "/api/v1/plans/kept") == plan

    _run(run())
