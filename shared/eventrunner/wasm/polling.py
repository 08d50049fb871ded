"""`wasi:io/poll`: a pollable is a moment of the monotonic clock, and waiting for one costs the call's time.

https://github.com/WebAssembly/WASI/blob/v0.2.6/proposals/io/wit/poll.wit
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import wasmtime
from wasmtime import component

from eventrunner.wasm.conversion import guarded
from eventrunner.wasm.outcomes import Limit
from eventrunner.wasm.running import running

__all__ = ["POLL", "POLLING", "define_polling", "pollable_after"]

_POLLABLE: Final = 1
"""The number of the resource's type on this host."""
_UNIT_NS: Final = 100_000
"""A resource is a number of 32 bits: the moment in these units since the call began, five days at most."""
_MOST_POLLED: Final = 1_000
"""At once: looking at each costs the call's time, and nothing stops the host in between."""
_LATEST: Final = 2**32 - 1
POLL: Final = "wasi:io/poll"
POLLING: Final = {
    "[method]pollable.ready": "(borrow) -> bool",
    "[method]pollable.block": "(borrow)",
    "poll": "(list<borrow>) -> list<u32>",
}
"""The functions and their signatures."""


def pollable_after(nanoseconds: int) -> component.ResourceHost:
    moment = running().elapsed_ns + nanoseconds
    return component.ResourceHost.own(min(max(0, -(-moment // _UNIT_NS)), _LATEST), _POLLABLE)


def define_polling(linker: component.Linker, version: str) -> None:
    with ExitStack() as stack:
        root = stack.enter_context(linker.root())
        interface = stack.enter_context(root.add_instance(f"{POLL}@{version}"))
        interface.add_resource("pollable", component.ResourceType.host(_POLLABLE), lambda _store, _number: None)
        for name, function in _FUNCTIONS.items():
            interface.add_func(name, guarded(function))


def _ready(store: wasmtime.StoreContext, pollable: component.ResourceAny) -> bool:
    return _left(_moment(store, pollable)) <= 0


def _block(store: wasmtime.StoreContext, pollable: component.ResourceAny) -> None:
    _wait(_moment(store, pollable))


def _poll(store: wasmtime.StoreContext, pollables: list[component.ResourceAny]) -> list[int]:
    """The indices of those whose moment is over, after the first one's."""
    if not pollables:
        raise wasmtime.WasmtimeError("poll of an empty list")
    if len(pollables) > _MOST_POLLED:
        raise wasmtime.WasmtimeError(f"poll of {len(pollables)} pollables; at most {_MOST_POLLED} are looked at")
    moments = [_moment(store, one) for one in pollables]
    _wait(min(moments))
    return [index for index, moment in enumerate(moments) if _left(moment) <= 0]


def _moment(store: wasmtime.StoreContext, pollable: component.ResourceAny) -> int:
    return pollable.to_host(store).rep


def _left(moment: int) -> float:
    """Seconds."""
    return (moment * _UNIT_NS - running().elapsed_ns) / 1e9


def _wait(moment: int) -> None:
    left = _left(moment)
    if left >= running().seconds_left:
        time.sleep(max(0.0, running().seconds_left))
        running().stop(Limit.TIME)
    time.sleep(max(0.0, left))


_FUNCTIONS: Final[dict[str, Callable[..., object]]] = {
    "[method]pollable.ready": _ready,
    "[method]pollable.block": _block,
    "poll": _poll,
}
