"""The cases of `conformance.yaml`, on everything that reads or writes events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from eventrunner.errors import InvalidInput
from eventrunner.events import Event, check_event, decode_incoming, encode_event
from eventrunner.events.binary import read_binary, write_binary
from eventrunner.ingest.intake import Intake, Request, read_events, read_request
from eventrunner.ingest.proto.cloudevents_pb2 import CloudEvent
from eventrunner.ingest.protobuf import decode_event, event_id
from eventrunner.source.message import read_message
from eventrunner.stage.batch import Batch
from google.protobuf.json_format import ParseDict
from multidict import CIMultiDict
from nats.aio.msg import Msg

CASES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "conformance.yaml").read_text())
MINIMAL: dict[str, Any] = CASES["minimal"]
CORE = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema")


def cases(kind: str) -> Any:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES[kind]])


def sent(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**MINIMAL, **members}.items() if value is not None}


def attributes(event: Event) -> dict[str, Any]:
    """Those that came in; the tenant and what ingest writes are left out."""
    core = {name: value for name in CORE if (value := getattr(event, name)) is not None}
    return core | (event.extensions or {})


def ingest(body: bytes, media: str, **headers: str) -> Intake:
    return read_request(
        Request(
            headers={"content-type": media, **headers},
            query={},
            body=body,
            tenant="acme",
            is_admin=False,
            tenant_exists=lambda tenant: True,
            received="2026-01-01T00:00:00.000000Z",
            traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-00",
            max_event_bytes=100_000,
            make_id=lambda: "made",
        )
    )


def only(intake: Intake) -> Event:
    assert intake.rejected == []
    (event,) = intake.accepted["acme"]
    return event


@cases("valid")
def test_an_event_in_json_is_read(case: dict[str, Any]) -> None:
    event = only(ingest(json.dumps(sent(case["event"])).encode(), "application/cloudevents+json"))
    assert attributes(event) == MINIMAL | case["is"]


@cases("valid")
def test_an_event_in_protobuf_is_read(case: dict[str, Any]) -> None:
    event = check_event(decode_event(protobuf(sent(case["event"]))))
    assert attributes(event) == MINIMAL | case["is"]


@cases("valid")
def test_an_event_survives_every_binding(case: dict[str, Any]) -> None:
    event = check_event(decode_incoming(json.dumps(sent(case["event"])).encode()))
    assert check_event(decode_incoming(encode_event(event))) == event
    headers, body = write_binary(event)
    back = attributes(read_binary(headers, body))
    # Headers have no types.
    assert back == {name: text(value) for name, value in attributes(event).items()}
    assert all(value.isascii() and value.isprintable() for value in headers.values())


def text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else str(value)


@cases("valid_json")
def test_what_only_json_has_is_read(case: dict[str, Any]) -> None:
    event = only(ingest(case["text"].encode(), "application/cloudevents+json"))
    assert (event.id, event.payload()) == ("minimal", case["payload"].encode())


@cases("invalid")
def test_an_event_that_is_none_is_refused_in_every_format(case: dict[str, Any]) -> None:
    members = sent(case["event"])
    intake = ingest(json.dumps(members).encode(), "application/cloudevents+json")
    assert intake.accepted == {}
    (rejection,) = intake.rejected
    assert case["names"] in named(rejection.error)
    with pytest.raises(InvalidInput) as caught:
        check_event(decode_event(protobuf(members)))
    assert case["names"] in named(caught.value)
    if members.keys().isdisjoint({"MyExtension", "my.extension", "datacontenttype"}) and "specversion" in members:
        headers = {f"ce-{name}": str(value) for name, value in members.items()}
        with pytest.raises(InvalidInput):
            read_binary(headers, b"") and check_event(read_binary(headers, b""))


def named(error: Any) -> set[str]:
    assert isinstance(error, InvalidInput)
    return {item.field for item in error.fields}


@cases("invalid_json")
def test_values_of_the_wrong_type_are_refused(case: dict[str, Any]) -> None:
    intake = ingest(json.dumps(sent(case["event"])).encode(), "application/cloudevents+json")
    assert (intake.accepted, len(intake.rejected)) == ({}, 1)


@cases("batches")
def test_a_batch_is_read_event_by_event(case: dict[str, Any]) -> None:
    events = [sent(members) for members in case["events"]]
    intake = ingest(json.dumps(events).encode(), "application/cloudevents-batch+json")
    assert rejected(intake, len(events)) == case["accepted"]
    assert intake.is_refused is bool(events and not case["accepted"])
    request = Request({}, {}, b"", "acme", False, lambda tenant: True, "", "", 100_000, lambda: "made")
    same = read_events(request, [protobuf(members) for members in events], decode_event, event_id)
    assert rejected(same, len(events)) == case["accepted"]


def rejected(intake: Intake, count: int) -> list[int]:
    """The places of those that are not."""
    return sorted(set(range(count)) - {item.index for item in intake.rejected})


@cases("http")
def test_a_request_is_read(case: dict[str, Any]) -> None:
    headers = dict(case["headers"])
    event = only(ingest(case["body"].encode(), headers.pop("content-type", ""), **headers))
    assert case["is"].items() <= attributes(event).items()
    assert event.payload() == case["payload"].encode()


@cases("http")
def test_a_nats_message_is_read_as_the_request_is(case: dict[str, Any]) -> None:
    headers = {"Content-Type" if name == "content-type" else name: value for name, value in case["headers"].items()}
    reply = "$JS.ACK.EVENTS.c.1.5.5.1767225600000000000.0"
    raw = Msg(None, subject="events.acme", reply=reply, data=case["body"].encode(), headers=headers)  # type: ignore[arg-type]
    message = read_message(raw)
    assert (message.problem, message.count) == ("", 1)
    event = check_event(decode_incoming(message.members))
    assert case["is"].items() <= attributes(event).items()
    assert event.payload() == case["payload"].encode()


@cases("http")
def test_a_stage_reads_the_request_alike(case: dict[str, Any]) -> None:
    (event,) = Batch.from_request(CIMultiDict(case["headers"]), case["body"].encode()).events
    assert case["is"].items() <= attributes(check_event(event)).items()


@cases("invalid_http")
def test_a_request_that_is_no_event_is_refused(case: dict[str, Any]) -> None:
    headers = dict(case["headers"])
    (rejection,) = ingest(case["body"].encode(), headers.pop("content-type", ""), **headers).rejected
    assert case["names"] in named(rejection.error)
    with pytest.raises(InvalidInput) as caught:
        check_event(Batch.from_request(CIMultiDict(case["headers"]), case["body"].encode()).events[0])
    assert case["names"] in named(caught.value)


def protobuf(members: dict[str, Any]) -> bytes:
    """The event as its producer would send it in protobuf."""
    required = {"id": "id", "source": "source", "type": "type", "specversion": "specVersion"}
    document: dict[str, Any] = {to: members[name] for name, to in required.items() if name in members}
    document["attributes"] = {
        name: {kind(name, value): value} for name, value in members.items() if name not in required
    }
    return ParseDict(document, CloudEvent()).SerializeToString()


def kind(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "ceBoolean"
    return "ceInteger" if isinstance(value, int) else "ceUri" if name == "dataschema" else "ceString"
