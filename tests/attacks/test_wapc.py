"""What a waPC module says to its host is not believed either."""

from __future__ import annotations

import pytest
from eventrunner.storage.records import Limits
from eventrunner.wasm.core_calls import GuestMemory
from eventrunner.wasm.outcomes import Handled, Limit, OverLimit, Refused, Trapped

from tests.unit.wasm.test_wapc_guest import run, written

LONG = Limits(milliseconds=30_000)
PUBLISH = '(data (i32.const 0) "wasmcloud:messaging") (data (i32.const 32) "Publish")'
REASON = "(call $host-error (i32.const 4096)) (call $error (i32.const 4096) (call $error-length)) (i32.const 0)"


def called(payload: bytes, length: int | None = None) -> bytes:
    """A module that publishes this, and answers with the error that it is told."""
    data = "".join(f"\\{byte:02x}" for byte in payload)
    members = f'{PUBLISH} (data (i32.const 1024) "{data}")'
    body = f"""
      (if (call $host (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 19) (i32.const 32) (i32.const 7)
        (i32.const 1024) (i32.const {len(payload) if length is None else length})) (then (return (i32.const 1))))
      {REASON}"""
    return written(body, members, '(memory (export "memory") 2)')


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x80",
        b"\x90",
        b"\x81\xa7subject\xa1a",
        b"\x82\xa7subject\xc4\x01a\xa4body\xc4\x00",
        b"\x82\xa7subject\xa1a\xa4body\xdf\xff\xff\xff\xff",
        b"\x82\xa7subject\xa1a\xa4body\xc6\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x82\xa7subject\xa1a\xa4body\xc4\x00\xff",
        b"\x83\xa7subject\xa1a\xa4body\xc4\x00\xa1x" + b"\x91" * 50_000 + b"\xc0",
        b"\x81" * 50_000,
    ],
)
def test_a_message_that_is_none_is_told_and_not_published(payload: bytes) -> None:
    call = run(called(payload), LONG)
    assert isinstance(call.outcome, Refused)
    assert "no map of subject, replyTo and body in msgpack" in call.outcome.text
    assert call.published == ()


def test_names_as_large_as_the_memory_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    read = GuestMemory.read

    def counted(self: GuestMemory, start: int, length: int) -> bytes:
        copied.append(length)
        return read(self, start, length)

    monkeypatch.setattr(GuestMemory, "read", counted)
    large = 900 * 65_536
    body = f"""(drop (call $host (i32.const 0) (i32.const {large}) (i32.const 0) (i32.const {large}) (i32.const 0)
      (i32.const {large}) (i32.const 0) (i32.const {large}))) {REASON}"""
    call = run(written(body, "", '(memory (export "memory") 900)'), LONG)
    assert call.outcome == Refused("only Publish of wasmcloud:messaging is provided here")
    assert max(copied) < 1_000


def test_a_flood_of_errors_and_of_calls_that_are_none_ends_with_the_time() -> None:
    limits = Limits(fuel=10**12, milliseconds=50)
    for call in (
        "(call $error (i32.const 0) (i32.const 65536))",
        "(drop (call $host (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) "
        "(i32.const 0) (i32.const 0)))",
        "(call $request (i32.const 0) (i32.const 4096))",
        "(call $log (i32.const 0) (i32.const 65536))",
    ):
        assert run(written(f"(loop $l {call} (br $l)) (i32.const 1)"), limits).outcome == OverLimit(Limit.TIME, 50)


@pytest.mark.parametrize(
    "call",
    [
        "(call $request (i32.const 0) (i32.const 0))",
        "(call $response (i32.const 0) (i32.const 0))",
        "(call $error (i32.const 0) (i32.const 8))",
        "(drop (call $response-length))",
        "(call $host-response (i32.const 0))",
        "(drop (call $error-length))",
        "(call $host-error (i32.const 0))",
        "(call $log (i32.const 0) (i32.const 8))",
    ],
)
def test_a_call_before_there_is_a_request_finds_none(call: str) -> None:
    members = f'(func (export "wapc_init") {call})'
    assert run(written("(i32.const 1)", members), LONG).outcome == Handled()


def test_an_error_of_an_earlier_call_is_not_told_again() -> None:
    members = '(func (export "wapc_init") (call $error (i32.const 0) (i32.const 8)))'
    assert run(written("(i32.const 0)", members), LONG).outcome == Refused("the guest gave no reason")


def test_a_response_at_the_end_of_the_memory_traps() -> None:
    body = """(drop (call $host (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0))) (call $host-error (i32.const 65530)) (i32.const 1)"""
    outcome = run(written(body), LONG).outcome
    assert isinstance(outcome, Trapped)
    assert "outside the memory" in outcome.text
