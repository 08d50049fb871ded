"""waPC modules are called as their specification says, and behave like components."""

from __future__ import annotations

from typing import cast

import pytest
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits
from eventrunner.wasm.core_calls import GuestMemory, call_core, define_core
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.host import Host
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Call, Handled, Limit, LogLine, Message, Refused, Trapped
from eventrunner.wasm.wapc_guest import WapcGuest
from eventrunner.wasm.wapc_messages import DELIVERY_FORMS
from support_guests import require_toolchain, wapc_guest
from wasmtime import _func

from tests.unit.wasm.guest_suite import GuestSuite, message, over


def load(code: bytes) -> WapcGuest:
    compiled = ModuleCache(shared_engine(), compiler=None).load(code)
    return WapcGuest(shared_engine(), cast(wasmtime.Module, compiled))


class TestWapc(GuestSuite):
    context = ""

    def code(self) -> bytes:
        return wapc_guest()

    def guest(self) -> Guest:
        return load(self.code())


IMPORTS = """
  (import "wapc" "__guest_request" (func $request (param i32 i32)))
  (import "wapc" "__guest_response" (func $response (param i32 i32)))
  (import "wapc" "__guest_error" (func $error (param i32 i32)))
  (import "wapc" "__host_call" (func $host (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wapc" "__host_response_len" (func $response-length (result i32)))
  (import "wapc" "__host_response" (func $host-response (param i32)))
  (import "wapc" "__host_error_len" (func $error-length (result i32)))
  (import "wapc" "__host_error" (func $host-error (param i32)))
  (import "wapc" "__console_log" (func $log (param i32 i32)))
"""


def written(body: str, members: str = "", memory: str = '(memory (export "memory") 1)') -> bytes:
    """A module whose `__guest_call` has this body, in text."""
    call = f'(func (export "__guest_call") (param i32 i32) (result i32) {body})'
    return bytes(wasmtime.wat2wasm(f"(module {IMPORTS} {memory} {members} {call})"))


def run(code: bytes, limits: Limits | None = None) -> Call:
    return Host(shared_engine(), load(code), limits or Limits()).handle(message("any"))


def test_a_request_is_the_operation_and_a_delivery_in_msgpack() -> None:
    body = """
      (call $request (i32.const 0) (i32.const 64))
      (call $log (i32.const 0) (local.get 0))
      (call $error (i32.const 64) (local.get 1))
      (i32.const 0)"""
    host = Host(shared_engine(), load(written(body)), Limits())
    sent = Message("events.acme.a", b"body", "reply")
    call = host.handle(sent)
    assert call.logs == (LogLine("info", "", "MessageSubscriber.HandleMessage"),)
    assert call.outcome == Refused(DELIVERY_FORMS[0].encode(sent).decode(errors="replace"))


@pytest.mark.parametrize(
    ("namespace", "operation", "payload", "told"),
    [
        ("wasmcloud:keyvalue", "Get", "", "only Publish of wasmcloud:messaging is provided"),
        ("wasmcloud:messaging", "Request", "", "only Publish of wasmcloud:messaging is provided"),
        ("wasmcloud:messaging", "Publish", "nothing", "no map of subject, replyTo and body"),
        ("wasmcloud:messaging", "Messaging.Publish", "nothing", "no map of subject, replyTo and body"),
        ("wasmcloud:messaging", "Publish", "\\81\\a7subject\\a1\\ff", "no map of subject, replyTo and body"),
    ],
)
def test_a_call_that_the_host_does_not_know_is_told(namespace: str, operation: str, payload: str, told: str) -> None:
    """The guest answers with the error that the host gave it."""
    length = len(payload.replace("\\81", "x").replace("\\a7", "x").replace("\\a1", "x").replace("\\ff", "x"))
    data = f'(data (i32.const 0) "{namespace}") (data (i32.const 100) "{operation}") (data (i32.const 200) "{payload}")'
    body = f"""
      (if (call $host (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {len(namespace)}) (i32.const 100)
        (i32.const {len(operation)}) (i32.const 200) (i32.const {length})) (then unreachable))
      (if (call $response-length) (then unreachable))
      (call $host-error (i32.const 300))
      (call $error (i32.const 300) (call $error-length))
      (i32.const 0)"""
    outcome = run(written(body, data)).outcome
    assert isinstance(outcome, Refused)
    assert told in outcome.text


def test_an_error_without_a_reason_is_told() -> None:
    assert run(written("(i32.const 0)")).outcome == Refused("the guest gave no reason")


def test_an_earlier_error_is_not_told_again() -> None:
    """The guest names its error in the first call only."""
    body = """
      (if (i32.eqz (global.get $calls)) (then (call $error (i32.const 0) (i32.const 5))))
      (global.set $calls (i32.const 1))
      (i32.const 0)"""
    code = written(body, '(data (i32.const 0) "first") (global $calls (mut i32) (i32.const 0))')
    host = Host(shared_engine(), load(code), Limits(), "reuse")
    outcomes = [host.handle(message("any")).outcome for _ in range(2)]
    assert outcomes == [Refused("first"), Refused("the guest gave no reason")]


@pytest.mark.parametrize("word", ["publish-bytes", "refuse-at-length"])
def test_what_is_over_the_limit_is_not_even_copied(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_toolchain()
    copied: list[int] = []
    read = GuestMemory.read

    def counted(self: GuestMemory, start: int, length: int) -> bytes:
        copied.append(length)
        return read(self, start, length)

    monkeypatch.setattr(GuestMemory, "read", counted)
    host = Host(shared_engine(), load(wapc_guest()), Limits(output_bytes=1000))
    assert over(host.handle(message(word, 5_000_000))) is Limit.OUTPUT
    assert all(length < 5_000 for length in copied)


def test_a_start_function_runs_once_and_before_the_first_call() -> None:
    members = """
      (data (i32.const 0) "_start, wapc_init")
      (func (export "wapc_init") (call $log (i32.const 8) (i32.const 9)))
      (func (export "_start") (call $log (i32.const 0) (i32.const 6)))"""
    host = Host(shared_engine(), load(written("(i32.const 1)", members)), Limits(), "reuse")
    assert [line.text for line in host.handle(message("any")).logs] == ["_start", "wapc_init"]
    assert host.handle(message("any")).logs == ()


@pytest.mark.parametrize(
    "start", ['(func (export "_start") {})', '(func (export "wapc_init") {})', "(func $s {}) (start $s)"]
)
def test_a_start_function_that_loops_is_stopped(start: str) -> None:
    code = written("(i32.const 1)", start.format("(loop $l (br $l))"))
    assert over(run(code, Limits(fuel=1_000_000))) is Limit.FUEL
    assert over(run(code, Limits(fuel=10**12, milliseconds=50))) is Limit.TIME


@pytest.mark.parametrize(
    "call",
    [
        "(call $request (i32.const 65535) (i32.const 0))",
        "(call $request (i32.const -1) (i32.const 0))",
        "(call $error (i32.const 0) (i32.const 65537))",
        "(call $log (i32.const -1) (i32.const 1))",
        "(call $error (i32.const -1) (i32.const -1))",
        "(drop (call $host (i32.const 0) (i32.const 0) (i32.const -8) (i32.const 19) (i32.const 0) (i32.const 0) "
        "(i32.const 0) (i32.const 0)))",
    ],
)
def test_an_address_outside_the_memory_traps(call: str) -> None:
    assert over(run(written(f"{call} (i32.const 1)"))) != "Handled()"


def test_a_module_whose_memory_is_empty_does_no_harm() -> None:
    code = written("(call $request (i32.const 0) (i32.const 0)) (i32.const 1)", memory='(memory (export "memory") 0)')
    assert isinstance(run(code).outcome, Trapped)


def test_what_a_host_function_raises_is_told_of_its_call_only(caplog: pytest.LogCaptureFixture) -> None:
    """The bindings would keep it for the next thread that asks."""

    def fails(_memory: GuestMemory) -> None:
        raise ValueError("secret")

    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    define_core(linker, "host", "fails", wasmtime.FuncType([], []), fails)
    text = '(module (import "host" "fails" (func $f)) (memory (export "memory") 1) (func (export "run") (call $f)))'
    store = wasmtime.Store(engine)
    function = linker.instantiate(store, wasmtime.Module(engine, text)).exports(store)["run"]
    assert isinstance(function, wasmtime.Func)
    with pytest.raises(wasmtime.WasmtimeError, match="the host failed"):
        call_core(store, function)
    assert _func.LAST_EXCEPTION is None
    assert "secret" in caplog.text


def test_a_huge_table_is_over_the_limit_of_memory() -> None:
    assert over(run(written("(i32.const 1)", "(table 100000000 funcref)"))) is Limit.MEMORY


@pytest.mark.parametrize("name", ["wasi_snapshot_preview1.fd_write", "env.memory", "wapc.__shell"])
def test_an_import_that_no_consumer_is_given_is_refused_by_its_name(name: str) -> None:
    module, _, member = name.partition(".")
    text = f'(module (import "{module}" "{member}" (func)) (func (export "__guest_call")))'
    with pytest.raises(InvalidInput, match=name):
        load(bytes(wasmtime.wat2wasm(text)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('(module (memory (export "memory") 1))', "exports __guest_call not as"),
        ('(module (memory (export "memory") 1) (func (export "__guest_call")))', "exports __guest_call not as"),
        ('(module (import "wapc" "__console_log" (func (param i64))))', "imports wapc.__console_log not as"),
        ('(module (import "wapc" "__console_log" (global i32)))', "imports wapc.__console_log not as"),
        (
            '(module (func (export "__guest_call") (param i32 i32) (result i32) (i32.const 1)))',
            "exports no memory",
        ),
    ],
)
def test_a_module_that_is_no_actor_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        load(bytes(wasmtime.wat2wasm(text)))


def picky(operation_length: int, answer: str) -> bytes:
    """Takes a message that is not wrapped, under an operation of this length; gives this answer to any other."""
    return written(
        f"""
        (call $request (i32.const 0) (i32.const 64))
        (if (result i32)
          (i32.and (i32.eq (local.get 0) (i32.const {operation_length}))
                   (i32.eq (i32.load8_u (i32.const 64)) (i32.const 0x83)))
          (then (i32.const 1))
          (else (call $error (i32.const 32) (i32.const {len(answer)})) (i32.const 0)))""",
        f'(data (i32.const 32) "{answer}")',
    )


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("MessageSubscriber.HandleMessage", "missing field `subject`"),
        ("HandleMessage", "No handler registered"),
    ],
)
def test_an_actor_of_another_library_is_handed_the_message_in_its_form(operation: str, answer: str) -> None:
    host = Host(shared_engine(), load(picky(len(operation), answer)), Limits())
    first, second = (host.handle(message("any")) for _ in range(2))
    assert first.outcome == second.outcome == Handled()
    assert second.spent.fuel < first.spent.fuel


def test_what_an_actor_answers_that_takes_no_form_is_its_first_answer() -> None:
    assert run(picky(1, "missing field `subject`")).outcome == Refused("missing field `subject`")
