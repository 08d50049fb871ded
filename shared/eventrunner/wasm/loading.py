"""From the bytes that a tenant uploaded to a guest that can be run."""

from __future__ import annotations

from wasmtime import component

from eventrunner.wasm.component_guest import ComponentGuest
from eventrunner.wasm.engine import Engine
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.images import take_out_data
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.wapc_guest import WapcGuest

__all__ = ["load_guest"]


def load_guest(engine: Engine, cache: ModuleCache, code: bytes) -> Guest:
    """Raises InvalidInput that says what is wrong with the code, or what it must not import."""
    code, images = take_out_data(code)
    compiled = cache.load(code)
    if isinstance(compiled, component.Component):
        return ComponentGuest(engine, compiled, images=images)
    return WapcGuest(engine, compiled, images)
