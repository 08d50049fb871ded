"""What a binary imports and exports is read as wasmtime reads it, and nothing malformed does any harm."""

from __future__ import annotations

import contextlib

import pytest
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.wasm.binary import Import, Kind, Module, NotWebAssembly, read_module
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import component

CONSUMER = """
(component
  (type $types (instance
    (type (record (field "subject" string) (field "body" (list u8)) (field "reply-to" (option string))))
    (export "broker-message" (type (eq 0)))))
  (import "wasmcloud:messaging/types@0.2.0" (instance $t (type $types)))
  (alias export $t "broker-message" (type $message))
  (import "wasmcloud:messaging/consumer@0.2.0" (instance
    (alias outer 1 $message (type $m))
    (export "broker-message" (type $bm (eq $m)))
    (export "publish" (func (param "msg" $bm) (result (result (error string)))))))
  (import "wasi:clocks/wall-clock@0.2.6" (instance (export "now" (func (result u64)))))
  (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64)))))
  (import "a-func" (func $f (param "x" u32) (result u32)))
  (import "a-type" (type $r (sub resource)))
  (core module $m (import "wasi_snapshot_preview1" "fd_write" (func)) (memory (export "memory") 1))
  (core module $own (func (export "f") (param i32) (result i32) (local.get 0)))
  (core instance $made (instantiate $own))
  (func $g (param "x" u32) (result u32) (canon lift (core func $made "f")))
  (export "plain" (func $g))
  (export "typed" (func $g) (func (param "x" u32) (result u32)))
  (instance $i (export "run" (func $g)))
  (export "wasmcloud:messaging/handler@0.2.0" (instance $i))
)
"""

# What no engine lets a component import of its host.
STRANGE = """
(component
  (type $word (enum "a" "b"))
  (import "a-module" (core module (import "x" "y" (func)) (export "z" (memory 1))))
  (import "a-component" (component))
  (import "an-alias" (type (eq $word)))
  (import "last" (func $f))
  (export "again" (func $f))
)
"""

ACTOR = """
(module
  (import "wapc" "__host_call" (func (param i32 i32) (result i32)))
  (import "wapc" "__console_log" (func (param i32 i32)))
  (import "env" "memory" (memory 1 10))
  (import "env" "table" (table 1 2 funcref))
  (import "env" "typed" (table 1 (ref null func)))
  (import "env" "global" (global (mut i64)))
  (import "env" "tag" (tag (param i32)))
  (import "env" "big" (memory i64 1 5000000))
  (func (export "__guest_call") (param i32 i32) (result i32) (i32.const 1))
  (export "memory" (memory 0))
  (export "größe" (global 0))
)
"""


def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_exceptions = True
    config.wasm_function_references = True
    config.wasm_memory64 = True
    config.wasm_multi_memory = True
    return wasmtime.Engine(config)


def test_a_component_is_read_as_wasmtime_reads_it() -> None:
    code = bytes(wasmtime.wat2wasm(CONSUMER))
    read = read_module(code)
    theirs = component.Component(engine(), code).type
    assert read.kind is Kind.COMPONENT
    assert {str(item) for item in read.imports} == set(theirs.imports(engine()))
    assert set(read.exports) == set(theirs.exports(engine()))
    assert len(read.imports) == 6


def test_a_module_of_endless_sections_is_refused() -> None:
    with pytest.raises(NotWebAssembly, match="100000 sections"):
        read_module(b"\0asm\1\0\0\0" + b"\1\0" * 100_001)


def test_imports_of_every_sort_are_read() -> None:
    read = read_module(bytes(wasmtime.wat2wasm(STRANGE)))
    assert [item.name for item in read.imports] == ["a-module", "a-component", "an-alias", "last"]


def test_a_module_is_read_as_wasmtime_reads_it() -> None:
    code = bytes(wasmtime.wat2wasm(ACTOR))
    read = read_module(code)
    theirs = wasmtime.Module(engine(), code)
    assert read.kind is Kind.MODULE
    assert list(read.imports) == [Import(item.module, item.name or "") for item in theirs.imports]
    assert list(read.exports) == [item.name for item in theirs.exports]
    assert str(read.imports[0]) == "wapc.__host_call"


def test_what_is_inside_of_a_component_is_its_own_affair() -> None:
    inner = '(component (component (import "wasi:filesystem/types@0.2.0" (instance)))'
    core = '(core module (import "wasi_snapshot_preview1" "fd_write" (func))))'
    assert read_module(bytes(wasmtime.wat2wasm(inner + core))) == Module(Kind.COMPONENT, (), ())


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x02\x01\x01\0", "begins with 7f 45 4c 46 02 01 01 00"),
        (b"(module)", "begins with 28 6d"),
        (b"\0asm", "ends within its preamble"),
        (b"\0asm\x02\0\0\0", "has version 2 and layer 0"),
        (b"\0asm\x0c\0\x01\0", "has version 12 and layer 1"),
        (b"\0asm\x01\0\x01\0", "has version 1 and layer 1"),
        (b"\0asm\x01\0\0\0\x02", "ends at byte 9"),
        (b"\0asm\x01\0\0\0\x02\x7f", "127 bytes are announced"),
        (b"\0asm\x01\0\0\0\x02\x05\xff\xff\xff\xff\x0f", "items are announced where 0 bytes are left"),
        (b"\0asm\x01\0\0\0\x02" + b"\xff" * 12, "a number is too long"),
        (b"\0asm\x01\0\0\0\x02\x02\x00\x00", "longer than what it holds"),
        (b"\0asm\x01\0\0\0\x02\x05\x01\x01\xff\x00\x00", "not UTF-8"),
        (b"\0asm\x01\0\0\0\x02\x05\x01\x01a\x00\x09", "unknown kind 0x09"),
        (b"\0asm\x0d\0\x01\0\x0a\x04\x01\x07\x01a", "unknown form 0x07"),
    ],
)
def test_what_is_none_is_refused_with_what_was_found(code: bytes, found: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_module(code)
    assert found in refused.value.detail
    assert [field.field for field in refused.value.fields] == ["body"]


@given(st.sampled_from([CONSUMER, STRANGE, ACTOR]), st.data())
def test_a_changed_binary_is_read_or_refused(text: str, data: st.DataObject) -> None:
    code = bytearray(wasmtime.wat2wasm(text))
    for _ in range(data.draw(st.integers(1, 4))):
        code[data.draw(st.integers(8, len(code) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidInput):
        read_module(bytes(code[: data.draw(st.integers(8, len(code)))]))
