"""The engine that compiles and runs guests: what the language may use, and what is measured."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from typing import Final

import wasmtime
from wasmtime import _bindings as bindings

from eventrunner.wasm.memory import count_memories
from eventrunner.wasm.ticker import Ticker

__all__ = ["Engine", "shared_engine"]

_SETTINGS: Final = {
    "consume_fuel": True,
    "epoch_interruption": True,
    # The same bits on every machine.
    "cranelift_nan_canonicalization": True,
    "wasm_relaxed_simd": False,
    # Threads of their own, memory that no account counts, and more than 32-bit addresses: not for guests.
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_gc": False,
    "wasm_function_references": False,
    "wasm_exceptions": False,
    "wasm_memory64": False,
    "wasm_custom_page_sizes": False,
    "max_wasm_stack": 512 * 1024,
}
_VERSION: Final = 1
"""Of what is set here beside them."""


class Engine:
    """Safe to share between threads; one is enough for a process."""

    def __init__(self) -> None:
        config = wasmtime.Config()
        for name, value in _SETTINGS.items():
            setattr(config, name, value)
        _forbid_concurrency(config)
        count_memories(config)
        self.raw = wasmtime.Engine(config)
        self.ticker = Ticker(self.raw)

    @property
    def fingerprint(self) -> str:
        """Of all that decides which native code comes out of a module, as 16 hexadecimal digits."""
        parts = [version("wasmtime"), platform.machine(), _VERSION, *sorted(_SETTINGS.items())]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _forbid_concurrency(config: wasmtime.Config) -> None:
    """A guest has nothing to wait for but its own calls; the public settings cannot say so."""
    bindings.wasmtime_config_wasm_component_model_async_set(config.ptr(), False)
    bindings.wasmtime_config_concurrency_support_set(config.ptr(), False)


@cache
def shared_engine() -> Engine:
    return Engine()
