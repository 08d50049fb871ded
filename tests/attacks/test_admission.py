"""What a tenant uploads cannot keep the one busy, or fill the one, that reads it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.wasm.binary import read_module
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.parts import check_parts
from eventrunner.wasm.sections import leb

from tests.attacks.binaries import module, nested, section, vector

MIB = 1024 * 1024
GLOBAL = b"\x7f\0\x41\0\x0b"
IMPORT = b"\0\0\x03\x7f\0"
EXPORT = b"\0\x03\0"


@pytest.fixture
def memory() -> Iterator[None]:
    """Reading may take no more than a fraction of what there is to read."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB


@pytest.mark.parametrize(("identifier", "item"), [(2, IMPORT), (7, EXPORT)])
def test_a_million_names_are_refused_before_they_are_read(identifier: int, item: bytes, memory: None) -> None:
    with pytest.raises(InvalidInput, match="more than 1000 imports and exports"):
        read_module(module(section(identifier, vector(item, 1_000_000 // 4))))


def test_many_sections_of_few_names_are_refused_too() -> None:
    sections = [section(2, vector(IMPORT, 100))] * 5 + [section(7, vector(EXPORT, 101))] * 5
    with pytest.raises(InvalidInput, match="more than 1000 imports and exports"):
        read_module(module(*sections))


def test_names_that_would_fill_a_record_are_refused() -> None:
    names = b"".join(leb(700) + b"%03d" % number + b"x" * 697 + b"\x03\0" for number in range(100))
    with pytest.raises(InvalidInput, match="have 70000 characters"):
        read_module(module(section(7, leb(100) + names)))


def test_a_million_sections_are_refused() -> None:
    with pytest.raises(InvalidInput, match="sections"):
        read_module(module(b"\0\x01\0" * 1_000_000))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (module(section(6, vector(GLOBAL, 50_001))), "50001 global variables"),
        (module(section(3, vector(b"\0", 200_001))), "200001 functions"),
        (b"\0asm\x0d\0\x01\0" + section(1, module(section(6, vector(GLOBAL, 30_000)))) * 2, "60000 global variables"),
        (module(section(6, leb(2**63))), "global variables"),
        (nested(9), "nested more than 8 deep"),
    ],
    ids=["globals", "functions", "in two modules of a component", "announced only", "nested"],
)
def test_what_would_cost_every_instance_much_is_not_compiled(code: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        check_parts(code)
    with pytest.raises(InvalidInput, match=told):
        ModuleCache(shared_engine()).load(code)


@pytest.mark.parametrize(
    "text",
    [
        '(module (import "wapc" "__console_log" (func (param i32 v128))))',
        '(module (import "wapc" "__host_error_len" (func (result v128))))',
        '(module (memory (export "memory") 1) (func (export "__guest_call") (param v128) unreachable))',
        '(module (func $f (result i32 v128) unreachable) (export "_start" (func $f)))',
    ],
)
def test_functions_of_vectors_are_refused_and_do_not_end_the_process(text: str) -> None:
    """The engine's C interface aborts when it is asked for their types. Found by fuzzing."""
    with pytest.raises(InvalidInput, match="functions of vectors"):
        load_guest(shared_engine(), ModuleCache(shared_engine(), compiler=None), bytes(wasmtime.wat2wasm(text)))


def test_a_module_may_use_vectors_within() -> None:
    text = """(module (memory (export "memory") 1) (global v128 (v128.const i64x2 0 0))
      (func $f (param v128) (result v128) (local.get 0))
      (func (export "__guest_call") (param i32 i32) (result i32)
        (drop (call $f (v128.const i64x2 0 0))) (i32.const 1)))"""
    load_guest(shared_engine(), ModuleCache(shared_engine(), compiler=None), bytes(wasmtime.wat2wasm(text)))
