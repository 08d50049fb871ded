from __future__ import annotations

import pytest
from backports import zstd
from eventrunner.errors import BodyTooLarge
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.costs import Cost, add_cost, charge, charged_batch, charged_batches, charged_text
from eventrunner.events.packing import bracket, join_packed, note, pack

LIMIT = 1_000_000


def packed(*ids: str) -> bytes:
    return pack(encode_batch([Event(id=id, source="/s", type="t", usagecpu=1) for id in ids])[1:-1])


def costs(members: bytes) -> dict[str, tuple[int, int]]:
    events = [event for batch, _ in charged_batches(members, LIMIT) for event in batch]
    assert decode_batch(b"[" + charged_text(members, LIMIT) + b"]") == events
    return {event.id: (event.usagecpu, event.usagemem) for event in events}


def test_a_note_is_about_the_members_behind_it_and_no_others() -> None:
    members = join_packed([packed("a"), charge(packed("b", "c"), Cost(10, 2)), packed("d")])
    assert costs(members) == {"a": (1, 0), "b": (11, 2), "c": (11, 2), "d": (1, 0)}


def test_what_several_stages_spent_adds_up() -> None:
    first = join_packed([charge(packed("a"), Cost(10, 2)), packed("b")])
    assert costs(join_packed([charge(first, Cost(100, 20)), packed("c")])) == {
        "a": (111, 22),
        "b": (101, 20),
        "c": (1, 0),
    }


def test_other_decoders_see_the_events_alone() -> None:
    assert [event.id for event in decode_batch(zstd.decompress(bracket(charge(packed("a", "b"), Cost(10)))))] == [
        "a",
        "b",
    ]


def test_notes_of_others_mean_nothing() -> None:
    assert costs(note(b"hello") + packed("a")) == {"a": (1, 0)}
    assert costs(note(b"cost" + b"x" * 13) + packed("a")) == {"a": (1, 0)}


def test_a_batch_that_somebody_else_packed_is_read_too() -> None:
    (event,) = decode_batch(charged_batch(bracket(charge(packed("a"), Cost(10))), LIMIT))
    assert event.usagecpu == 11
    assert charged_batch(zstd.compress(b'[{"id":"1"}]'), LIMIT) == b'[{"id":"1"}]'


def test_usage_stays_an_integer_of_cloudevents() -> None:
    event = Event(id="1", source="/s", type="t", usagecpu=2**31 - 5, usagemem=3)
    add_cost([event], Cost(10, 2**40))
    assert (event.usagecpu, event.usagemem) == (2**31 - 1, 2**31 - 1)
    assert costs(charge(packed("a"), Cost(2**40, 2**40)))["a"] == (2**31 - 1, 2**31 - 1)


def test_the_limit_is_for_all_frames_together() -> None:
    with pytest.raises(BodyTooLarge):
        list(charged_batches(join_packed([packed("a"), packed("b" * 100)]), 150))
