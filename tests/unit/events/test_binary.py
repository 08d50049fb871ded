from __future__ import annotations

import pytest
from cloudevents.http import from_http
from eventrunner.errors import InvalidInput
from eventrunner.events import Event
from eventrunner.events.binary import read_binary, write_binary
from hypothesis import given

from tests.strategies import events


@given(events())
def test_binary_mode_keeps_the_event(event: Event) -> None:
    headers, body = write_binary(event)
    read = read_binary(headers, body)
    for name in ("id", "source", "type", "subject", "time", "dataschema"):
        assert getattr(read, name) == getattr(event, name)
    assert read.payload() == event.payload()
    assert set(read.extensions or {}) == set(event.extensions or {})


@given(events())
def test_headers_are_ascii_without_blanks_or_quotes(event: Event) -> None:
    headers, _ = write_binary(event)
    for name, value in headers.items():
        if name != "content-type":
            assert value.isascii()
            assert not set(value) & set(' "')


def test_the_cloudevents_package_reads_the_headers() -> None:
    event = Event(id="1", source="/s", type="t", extensions={"x": "y"})
    event.set_payload(b'{"a":1}', "application/json")
    headers, body = write_binary(event)
    theirs = from_http(headers, body)
    assert theirs["id"] == "1"
    assert theirs["x"] == "y"
    assert theirs.data == {"a": 1}


def test_every_missing_attribute_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_binary({"Ce-Specversion": "1.0", "ce-id": "1"}, b"")
    assert {problem.field for problem in caught.value.fields} == {"source", "type"}


def test_what_is_missing_and_what_is_wrong_are_named_together() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_binary({"ce-specversion": "1.0", "ce-id": "1", "ce-time": "x", "ce-bad_name": "y"}, b"")
    assert {problem.field for problem in caught.value.fields} == {"source", "type", "time", "bad_name"}
    assert "time must be an RFC 3339 timestamp" in caught.value.detail


def test_json_is_checked_when_the_content_type_promises_it() -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/s",
        "ce-type": "t",
        "content-type": "application/json",
    }
    with pytest.raises(InvalidInput, match="JSON"):
        read_binary(headers, b"{")
    assert read_binary({**headers, "content-type": "text/plain"}, b"{").payload() == b"{"
    assert read_binary({**headers, "content-type": "image/png"}, b"\x89\xff").payload() == b"\x89\xff"
