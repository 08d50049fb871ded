"""The memory of guests is their own, empty at the start, bounded, and freed."""

from __future__ import annotations

import gc
import threading

import pytest
import wasmtime
from eventrunner.wasm import memory as memories
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.memory import MemoryAccount, charge_to

PAGE = 65536
MODULE = """
(module
  (memory (export "memory") {pages})
  (data (i32.const 8) "data")
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "write") (param i32) (i32.store8 (local.get 0) (i32.const 7))))
"""


class Instance:
    def __init__(self, pages: int, account: MemoryAccount) -> None:
        engine = shared_engine().raw
        self.store = wasmtime.Store(engine)
        self.store.set_fuel(10**9)
        self.store.set_epoch_deadline(10**6)
        module = wasmtime.Module(engine, MODULE.format(pages=pages))
        with charge_to(account):
            self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)

    def call(self, name: str, *values: int) -> int:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        return int(function(self.store, *values) or 0)


def plenty() -> MemoryAccount:
    return MemoryAccount(1000 * PAGE)


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    gc.collect()
    while memories._kept:
        memories._kept.pop().unmap()


def test_data_lie_where_the_module_says() -> None:
    instance = Instance(1, plenty())
    assert bytes(instance.call("read", 8 + index) for index in range(4)) == b"data"


def test_a_memory_that_was_used_before_is_empty() -> None:
    before = Instance(3, plenty())
    before.call("grow", 2)
    for page in range(5):
        before.call("write", page * PAGE + 100)
    before.store.close()
    assert len(memories._kept) == 1
    after = Instance(5, plenty())
    assert memories._kept == []
    assert [after.call("read", page * PAGE + 100) for page in range(5)] == [0] * 5


@pytest.mark.parametrize("first", [1, 5])
def test_nothing_outside_a_memory_can_be_reached(first: int) -> None:
    """Also not what was accessible to the instance before."""
    Instance(first, plenty()).store.close()
    instance = Instance(2, plenty())
    instance.call("write", 2 * PAGE - 1)
    for address in (2 * PAGE, 3 * PAGE, 100 * PAGE, 2**31 - 1, -1):
        with pytest.raises(wasmtime.Trap, match="out of bounds"):
            instance.call("read", address)


def test_what_was_grown_can_be_reached_and_no_more() -> None:
    instance = Instance(1, plenty())
    assert instance.call("grow", 2) == 1
    instance.call("write", 3 * PAGE - 1)
    with pytest.raises(wasmtime.Trap, match="out of bounds"):
        instance.call("write", 3 * PAGE)


def test_an_account_knows_the_most_and_what_was_refused() -> None:
    account = MemoryAccount(4 * PAGE)
    instance = Instance(1, account)
    assert (instance.call("grow", 3), account.used, account.refused) == (1, 4 * PAGE, False)
    assert (instance.call("grow", 1), account.used, account.refused) == (-1, 4 * PAGE, True)


def test_a_memory_that_nobody_pays_for_is_not_made() -> None:
    engine = shared_engine().raw
    module = wasmtime.Module(engine, MODULE.format(pages=1))
    with pytest.raises(wasmtime.WasmtimeError, match="no call is running"):
        wasmtime.Instance(wasmtime.Store(engine), module, [])


def test_a_memory_of_no_pages_can_be_grown() -> None:
    engine = shared_engine().raw
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, '(module (memory (export "memory") 0))')
    with charge_to(plenty()):
        found = wasmtime.Instance(store, module, []).exports(store)["memory"]
    assert isinstance(found, wasmtime.Memory)
    assert (found.data_len(store), found.grow(store, 1), found.data_len(store)) == (0, 0, PAGE)


def test_memories_are_freed_with_their_store_and_few_are_kept() -> None:
    before = len(memories._memories)
    instances = [Instance(1, plenty()) for _ in range(memories._MOST_KEPT + 5)]
    assert len(memories._memories) == before + len(instances)
    for instance in instances:
        instance.store.close()
    assert len(memories._memories) == before
    assert len(memories._kept) == memories._MOST_KEPT


def test_threads_never_get_the_same_memory() -> None:
    wrong: list[int] = []

    def work() -> None:
        for _ in range(100):
            instance = Instance(1, plenty())
            if instance.call("read", 100):
                wrong.append(1)
            instance.call("write", 100)
            instance.store.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
