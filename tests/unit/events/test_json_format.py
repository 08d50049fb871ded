from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from cloudevents.conversion import to_json
from cloudevents.http import from_json
from eventrunner.errors import InvalidInput, MalformedBody
from eventrunner.events import (
    Event,
    check_event,
    decode_batch,
    decode_event,
    decode_incoming,
    encode_batch,
    encode_event,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import events


@given(events())
def test_what_is_encoded_decodes_to_the_same_event(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


@given(st.lists(events(), max_size=5))
def test_a_batch_decodes_to_the_same_events(batch: list[Event]) -> None:
    assert decode_batch(encode_batch(batch)) == batch


def _json_or_none(payload: bytes) -> object:
    try:
        return json.loads(payload)
    except ValueError:
        return None


@given(events())
def test_the_cloudevents_package_reads_what_is_written_here(event: Event) -> None:
    theirs = from_json(encode_event(event))
    assert theirs["id"] == event.id
    assert theirs["source"] == event.source
    assert theirs["type"] == event.type
    for name in ("subject", "dataschema", "datacontenttype"):
        assert theirs.get_attributes().get(name) == getattr(event, name)
    # A missing time is filled in by theirs.
    assert event.time in (None, theirs["time"])
    for name, value in (event.extensions or {}).items():
        assert theirs.get_attributes()[name] == value
    if event.data_base64 is not None:
        # Theirs reads bytes that happen to be JSON, whatever their type says.
        assert theirs.data in (event.payload(), _json_or_none(event.payload()))
    else:
        # Theirs takes an empty text for none.
        assert theirs.data == (event.decoded_data() if event.decoded_data() != "" else None)


@given(events())
def test_what_the_cloudevents_package_writes_is_read_here(event: Event) -> None:
    written = to_json(from_json(encode_event(event)))
    ours = check_event(decode_incoming(written))
    for name in ("id", "source", "type", "subject", "dataschema", "extensions"):
        assert getattr(ours, name) == getattr(event, name)
    if event.data_base64 is not None:
        assert ours.payload() == event.payload()
    elif event.decoded_data():
        # Theirs leaves out data that counts as false in Python, such as 0 and "".
        assert ours.decoded_data() == event.decoded_data()


def test_data_keeps_its_bytes() -> None:
    body = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{ "a" : 1.50, "a": 2 }}'
    event = decode_incoming(body)
    assert event.json_data == b'{ "a" : 1.50, "a": 2 }'
    assert b'{ "a" : 1.50, "a": 2 }' in encode_event(event)


def test_data_that_looks_like_the_extension_wrapper_is_left_alone() -> None:
    event = Event(id="1", source="/s", type="t", extensions={"x": '","(extensions)":{'})
    event.set_payload(b'{"a":0,"(extensions)":{"b":{}}}', None)
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"id": "1", "source": "/s", "type": "t"}, {"specversion"}),
        ({"specversion": "1.0"}, {"id", "source", "type"}),
        ({"specversion": "1.0", "id": 1, "source": None, "type": "t"}, {"id", "source"}),
        ({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "x": {}, "y": 1.5}, {"x", "y"}),
        (
            {"specversion": "0.3", "id": "", "type": 5, "time": "x", "B": 1},
            {"specversion", "id", "source", "type", "time", "B"},
        ),
        ({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "(extensions)": {"a": 1}}, {"(extensions)"}),
        ([], {""}),
    ],
)
def test_every_wrong_attribute_is_named(body: object, fields: set[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_incoming(json.dumps(body).encode())
    assert {problem.field for problem in caught.value.fields} == fields


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"id":"\xff"}', b'{"a":' * 10_000 + b"}" * 10_000, b'{"id":"\\ud800"}']
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode_incoming(body)


def test_a_null_attribute_counts_as_absent() -> None:
    event = decode_incoming(b'{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":null,"ext":null}')
    assert event.subject is None
    assert event.extensions is None


def test_null_data_is_data() -> None:
    event = decode_incoming(b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":null}')
    assert event.json_data == b"null"


@given(
    st.binary(max_size=200)
    | st.text().map(str.encode)
    | st.recursive(st.none() | st.text(), st.lists).map(msgspec.json.encode)
)
def test_no_input_breaks_the_decoder(body: bytes) -> None:
    with suppress(InvalidInput):
        decode_incoming(body)
