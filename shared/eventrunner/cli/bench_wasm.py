"""Guests alone: a message in, the guest publishes it as it is, the call is settled; one thread, nothing else."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import wasmtime
from rich.console import Console
from rich.table import Table

from eventrunner.cli.bench_guests import LANGUAGES, build_echo
from eventrunner.errors import ConfigurationError, Unavailable
from eventrunner.storage.records import Limits
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Handled, Message

__all__ = ["WasmFigures", "measure_wasm", "wasm_table"]

_SECONDS: Final = 2.0
"""For each figure, in slices, the best of which counts for the CPU."""
_SLICES: Final = 8
_INSTANCES: Final[tuple[Literal["fresh", "reuse"], ...]] = ("fresh", "reuse")
_EVENT: Final = (
    b'{"specversion":"1.0","id":"1","source":"/flights/UA","type":"flight.recorded","tenantid":"ua",'
    b'"time":"2013-01-01T05:15:00Z","data":{"year":2013,"month":1,"day":1,"dep_time":517,"sched_dep_time":515,'
    b'"dep_delay":2,"arr_time":830,"sched_arr_time":819,"arr_delay":11,"carrier":"UA","flight":1545,"origin":"EWR"}}'
)
_DELIVERED: Final = len(b"\x81\xa7message")
"""Bytes before the message within what a waPC module is delivered, in msgpack; the rest is what `Publish` takes."""
_ECHO_WAPC: Final = f"""
(module
  (import "wapc" "__guest_request" (func $request (param i32 i32)))
  (import "wapc" "__host_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "wasmcloud:messagingPublish")
  (func (export "__guest_call") (param $operation i32) (param $size i32) (result i32)
    (call $request (i32.const 128) (i32.const 1024))
    (call $call (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 19) (i32.const 83) (i32.const 7)
      (i32.const {1024 + _DELIVERED}) (i32.sub (local.get $size) (i32.const {_DELIVERED})))))
"""


@dataclass(slots=True)
class WasmFigures:
    guest: str
    instances: str
    calls_per_second: float
    cpu: float
    """µs of this thread for a call."""
    memory_bytes: int
    """That the guest had at most."""


def measure_wasm(console: Console) -> list[WasmFigures]:
    """A language whose tools are not here is left out, which the console is told."""
    figures: list[WasmFigures] = []
    with tempfile.TemporaryDirectory(prefix="bench-wasm-") as folder:
        for guest, build in _guests(Path(folder)):
            console.print(f"a guest in {guest} …")
            try:
                code = build()
            except ConfigurationError as error:
                console.print(str(error))
                continue
            figures += _measure(guest, code)
    return figures


def _guests(folder: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for language, name in LANGUAGES.items():
        yield name, partial(build_echo, language, folder / language)
    yield "waPC (text form)", lambda: bytes(wasmtime.wat2wasm(_ECHO_WAPC))


def _measure(guest: str, code: bytes) -> Iterator[WasmFigures]:
    engine = shared_engine()
    loaded = load_guest(engine, ModuleCache(engine), code)
    for instances in _INSTANCES:
        host = Host(engine, loaded, Limits(), instances)
        memory = _call(guest, host)
        slices = [_slice(guest, host) for _ in range(_SLICES)]
        host.close()
        calls = sum(count for count, _ in slices)
        yield WasmFigures(guest, instances, calls / _SECONDS, min(cpu for _, cpu in slices) * 1e6, memory)


def _slice(guest: str, host: Host) -> tuple[int, float]:
    """Calls, and seconds of CPU for one."""
    count = 0
    began, end = time.thread_time(), time.perf_counter() + _SECONDS / _SLICES
    while time.perf_counter() < end:
        _call(guest, host)
        count += 1
    return count, (time.thread_time() - began) / count


def _call(guest: str, host: Host) -> int:
    sent = Message("results.ua.flight.recorded", _EVENT)
    call = host.handle(sent)
    if call.outcome != Handled() or call.published != (sent,):
        raise Unavailable(f"The guest in {guest} does not publish what it was handed: {call.outcome}.")
    return call.spent.memory_bytes


def wasm_table(figures: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="WebAssembly host alone, one thread, an echo of 400 bytes")
    for title in ("guest", "instances", "calls/s", "CPU µs a call", "memory, MiB"):
        table.add_column(title, justify="left" if title in ("guest", "instances") else "right")
    for item in figures:
        memory = f"{item['memory_bytes'] / 2**20:.1f}"
        table.add_row(
            item["guest"], item["instances"], f"{item['calls_per_second']:,.0f}", f"{item['cpu']:.0f}", memory
        )
    return table
