"""What a guest answers, publishes and logs is checked before the host believes it."""

from __future__ import annotations

import pytest
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits
from eventrunner.wasm.bulk import Bulk
from eventrunner.wasm.conversion import Conversion, Stock
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.outcomes import Call, Handled, Message, Trapped

from tests.attacks.components import guest
from tests.component_texts import load

CONVERSIONS = [Bulk(), Stock()]
HUGE = 2**31


def call(code: bytes, conversion: Conversion, limits: Limits | None = None) -> Call:
    return Host(shared_engine(), load(code, conversion), limits or Limits()).handle(Message("results.acme.any", b"x"))


def answered(kind: int, start: int, length: int) -> str:
    """Code that has the handler answer this."""
    return "".join(
        f"(i32.store (i32.const {64 + 4 * index}) (i32.const {value}))"
        for index, value in enumerate((kind, start, length))
    )


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize(
    ("kind", "start", "length", "told"),
    [
        (1, 0, 65_537, "out of bounds"),
        (1, 65_536, 1, "out of bounds"),
        (1, -1, 2, "out of bounds"),
        (1, 0, -1, "out of bounds"),
        (1, -1, -1, "out of bounds"),
        (2, 0, 0, "discriminant"),
        (255, 0, 0, "discriminant"),
    ],
)
def test_an_answer_that_points_nowhere_traps(
    kind: int, start: int, length: int, told: str, conversion: Conversion
) -> None:
    outcome = call(guest(handle=answered(kind, start, length)), conversion).outcome
    assert isinstance(outcome, Trapped)
    assert told in outcome.text


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("text", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82"])
def test_an_answer_that_is_no_text_traps(text: bytes, conversion: Conversion) -> None:
    bytes_ = "".join(f"(i32.store8 (i32.const {200 + index}) (i32.const {byte}))" for index, byte in enumerate(text))
    outcome = call(guest(handle=bytes_ + answered(1, 200, len(text))), conversion).outcome
    assert isinstance(outcome, Trapped)
    assert "utf-8" in outcome.text


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_an_answer_at_an_address_that_is_none_traps(conversion: Conversion) -> None:
    for address in (65_536, 65_530, -4, 66):
        outcome = call(guest(handle=f"(return (i32.const {address}))"), conversion).outcome
        assert isinstance(outcome, Trapped)
        assert "pointer" in outcome.text


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("place", [65_537, -1, HUGE, 65_530, 3])
def test_room_for_the_message_that_is_none_traps_or_is_used(place: int, conversion: Conversion) -> None:
    """What a string lies at need not be aligned."""
    call_ = call(guest(realloc=f"(return (i32.const {place}))"), conversion)
    if place == 3:
        assert call_.outcome == Handled()
    else:
        assert isinstance(call_.outcome, Trapped)
        assert "realloc return: beyond end of memory" in call_.outcome.text


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize(
    "arguments",
    [
        (0, 65_537, 0, 0, 0, 0, 0, 128),
        (-1, 1, 0, 0, 0, 0, 0, 128),
        (0, 1, 0, -1, 0, 0, 0, 128),
        (0, 1, -1, 1, 0, 0, 0, 128),
        (0, 1, 0, 0, 2, 0, 0, 128),
        (0, 1, 0, 0, 1, 65_535, 2, 128),
        (0, 1, 0, 0, 0, 0, 0, 65_536),
        (0, 1, 0, 0, 0, 0, 0, 1),
    ],
)
def test_a_message_that_points_nowhere_is_not_published(arguments: tuple[int, ...], conversion: Conversion) -> None:
    values = " ".join(f"(i32.const {value})" for value in arguments)
    call_ = call(guest(handle=f"(call $tell {values})"), conversion)
    assert isinstance(call_.outcome, Trapped)
    assert call_.published == ()


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_a_subject_of_any_characters_comes_out_as_it_is(conversion: Conversion) -> None:
    """Whether it may be published is for the policy; the host neither cuts it at a zero nor splits it."""
    subject = "events.globex.\0\r\n *>\u202e"
    code = subject.encode()
    bytes_ = "".join(f"(i32.store8 (i32.const {200 + index}) (i32.const {byte}))" for index, byte in enumerate(code))
    rest = "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 128)"
    call_ = call(guest(handle=f"{bytes_} (call $tell (i32.const 200) (i32.const {len(code)}) {rest})"), conversion)
    assert call_.published == (Message(subject, b""),)


def test_too_many_types_of_types_are_told_in_few_words() -> None:
    """Seventeen members of seventeen members… are millions, in some hundred bytes."""
    types, last = [], "u8"
    for level in range(4):
        types.append(f"(type $t{level} (tuple {' '.join([last] * 17)}))")
        last = f"$t{level}"
    text = f"""(component (import "wasi:random/random@0.2.0" (instance {" ".join(types)}
      (export "get-random-u64" (func (param "x" {last}) (result u64))))))"""
    with pytest.raises(InvalidInput, match="imports get-random-u64 of") as refused:
        load(bytes(wasmtime.wat2wasm(text)))
    assert len(refused.value.detail) < 1_100
