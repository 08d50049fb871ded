from __future__ import annotations

import msgspec
import pytest
from eventrunner.errors import InvalidInput
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.extended import ExtendedDecoder
from eventrunner.events.json_format import decode_event, split_batch
from hypothesis import given
from hypothesis import strategies as st
from strategies import events

ODD_NAMES = ["identity", "x0", "class", "payload", "extensions", "jsondata"]


def long_way(body: bytes) -> list[Event]:
    return [decode_event(raw) for raw in split_batch(body)]


def member(name: str, value: str) -> bytes:
    return b'[{"id":"1","source":"/s","type":"t","specversion":"1.0","%s":%s}]' % (name.encode(), value.encode())


@given(st.lists(events(), min_size=1, max_size=5))
def test_known_names_are_read_as_the_long_way_reads_them(batch: list[Event]) -> None:
    decoder = ExtendedDecoder()
    decoder.learn(batch)
    body = encode_batch(batch)
    read = decoder.decode(body)
    names = {name for event in batch for name in event.extensions or ()}
    assert (read is None) == (not 0 < len(names) <= 8)
    if read is not None:
        assert read == long_way(body)
        assert encode_batch(read) == encode_batch(long_way(body))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_attribute_may_be_called_like_anything_in_python(name: str) -> None:
    for _ in range(2):
        (event,) = decode_batch(member(name, '"v"'))
        assert event.extensions == {name: "v"}
        assert event.identity == ("", "/s", "1")


@pytest.mark.parametrize("value", ["1.5", "[1]", "{}"])
def test_what_is_no_attribute_is_refused_also_when_its_name_is_known(value: str) -> None:
    assert decode_batch(member("region", '"eu"'))[0].extensions == {"region": "eu"}
    assert decode_batch(member("region", "null"))[0].extensions is None
    with pytest.raises(InvalidInput, match="region"):
        decode_batch(member("region", value))


def test_a_flood_of_names_is_not_learned_and_the_oldest_are_forgotten() -> None:
    decoder = ExtendedDecoder()
    flood = [Event(id="1", source="/s", type="t", extensions={f"flood{n}": n for n in range(9)})]
    decoder.learn(flood)
    assert decoder.decode(encode_batch(flood)) is None
    names = [f"name{number}" for number in range(40)]
    singles = [[Event(id="1", source="/s", type="t", extensions={name: True})] for name in names]
    for batch in singles:
        decoder.learn(batch)
    assert decoder.decode(encode_batch(singles[0])) is None
    assert decoder.decode(encode_batch(singles[-1])) == singles[-1]


def test_an_event_equals_the_same_event_of_another_decoder() -> None:
    event = Event(id="1", source="/s", type="t", data=msgspec.Raw(b"1"), extensions={"a": 1})
    assert decode_batch(encode_batch([event])) == [event] == decode_batch(encode_batch([event]))
    assert event != Event(id="2", source="/s", type="t", data=msgspec.Raw(b"1"), extensions={"a": 1})
    assert event != "event"
