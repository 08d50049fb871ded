"""Runs components that export `wasmcloud:messaging/handler@0.2.0`."""

from __future__ import annotations

from typing import Final

import wasmtime
from wasmtime import component

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.wasm.conversion import Conversion, best_conversion
from eventrunner.wasm.engine import Engine
from eventrunner.wasm.guest import Handler, refuse_imports
from eventrunner.wasm.images import Images
from eventrunner.wasm.interfaces import OFFERED, define_interfaces, is_offered, offered_signature
from eventrunner.wasm.signatures import MESSAGE, signature

__all__ = ["ComponentGuest"]

_HANDLER: Final = "wasmcloud:messaging/handler@0.2.0"
_FUNCTION: Final = "handle-message"
_MOST_TEXT: Final = 1_000
"""Characters of what is told; names in it are the guest's."""
_HANDLES: Final = f"({MESSAGE}) -> result<_, string>"


class ComponentGuest:
    def __init__(
        self,
        engine: Engine,
        code: component.Component,
        conversion: Conversion | None = None,
        images: Images | None = None,
    ) -> None:
        """Raises InvalidInput that names what it must not import, or does not export."""
        _check_imports(engine, code)
        self.images: Images = images or {}
        self._code = code
        self._function = _exported(code)
        _check_handler(engine, code)
        self._conversion = conversion or best_conversion()
        self._linker = component.Linker(engine.raw)
        define_interfaces(self._linker, self._conversion)

    def instantiate(self, store: wasmtime.Store) -> Handler:
        instance = self._linker.instantiate(store, self._code)
        function = instance.get_func(store, self._function)
        if function is None:
            raise wasmtime.WasmtimeError(f"{_HANDLER} has no function {_FUNCTION}")
        conversion = self._conversion
        return lambda message: conversion.call(function, store, message)


def _check_imports(engine: Engine, code: component.Component) -> None:
    imports = {name: item.ty for name, item in code.type.imports(engine.raw).items()}
    refuse_imports([name for name in imports if not is_offered(name)], OFFERED)
    for name, kind in imports.items():
        if not isinstance(kind, component.ComponentInstanceType):
            raise _wrong(f"imports {name}, but not as an interface")
        for member, item in kind.exports(engine.raw).items():
            if isinstance(item.ty, component.FuncType):
                _check_function(name, member, item.ty)


def _check_function(interface: str, member: str, kind: component.FuncType) -> None:
    offered = offered_signature(interface, member)
    found = _signature(kind)
    if offered is None:
        raise _wrong(f"imports {member} of {interface}, which has no such function")
    if found != offered:
        raise _wrong(f"imports {member} of {interface} as {found}; it is {offered}")


def _check_handler(engine: Engine, code: component.Component) -> None:
    interface = code.type.exports(engine.raw)[_HANDLER].ty
    if isinstance(interface, component.ComponentInstanceType):
        function = interface.exports(engine.raw)[_FUNCTION].ty
        if isinstance(function, component.FuncType) and _signature(function) == _HANDLES:
            return
    raise _wrong(f"exports a {_FUNCTION} that is not {_HANDLES}")


def _signature(kind: component.FuncType) -> str:
    try:
        return signature(kind)
    except TypeError as error:
        return str(error)


def _exported(code: component.Component) -> component.ExportIndex:
    interface = code.get_export_index(_HANDLER)
    function = interface and code.get_export_index(_FUNCTION, interface)
    if not function:
        raise _wrong(f"exports no {_HANDLER} with {_FUNCTION}")
    return function


def _wrong(message: str) -> InvalidInput:
    message = message[:_MOST_TEXT]
    return InvalidInput(f"The body {message}.", (FieldError("body", message),))
