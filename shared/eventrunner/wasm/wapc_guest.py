"""Runs waPC modules: actors of wasmCloud before there were components.

https://wapc.io/docs/spec/
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import wasmtime

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.wasm.core_calls import MEMORY, CoreFunction, GuestMemory, call_core, define_core
from eventrunner.wasm.engine import Engine
from eventrunner.wasm.guest import Handler, refuse_imports
from eventrunner.wasm.images import Images
from eventrunner.wasm.outcomes import Limit, Message
from eventrunner.wasm.running import running
from eventrunner.wasm.wapc_messages import DELIVERY_FORMS, PUBLISHED, DeliveryForm, decode_published

__all__ = ["WapcGuest"]

_MODULE: Final = "wapc"
_CALL: Final = "__guest_call"
_STARTS: Final = ("_start", "wapc_init")
"""Run in this order, where the module has them."""
_NAMESPACE: Final = b"wasmcloud:messaging"
_PUBLISH: Final = (b"Publish", b"Messaging.Publish")
"""The second name is that of wasmbus-rpc."""
_MISUNDERSTOOD: Final = re.compile(r"missing field|no handler registered|method not handled", re.IGNORECASE)
"""What the libraries of actors answer, before anything of the actor runs, to a delivery in the form of another one."""
_I32: Final = wasmtime.ValType.i32()
_thread = threading.local()


class WapcGuest:
    def __init__(self, engine: Engine, code: wasmtime.Module, images: Images | None = None) -> None:
        """Raises InvalidInput that names what it must not import, or does not export."""
        _check(code)
        self.images: Images = images or {}
        self._code = code
        self._linker = wasmtime.Linker(engine.raw)
        self._form = DELIVERY_FORMS[0]
        for name, (parameters, results, function) in _FUNCTIONS.items():
            kind = wasmtime.FuncType([_I32] * parameters, [_I32] * results)
            define_core(self._linker, _MODULE, name, kind, function)

    def instantiate(self, store: wasmtime.Store) -> Handler:
        session = _Session()
        with _entered(session):
            exports = self._linker.instantiate(store, self._code).exports(store)
            for name in _STARTS:
                start = exports.get(name)
                if isinstance(start, wasmtime.Func):
                    call_core(store, start)
        function = exports[_CALL]
        assert isinstance(function, wasmtime.Func)

        def deliver(message: Message, form: DeliveryForm) -> str | None:
            session.begin(message, form)
            with _entered(session):
                done = call_core(store, function, len(form.operation), len(session.request), results=1)
            return None if done else session.error or "the guest gave no reason"

        def handle(message: Message) -> str | None:
            first = error = deliver(message, self._form)
            for form in DELIVERY_FORMS:
                if error is None or not _MISUNDERSTOOD.search(error):
                    return error
                if form is not self._form and (error := deliver(message, form)) is None:
                    self._form = form
            return first if error else None

        return handle


class _Session:
    """Between an instance and the host."""

    __slots__ = ("error", "host_error", "host_response", "operation", "request")

    def __init__(self) -> None:
        self.operation = self.request = b""
        self.error = ""
        self.host_error = self.host_response = b""

    def begin(self, message: Message, form: DeliveryForm) -> None:
        self.operation, self.request = form.operation, form.encode(message)
        self.error = ""
        self.host_error = self.host_response = b""


@contextmanager
def _entered(session: _Session) -> Iterator[None]:
    _thread.session = session
    try:
        yield
    finally:
        _thread.session = None


def _session() -> _Session:
    session: _Session = _thread.session
    return session


def _guest_request(memory: GuestMemory, operation: int, request: int) -> None:
    session = _session()
    memory.write(operation, session.operation)
    memory.write(request, session.request)


def _guest_response(_memory: GuestMemory, _start: int, _length: int) -> None:
    """Nobody waits for it."""


def _guest_error(memory: GuestMemory, start: int, length: int) -> None:
    _session().error = _put_out(memory, start, length).decode(errors="replace")


def _host_call(memory: GuestMemory, *parts: int) -> int:
    """Binding, namespace, operation and payload, each with its length; 1 if it was done."""
    session = _session()
    session.host_error = session.host_response = b""
    is_messaging = _is(memory, parts[2], parts[3], _NAMESPACE)
    is_publish = any(_is(memory, parts[4], parts[5], name) for name in _PUBLISH)
    if not (is_publish and is_messaging):
        session.host_error = b"only Publish of wasmcloud:messaging is provided here"
        return 0
    try:
        message = decode_published(_put_out(memory, *parts[6:8]))
    except InvalidInput as error:
        session.host_error = str(error).encode()
        return 0
    running().publish(message)
    session.host_response = PUBLISHED
    return 1


def _is(memory: GuestMemory, start: int, length: int, name: bytes) -> bool:
    """What is of another length is not copied: it may be as large as the memory."""
    memory.check(start, length)
    return length == len(name) and memory.read(start, length) == name


def _host_response_length(_memory: GuestMemory) -> int:
    return len(_session().host_response)


def _host_response(memory: GuestMemory, start: int) -> None:
    memory.write(start, _session().host_response)


def _host_error_length(_memory: GuestMemory) -> int:
    return len(_session().host_error)


def _host_error(memory: GuestMemory, start: int) -> None:
    memory.write(start, _session().host_error)


def _console_log(memory: GuestMemory, start: int, length: int) -> None:
    # No more than what is over the limit for certain.
    part = memory.read(start, min(length, running().limits.log_bytes))
    running().log("info", "", part.decode(errors="replace"))


def _put_out(memory: GuestMemory, start: int, length: int) -> bytes:
    """Not even copied if it is over the limit."""
    if length > running().limits.output_bytes + _ENVELOPE:
        running().stop(Limit.OUTPUT)
    return memory.read(start, length)


_ENVELOPE: Final = 1024
"""Bytes of msgpack around what is put out."""
_FUNCTIONS: Final[dict[str, tuple[int, int, CoreFunction]]] = {
    "__guest_request": (2, 0, _guest_request),
    "__guest_response": (2, 0, _guest_response),
    "__guest_error": (2, 0, _guest_error),
    "__host_call": (8, 1, _host_call),
    "__host_response_len": (0, 1, _host_response_length),
    "__host_response": (1, 0, _host_response),
    "__host_error_len": (0, 1, _host_error_length),
    "__host_error": (1, 0, _host_error),
    "__console_log": (2, 0, _console_log),
}
"""Numbers of parameters and results, all of them i32."""


def _check(code: wasmtime.Module) -> None:
    offered = {name: (parameters, results) for name, (parameters, results, _) in _FUNCTIONS.items()}
    forbidden = [item for item in code.imports if item.module != _MODULE or item.name not in offered]
    refuse_imports([f"{item.module}.{item.name}" for item in forbidden], f"{_MODULE}: {', '.join(offered)}")
    for item in code.imports:
        _check_kind(f"imports {_MODULE}.{item.name}", item.type, *offered[item.name or ""])
    exports = {item.name: item.type for item in code.exports}
    _check_kind(f"exports {_CALL}", exports.get(_CALL), 2, 1)
    for name in _STARTS:
        if isinstance(exports.get(name), wasmtime.FuncType):
            _check_kind(f"exports {name}", exports[name], 0, 0)
    if not isinstance(exports.get(MEMORY), wasmtime.MemoryType):
        raise _wrong(f"exports no {MEMORY}")


def _check_kind(what: str, kind: object, parameters: int, results: int) -> None:
    if not isinstance(kind, wasmtime.FuncType) or _shape(kind) != (["i32"] * parameters, ["i32"] * results):
        raise _wrong(f"{what} not as a function of {parameters} i32 with {results} results in i32")


def _shape(kind: wasmtime.FuncType) -> tuple[list[str], list[str]]:
    return [str(value) for value in kind.params], [str(value) for value in kind.results]


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(f"The body {message}.", (FieldError("body", message),))
