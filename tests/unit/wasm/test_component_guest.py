"""Components are called as `wasmcloud:messaging@0.2.0` says, with both conversions of values."""

from __future__ import annotations

import pytest
import support_wasm
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits
from eventrunner.wasm import bulk
from eventrunner.wasm import conversion as conversions
from eventrunner.wasm.bulk import Bulk
from eventrunner.wasm.conversion import Answer, Conversion, Stock, best_conversion
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.outcomes import Handled, Limit, Message, Refused, Trapped
from support_guests import component_guest
from wasmtime import component
from wasmtime.component import _enter

from tests.component_texts import asking, importing, load, run, written
from tests.unit.wasm.guest_suite import BYTES, MIB, GuestSuite, message, over


class TestComponent(GuestSuite):
    context = "guest"

    def code(self) -> bytes:
        return component_guest()

    def guest(self) -> Guest:
        return load(self.code(), Bulk())

    def test_messages_of_every_size_come_through_whole_in_any_order(self) -> None:
        """The memory that holds them is used again."""
        limits = Limits(fuel=10**10, milliseconds=30_000, output_bytes=2 * MIB)
        host = self.host("reuse", limits=limits)
        for size in (5_000, 0, 70_000, 1_024, 1_025, 65_536, 65_537, 3):
            subject = f"results.acme.{'ö' * (size // 50)}.echo"
            body = BYTES * (size // 256) + BYTES[: size % 256]
            sent = Message(subject, body, subject if size % 2 else None)
            assert host.handle(sent).published == (sent,)
            assert host.handle(message("refuse", size)).outcome == Refused(str(size))


class TestComponentWithStockConversion(TestComponent):
    def guest(self) -> Guest:
        return load(self.code(), Stock())


def test_the_time_of_day_is_given() -> None:
    members = """
      (type $d (record (field "seconds" u64) (field "nanoseconds" u32)))
      (export "datetime" (type $datetime (eq $d)))
      (export "now" (func (result $datetime)))"""
    use = """(call $f (i32.const 64))
      (if (i64.lt_u (i64.load (i32.const 64)) (i64.const 1700000000)) (then unreachable))
      (if (i32.ge_u (i32.load (i32.const 72)) (i32.const 1000000000)) (then unreachable))"""
    assert over(run(asking("wasi:clocks/wall-clock@0.2.0", members, "now", "i32", use))) == "Handled()"


def test_a_seed_is_given() -> None:
    members = '(export "insecure-seed" (func (result (tuple u64 u64))))'
    use = (
        "(call $f (i32.const 64)) (if (i64.eq (i64.load (i32.const 64)) (i64.load (i32.const 72))) (then unreachable))"
    )
    assert over(run(asking("wasi:random/insecure-seed@0.2.0", members, "insecure-seed", "i32", use))) == "Handled()"


@pytest.mark.parametrize(("length", "given"), [(16, True), (65_536 - 4096, True), (65_537, False), (2**63, False)])
def test_random_bytes_are_given_in_bounds(length: int, given: bool) -> None:
    members = '(export "get-random-bytes" (func (param "len" u64) (result (list u8))))'
    use = f"""(call $f (i64.const {length}) (i32.const 64))
      (if (i32.ne (i32.load (i32.const 68)) (i32.const {length % 2**32})) (then unreachable))
      (if (i64.eqz (i64.load (i32.const 4096))) (then unreachable))"""
    outcome = run(asking("wasi:random/random@0.2.0", members, "get-random-bytes", "i64 i32", use)).outcome
    assert isinstance(outcome, Handled) is given
    assert given or "random bytes at once" in str(outcome)


def test_a_request_is_answered_with_an_error() -> None:
    members = """
      (type $r (record (field "subject" string) (field "body" (list u8)) (field "reply-to" (option string))))
      (export "broker-message" (type $message (eq $r)))
      (export "request" (func (param "subject" string) (param "body" (list u8)) (param "timeout-ms" u32)
        (result (result $message (error string)))))"""
    use = """(call $f (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 9) (i32.const 64))
      (if (i32.ne (i32.load8_u (i32.const 64)) (i32.const 1)) (then unreachable))"""
    code = asking("wasmcloud:messaging/consumer@0.2.0", members, "request", "i32 i32 i32 i32 i32 i32", use)
    assert over(run(code)) == "Handled()"


@pytest.mark.parametrize(
    ("interface", "function"),
    [
        ("wasi:clocks/monotonic-clock@0.2.0", "now"),
        ("wasi:clocks/monotonic-clock@0.2.6", "resolution"),
        ("wasi:random/random@0.2.3", "get-random-u64"),
        ("wasi:random/insecure@0.2.9", "get-insecure-random-u64"),
    ],
)
def test_clocks_and_randomness_are_given_in_any_version_of_0_2(interface: str, function: str) -> None:
    use = "(if (i64.eqz (call $f)) (then unreachable))"
    assert over(run(importing(interface, function, "(result u64)", "(result i64)", use))) == "Handled()"


@pytest.mark.parametrize(
    "name",
    [
        "wasi:filesystem/types@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:cli/environment@0.2.0",
        "wasi:io/streams@0.2.0",
        "wasi:clocks/wall-clock@0.3.0",
        "wasmcloud:messaging/consumer@0.3.0",
        "wasi:random/random",
    ],
)
def test_an_import_that_no_consumer_is_given_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=name) as refusal:
        load(support_wasm.component("wasi:clocks/wall-clock@0.2.0", name))
    assert [field.message for field in refusal.value.fields] == [f"imports {name}"]


def test_a_component_without_the_handler_is_refused() -> None:
    with pytest.raises(InvalidInput, match="exports no wasmcloud:messaging/handler"):
        load(support_wasm.component(serves=False))


def test_a_handler_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidInput, match="exports a handle-message that is not"):
        load(support_wasm.component())


@pytest.mark.parametrize(
    ("interface", "function", "kind"),
    [
        ("wasi:random/random@0.2.0", "get-random-u64", "(result string)"),
        ("wasi:random/random@0.2.0", "get-random-bytes", '(param "len" u32) (result (list u8))'),
        ("wasi:random/random@0.2.0", "get-random-dice", "(result u64)"),
        ("wasmcloud:messaging/consumer@0.2.0", "publish", '(param "msg" string)'),
        ("wasmcloud:messaging/types@0.2.0", "publish", ""),
        ("wasi:io/poll@0.2.0", "poll", '(param "in" (list u32)) (result (list u32))'),
    ],
)
def test_a_host_function_of_another_type_is_refused_by_its_name(interface: str, function: str, kind: str) -> None:
    text = f'(component (import "{interface}" (instance (export "{function}" (func {kind})))) {support_wasm.HANDLER})'
    with pytest.raises(InvalidInput, match=f"imports {function} of {interface}"):
        load(bytes(wasmtime.wat2wasm(text)))


def test_a_start_function_that_loops_is_stopped() -> None:
    code = written("", "", members="(func $s (loop $l (br $l))) (start $s)")
    assert over(run(code, Limits(fuel=1_000_000))) is Limit.FUEL
    assert over(run(code, Limits(fuel=10**12, milliseconds=50))) is Limit.TIME


def test_a_start_function_that_traps_is_told() -> None:
    assert isinstance(run(written("", "", members="(func $s unreachable) (start $s)")).outcome, Trapped)


def test_a_huge_table_is_over_the_limit_of_memory() -> None:
    assert over(run(written("", "", members="(table 100000000 funcref)"))) is Limit.MEMORY


def test_many_tables_are_over_a_limit_too() -> None:
    assert isinstance(run(written("", "", members="(table 100000 funcref)" * 51)).outcome, Trapped)


def test_a_table_grows_up_to_the_limit_only() -> None:
    grow = "(if (i32.ne (table.grow $t (ref.null func) (i32.const 10000000)) (i32.const -1)) (then unreachable))"
    assert over(run(written("", grow, members="(table $t 1 funcref)"))) == "Handled()"


@pytest.mark.parametrize(
    "name", ["all fuel consumed by WebAssembly", "wasm trap: interrupt", "table minimum size of 1 exceeds table limits"]
)
def test_the_names_in_a_guest_do_not_decide_what_is_told(name: str) -> None:
    """Its functions may be named like the engine's own words."""
    members = f'(func $"{name}" unreachable) (start $"{name}")'
    outcome = run(written("", "", members=members)).outcome
    assert isinstance(outcome, Trapped)
    assert name in outcome.text


def test_all_memories_of_an_instance_count_together() -> None:
    limits = Limits(memory_bytes=10 * 65536)
    assert over(run(written("", "", members="(memory 8)"), limits)) == "Handled()"
    assert over(run(written("", "", members="(memory 10)"), limits)) is Limit.MEMORY


def waiting(nanoseconds: int) -> bytes:
    """A component that blocks on a pollable for so long."""
    before = """
      (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $p (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $p))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $p (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
      (core func $subscribe (canon lower (func $clock "subscribe-duration")))
      (core func $block (canon lower (func $poll "[method]pollable.block")))
      (core func $drop (canon resource.drop $pollable))"""
    members = """
      (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
      (import "h" "block" (func $block (param i32)))
      (import "h" "drop" (func $drop (param i32)))"""
    given = '(with "h" (instance (export "subscribe" (func $subscribe)) (export "block" (func $block))'
    body = f"(local $p i32) (local.set $p (call $subscribe (i64.const {nanoseconds})))"
    body += "(call $block (local.get $p)) (call $drop (local.get $p))"
    return written(before, body, given + ' (export "drop" (func $drop))))', members)


def test_a_guest_may_wait_within_its_time() -> None:
    assert over(run(waiting(1_000_000), Limits(milliseconds=30_000))) == "Handled()"


def test_waiting_longer_than_the_time_allows_ends_the_call() -> None:
    assert over(run(waiting(2**62), Limits(milliseconds=100))) is Limit.TIME


def test_a_guest_may_ask_which_of_its_moments_are_over() -> None:
    before = """
      (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $p (sub resource)))
        (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $p (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
      (core func $subscribe (canon lower (func $clock "subscribe-duration")))
      (core func $poll (canon lower (func $poll "poll")
        (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))"""
    members = """
      (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
      (import "h" "poll" (func $poll (param i32 i32 i32)))
      (import "libc" "memory" (memory $m 1))"""
    body = """
      (i32.store (i32.const 16) (call $subscribe (i64.const 9000000000000)))
      (i32.store (i32.const 20) (call $subscribe (i64.const 1000)))
      (call $poll (i32.const 16) (i32.const 2) (i32.const 64))
      (if (i32.ne (i32.load (i32.const 68)) (i32.const 1)) (then unreachable))
      (if (i32.ne (i32.load (i32.load (i32.const 64))) (i32.const 1)) (then unreachable))"""
    given = '(with "h" (instance (export "subscribe" (func $subscribe)) (export "poll" (func $poll))))'
    code = written(before, body, f'{given} (with "libc" (instance $libc))', members)
    assert over(run(code, Limits(milliseconds=30_000))) == "Handled()"


@pytest.mark.parametrize("conversion", [Stock(), Bulk()])
def test_what_a_host_function_raises_is_told_of_its_call_only(
    conversion: Conversion, caplog: pytest.LogCaptureFixture
) -> None:
    """The bindings would keep it for the next thread that asks."""

    def publish(_message: object) -> None:
        raise ValueError("secret")

    engine = wasmtime.Engine()
    linker = component.Linker(engine)
    with linker.root() as root:
        with root.add_instance("types"):
            pass
        conversion.define(root, "publish", publish, Answer.RESULT)
    store = wasmtime.Store(engine)
    function = linker.instantiate(store, component.Component(engine, conversions._ECHO)).get_func(store, "handle")
    assert function
    with pytest.raises(wasmtime.WasmtimeError, match="the host failed"):
        conversion.call(function, store, message("any"))
    assert _enter.LAST_EXCEPTION is None
    assert "secret" in caplog.text


def test_the_bulk_conversion_is_used_with_the_pinned_version() -> None:
    assert isinstance(best_conversion(), Bulk)


def test_another_version_of_wasmtime_gets_the_stock_conversion(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(conversions, "_WRITTEN_FOR", "50.0.0")
    assert isinstance(best_conversion.__wrapped__(), Stock)
    assert "slow conversion" in caplog.text


@pytest.mark.parametrize("broken", ["_read_bytes", "_read_message", "_read_string", "_slot"])
def test_a_bulk_conversion_that_does_not_work_is_not_used(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> object:
        raise AttributeError("the bindings have changed")

    monkeypatch.setattr(bulk, broken, wrong)
    assert isinstance(best_conversion.__wrapped__(), Stock)


def test_a_refusal_of_nothing_is_still_a_refusal() -> None:
    """Error at an empty text: the first word is 1, the rest 0."""
    body = "(i32.store8 $m (i32.const 0) (i32.const 1))"
    code = written("", body, '(with "libc" (instance $libc))', '(import "libc" "memory" (memory $m 1))')
    assert run(code).outcome == Refused("")
