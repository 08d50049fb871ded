"""What ingest over gRPC has of its own; what every way in does is in `tests/unit/ingest/test_doors.py`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import pytest
from eventrunner.ingest.proto import cloudevents_pb2
from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support_grpc import GrpcClient, GrpcServer, ce, grpc_ingest, provision, stored
from support_nats import NatsServer, eventually, free_port, nats_server

Value = cloudevents_pb2.CloudEvent.CloudEventAttributeValue


@dataclass
class Lab:
    nats: NatsServer
    server: GrpcServer
    keys: dict[str, str]
    channel: grpc.aio.Channel

    def client(self, holder: str = "acme", **metadata: str) -> GrpcClient:
        return GrpcClient(self.channel, self.keys.get(holder, holder), metadata)


Run = Callable[[Callable[[Lab], Awaitable[None]]], None]


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """Runs a test in the lab, with these settings in the function's environment."""

    def call(test: Callable[[Lab], Awaitable[None]], **settings: str) -> None:
        async def body(nats: NatsServer) -> None:
            keys = await provision(nats.url, ["acme"])
            with grpc_ingest(tmp_path, nats.url, **settings) as server:
                async with _channel(server) as channel:
                    await test(Lab(nats, server, keys, channel))

        with nats_server(tmp_path / "nats") as nats:
            asyncio.run(asyncio.wait_for(body(nats), 60))

    return call


@asynccontextmanager
async def _channel(server: GrpcServer) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own."""
    async with grpc.aio.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


async def _refused(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    return error.code(), error.details() or "", dict(error.trailing_metadata() or ())


def test_one_event_is_stored_with_its_attributes_when_it_is_answered(run: Run) -> None:
    async def test(lab: Lab) -> None:
        text = b'{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"n": 1}}'
        answer = await lab.client().event(text)
        assert (answer.event_id, answer.status) == ("7", "accepted")
        (event,) = await stored(lab.nats.url, "acme", 1)
        assert (event.tenantid, event.source, event.id, event.json_data) == ("acme", "/s", "7", b'{"n": 1}')
        assert event.usagein == len(text)
        assert event.receivedtime
        assert event.traceparent

    run(test)


def test_a_payload_that_is_no_event_becomes_one_by_the_metadata(run: Run) -> None:
    async def test(lab: Lab) -> None:
        client = lab.client(type="shop.order", source="/shop")
        answer = await client.event(b'{\n  "id": 5\n}')
        (event,) = await stored(lab.nats.url, "acme", 1)
        assert event.id == answer.event_id
        described = json.loads(str((event.extensions or {})["rawrequest"]))
        assert (described["type"], described["source"]) == ("shop.order", "/shop")
        assert lab.keys["acme"] not in json.dumps(described)

    run(test)


def test_a_refusal_of_the_policy_is_logged_and_both_answers_are_counted(run: Run) -> None:
    port = free_port()

    async def test(lab: Lab) -> None:
        await lab.client().event(b'{"n": 1}')
        code, _, _ = await _refused(lab.client("acme-user").event(b'{"n": 1}'))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        text = lab.server.log.read_text()
        (line,) = [line for line in text.splitlines() if '"eventrunner.decisions"' in line]
        decision = json.loads(json.loads(line)["message"])
        assert (decision["of"], decision["action"], decision["why"]) == (
            "acme",
            "publish",
            "the policy does not allow it",
        )
        assert lab.keys["acme-user"] not in text
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            counted = await answer.text()
        assert 'eventrunner_decisions_total{answer="allowed"} 1.0' in counted
        assert 'eventrunner_decisions_total{answer="denied"} 1.0' in counted

    run(test, EVENTRUNNER_METRICS_PORT=str(port))


def test_every_kind_of_attribute_and_data_arrives(run: Run) -> None:
    async def test(lab: Lab) -> None:
        when = Timestamp(seconds=1_767_225_600, nanos=5000)
        attributes = {
            "subject": Value(ce_string="s"),
            "time": Value(ce_timestamp=when),
            "dataschema": Value(ce_uri="https://example.com/schema"),
            "flag": Value(ce_boolean=True),
            "number": Value(ce_integer=-5),
            "raw": Value(ce_bytes=b"\x00\xff"),
            "link": Value(ce_uri_ref="/x"),
        }
        packed = ProtoAny(type_url="type.googleapis.com/x.Y", value=b"\x08\x01")
        json_type = {"datacontenttype": Value(ce_string="application/json")}
        answer = await lab.client().batch(
            ce("all", attributes=attributes, text_data="hello"),
            ce("json", attributes=json_type, binary_data=b'{"a": [1]}'),
            ce("json-text", attributes=json_type, text_data='{"a": 2}'),
            ce("binary", binary_data=b"\x00\x01"),
            ce("proto", proto_data=packed),
            ce("none"),
        )
        assert (answer.accepted, list(answer.rejected)) == (6, [])
        events = {event.id: event for event in await stored(lab.nats.url, "acme", 6)}
        first = events["all"]
        assert (first.subject, first.time, first.dataschema) == (
            "s",
            "2026-01-01T00:00:00.000005Z",
            "https://example.com/schema",
        )
        assert first.extensions == {"flag": True, "number": -5, "raw": "AP8=", "link": "/x"}
        assert first.payload() == b'"hello"'
        assert events["json"].json_data == b'{"a": [1]}'
        assert events["json-text"].json_data == b'{"a": 2}'
        assert events["binary"].payload() == b"\x00\x01"
        assert (events["proto"].payload(), events["proto"].dataschema) == (
            b"\x08\x01",
            "https://type.googleapis.com/x.Y",
        )
        assert events["none"].payload() == b""

    run(test)


def test_what_is_wrong_in_protobuf_only_is_named(run: Run) -> None:
    async def test(lab: Lab) -> None:
        reserved = {"usagecpu": Value(ce_integer=1)}
        not_json = {"datacontenttype": Value(ce_string="application/json")}
        answer = await lab.client().batch(
            ce("good"),
            ce("", type="x"),
            ce("cheat", attributes=reserved),
            ce("text", attributes=not_json, text_data="{"),
        )
        assert answer.accepted == 1
        assert [(item.index, item.error) for item in answer.rejected if not item.error] == []
        assert [item.index for item in answer.rejected] == [1, 2, 3]

    run(test)


def test_one_event_is_refused_as_several_are(run: Run) -> None:
    async def test(lab: Lab) -> None:
        for holder, expected in (
            ("er_unknown", grpc.StatusCode.UNAUTHENTICATED),
            ("acme-user", grpc.StatusCode.PERMISSION_DENIED),
        ):
            assert (await _refused(lab.client(holder).event(b'{"id": 1}')))[0] is expected
        code, _, trailing = await _refused(lab.client().event(b"x" * 3000))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert json.loads(trailing["problem"])["status"] == 413
        assert (await _refused(lab.client().event(b"x" * 30_000)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(test, EVENTRUNNER_MAX_EVENT_BYTES="2000", EVENTRUNNER_MAX_BODY_BYTES="20000")


def test_a_stream_is_told_what_is_settled_as_it_goes(run: Run) -> None:
    async def test(lab: Lab) -> None:
        stream = lab.client().stream()
        await stream.write(ce("0"))
        first = await stream.read()
        assert first.settled == 1
        for number in range(1, 3000):
            await stream.write(ce(str(number), **({"spec_version": "9"} if number == 1500 else {})))
        await stream.done_writing()
        answers = [first]
        while (answer := await stream.read()) is not grpc.aio.EOF:
            answers.append(answer)
        assert answers[-1].settled == 3000
        assert [(item.index, item.id) for answer in answers for item in answer.rejected] == [(1500, "1500")]
        # Many events share a message.
        assert len(answers) < 1500
        events = await stored(lab.nats.url, "acme", 2999)
        assert [int(event.id) for event in events] == [number for number in range(3000) if number != 1500]

    run(test)


def test_a_stream_of_somebody_unknown_ends_before_it_has_sent_anything(run: Run) -> None:
    async def test(lab: Lab) -> None:
        call = lab.client("er_unknown").stream()
        async with asyncio.timeout(10):
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED

    run(test)


def test_its_health_follows_nats(run: Run) -> None:
    async def test(lab: Lab) -> None:
        health = health_pb2_grpc.HealthStub(lab.channel)
        await lab.client().batch(ce("0"))
        await _until(health, health_pb2.HealthCheckResponse.SERVING)
        lab.nats.stop()
        await _until(health, health_pb2.HealthCheckResponse.NOT_SERVING)
        lab.nats.start()
        await _until(health, health_pb2.HealthCheckResponse.SERVING)

    run(test)


async def _until(stub: health_pb2_grpc.HealthStub, status: int) -> None:
    async with asyncio.timeout(15):
        while (await stub.Check(health_pb2.HealthCheckRequest())).status != status:
            await asyncio.sleep(0.1)


def test_what_is_no_protobuf_and_no_json_is_refused(run: Run) -> None:
    async def test(lab: Lab) -> None:
        call = lab.channel.unary_unary("/eventrunner.v1.EventIngestService/IngestBatch")
        metadata = (("authorization", f"Bearer {lab.keys['acme']}"),)
        code, details, _ = await _refused(call(b"\xff\xff\xff", metadata=metadata, wait_for_ready=True))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "protobuf" in details
        assert (await _refused(lab.client().event(b"{")))[0] is grpc.StatusCode.INVALID_ARGUMENT

    run(test)


def test_reflection_lists_the_service(run: Run) -> None:
    async def test(lab: Lab) -> None:
        await lab.client().batch(ce("1"))
        stub = reflection_pb2_grpc.ServerReflectionStub(lab.channel)
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter(requests))]
        names = {service.name for service in answer.list_services_response.service}
        assert {"eventrunner.v1.EventIngestService", "grpc.health.v1.Health"} <= names

    run(test)


def test_at_its_end_what_is_under_way_is_finished(run: Run) -> None:
    async def test(lab: Lab) -> None:
        stream = lab.client().stream()
        await stream.write(ce("0"))
        assert (await stream.read()).settled == 1
        lab.server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        await stream.write(ce("1"))
        await stream.done_writing()
        assert (await stream.read()).settled == 2
        assert await asyncio.to_thread(lab.server.process.wait, 10) == 0
        assert [event.id for event in await stored(lab.nats.url, "acme", 2)] == ["0", "1"]

    run(test)


def test_nothing_is_read_of_a_call_before_its_sender_is_known(run: Run) -> None:
    async def test(lab: Lab) -> None:
        for name in ("IngestEvent", "IngestBatch"):
            call = lab.channel.stream_unary(f"/eventrunner.v1.EventIngestService/{name}")
            metadata = (("authorization", "Bearer er_unknown"),)
            async with asyncio.timeout(20):
                # Nothing was sent, nor will be.
                assert await call(metadata=metadata, wait_for_ready=True).code() is grpc.StatusCode.UNAUTHENTICATED

    run(test)


def test_a_call_without_a_message_is_refused(run: Run) -> None:
    async def test(lab: Lab) -> None:
        call = lab.channel.stream_unary("/eventrunner.v1.EventIngestService/IngestBatch")
        metadata = (("authorization", f"Bearer {lab.keys['acme']}"),)
        code, details, _ = await _refused(call(iter(()), metadata=metadata, wait_for_ready=True))
        assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "The call has no message.")

    run(test)


def test_calls_of_a_connection_that_are_more_than_it_takes_wait_at_the_client(run: Run) -> None:
    async def test(lab: Lab) -> None:
        client = lab.client()
        await client.event(b'{"id": "first"}')
        # So that none is answered before they are all there.
        os.kill(lab.nats.pid, signal.SIGSTOP)
        calls = [asyncio.create_task(client.event(b'{"id": %d}' % number, timeout=30)) for number in range(400)]
        await asyncio.sleep(0.5)
        os.kill(lab.nats.pid, signal.SIGCONT)
        assert {answer.status for answer in await asyncio.gather(*calls)} == {"accepted"}

    run(test)


def test_more_calls_of_all_connections_than_it_takes_are_refused(run: Run) -> None:
    async def test(lab: Lab) -> None:
        async with _channel(lab.server) as second, _channel(lab.server) as third:
            streams = [GrpcClient(channel, lab.keys["acme"]).stream() for channel in (lab.channel, second) * 2]
            for number, stream in enumerate(streams):
                await stream.write(ce(str(number)))
                assert (await stream.read()).settled == 1
            client = GrpcClient(third, lab.keys["acme"])
            assert (await _refused(client.event(b'{"id": 1}')))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            await streams[0].done_writing()
            assert await streams[0].read() is grpc.aio.EOF
            assert await streams[0].code() is grpc.StatusCode.OK
            await _until_taken(client, ce("4"), grpc.StatusCode.RESOURCE_EXHAUSTED)

    run(test, EVENTRUNNER_MAX_CALLS="4")


async def _until_taken(client: GrpcClient, event: cloudevents_pb2.CloudEvent, until_then: grpc.StatusCode) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await client.batch(event)).accepted == 1
                return
            except grpc.aio.AioRpcError as error:
                if error.code() is not until_then:
                    raise
            await asyncio.sleep(0.1)


def test_calls_whose_deadline_passes_while_jetstream_is_slow_leave_nothing_behind(run: Run) -> None:
    port = free_port()

    def cancelled() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            found = re.search(r'duration_seconds_count\{.*status="CANCELLED"\} (\d+)', answer.read().decode())
        return int(found[1]) if found else 0

    async def test(lab: Lab) -> None:
        await lab.client().batch(ce("before"))
        lab.nats.pause()
        try:
            client = GrpcClient(lab.channel, lab.keys["acme"], seconds=2)
            events = [ce(f"{number}", text_data="x" * 10_000) for number in range(8)]
            outcomes = await asyncio.gather(*(_refused(client.batch(event)) for event in events))
            assert {code for code, _, _ in outcomes} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            await eventually(lambda: asyncio.to_thread(lambda: cancelled() == len(events)), 20)
        finally:
            lab.nats.resume()
        # A tenant may hold 100 000 bytes, so all that the calls held is free again.
        await _until_taken(lab.client(), ce("after", text_data="x" * 90_000), grpc.StatusCode.UNAVAILABLE)
        ids = {event.id for event in await stored(lab.nats.url, "acme", 100, 3)}
        assert {"before", "after"} <= ids
        # One was on its way to JetStream; no other one was sent.
        assert len(ids) <= 3

    # No two of the events fit into a message.
    limits = {"EVENTRUNNER_MAX_HELD_BYTES": "200000", "EVENTRUNNER_MAX_MESSAGE_BYTES": "15000"}
    run(test, EVENTRUNNER_METRICS_PORT=str(port), **limits)
