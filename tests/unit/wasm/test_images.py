"""Data that were taken out of a guest's code are where they were, in every instance, and nobody else's."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import wasmtime
import wasmtime.component
from eventrunner.wasm import memory as memories
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.images import Images, take_out_data
from eventrunner.wasm.memory import MemoryAccount, charge_to

PAGE = 65536
LARGE = "abcdefgh" * 16_384
"""128 KiB."""
MODULE = """
(module
  (memory (export "memory") {pages})
  {data}
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "write") (param i32) (i32.store8 (local.get 0) (i32.const 7))))
"""
DATA = f"""
  (data (i32.const 1000) "{LARGE}")
  (data $passive "passive")
  (data (i32.const 1004) "over")
  (data (i32.const 200000) "end")
  (data (i32.const {4 * PAGE}) "")
"""


def module(data: str, pages: int = 4) -> bytes:
    return bytes(wasmtime.wat2wasm(MODULE.format(data=data, pages=pages)))


class Instance:
    def __init__(self, code: bytes, images: Images) -> None:
        engine = shared_engine().raw
        self.store = wasmtime.Store(engine)
        self.store.set_fuel(10**9)
        self.store.set_epoch_deadline(10**6)
        self.account = MemoryAccount(100 * PAGE, images=images)
        with charge_to(self.account):
            self.exports = wasmtime.Instance(self.store, wasmtime.Module(engine, code), []).exports(self.store)

    def call(self, name: str, *values: int) -> int:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        return int(function(self.store, *values) or 0)

    def memory(self) -> bytes:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return bytes(memory.read(self.store))


def test_a_memory_is_as_if_the_data_were_in_the_code() -> None:
    code = module(DATA)
    changed, images = take_out_data(code)
    assert list(images) == [4 * PAGE]
    assert len(changed) == len(code)
    assert LARGE[:100].encode() not in changed
    assert b"passive" in changed
    assert Instance(changed, images).memory() == Instance(code, {}).memory()


def test_what_an_instance_writes_no_other_one_sees() -> None:
    code, images = take_out_data(module(DATA))
    before = Instance(code, images)
    beside = Instance(code, images)
    fresh = before.memory()
    assert before.call("grow", 2) == 4
    for address in (0, 1000, 70_000, 200_000, 4 * PAGE - 1, 6 * PAGE - 1):
        before.call("write", address)
    assert beside.memory() == fresh
    before.store.close()
    after = Instance(code, images)
    assert after.memory() == fresh
    assert after.call("grow", 2) == 4
    assert after.memory()[4 * PAGE :] == bytes(2 * PAGE)


def test_a_memory_without_an_image_never_gets_one_that_had_one() -> None:
    code, images = take_out_data(module(DATA))
    Instance(code, images).store.close()
    assert Instance(module(""), {}).memory() == bytes(4 * PAGE)


def test_it_is_counted_as_any_other_memory() -> None:
    code, images = take_out_data(module(DATA))
    instance = Instance(code, images)
    assert (instance.account.used, instance.account.refused) == (4 * PAGE, False)
    instance.account.limit = 5 * PAGE
    assert (instance.call("grow", 2), instance.account.used, instance.account.refused) == (-1, 4 * PAGE, True)


@pytest.mark.parametrize(
    "data",
    [
        '(data (i32.const 0) "little")',
        f'(data (global.get $place) "{LARGE}") (global $place i32 (i32.const 8))',
        f'(data (i32.const -5) "{LARGE}")',
        f'(data (i32.const {4 * PAGE - 5}) "{LARGE}")',
        f'(data (i32.const 0) "{LARGE}") (data (i32.const -1) "")',
        f'(data "{LARGE}")',
        f'(data (memory $other) (i32.const 0) "{LARGE}") (memory $other 4)',
    ],
    ids=["too little", "a computed place", "a negative place", "over the end", "also empty", "passive", "two memories"],
)
def test_other_data_stay_in_the_code(data: str) -> None:
    code = module(data)
    assert take_out_data(code) == (code, {})


def test_data_that_are_scattered_stay_in_the_code() -> None:
    code = module(f'(data (i32.const 0) "{LARGE}") (data (i32.const {100 * PAGE}) "far")', 101)
    assert take_out_data(code) == (code, {})


def component(second: int) -> bytes:
    text = f"""(component
      (component (core module (memory 4) {DATA}))
      (core module (memory {second})))"""
    return bytes(wasmtime.wat2wasm(text))


def test_modules_are_found_in_components_in_components() -> None:
    code = component(5)
    changed, images = take_out_data(code)
    assert list(images) == [4 * PAGE]
    assert len(changed) == len(code)
    wasmtime.component.Component(shared_engine().raw, changed)


def test_data_of_a_memory_that_another_one_could_be_taken_for_stay() -> None:
    code = component(4)
    assert take_out_data(code) == (code, {})


def test_no_code_is_too_broken_to_be_looked_at() -> None:
    code = module(DATA)
    for end in (*range(120), len(code) - 1):
        assert take_out_data(code[:end]) == (code[:end], {})
    for place in range(150):
        broken = code[:place] + bytes([code[place] ^ 0xFF]) + code[place + 1 :]
        changed, _ = take_out_data(broken)
        assert len(changed) == len(broken)


def test_code_that_the_engine_would_refuse_for_its_data_stays_as_it_is() -> None:
    code = bytearray(module(f'(data (i32.const 8) "{LARGE}") (data (i32.const 9) "9")'))
    count = code.index(b"\x02\0\x41\x08\x0b")
    code[count] = 1
    with pytest.raises(wasmtime.WasmtimeError, match="section size mismatch"):
        wasmtime.Module(shared_engine().raw, code)
    assert take_out_data(bytes(code)) == (bytes(code), {})


def test_an_image_is_freed_with_its_guest() -> None:
    def descriptors() -> int:
        # Of images only: other threads of the test run open and close theirs.
        found = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return sum("wasm-data" in target for target in found)

    while memories._kept:
        memories._kept.pop().unmap()
    gc.collect()
    before = descriptors()
    _, images = take_out_data(module(DATA))
    assert descriptors() == before + 1
    del images
    gc.collect()
    assert descriptors() == before


def test_where_there_are_no_files_without_names_data_stay_in_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    code = module(DATA)
    assert take_out_data(code) == (code, {})
