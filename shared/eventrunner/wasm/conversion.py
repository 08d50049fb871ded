"""Values between Python and components.

wasmtime for Python converts a list byte by byte, 1 µs each, and asks for the types of a function at every call. `Bulk`
does neither, on private parts of the one version that it was written for; it is used if that version is there and a
test component, run once, gives what it should. `Stock` is the public way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum, auto
from functools import cache, wraps
from importlib.metadata import version
from typing import Any, Final, Protocol, TypeAlias

import wasmtime
from wasmtime import component

from eventrunner.wasm.outcomes import Message
from eventrunner.wasm.running import failed

__all__ = ["Answer", "Conversion", "HostFunction", "Stock", "best_conversion", "guarded"]

_log = logging.getLogger(__name__)
_WRITTEN_FOR: Final = "50.0.1"

HostFunction: TypeAlias = Callable[..., Any]
"""Is given the arguments as wasmtime's Python values, but a Message for a record, and no store; raises only
WasmtimeError."""


class Answer(Enum):
    """Of a host function."""

    NOTHING = auto()
    BYTES = auto()
    """`list<u8>`."""
    RESULT = auto()
    """`result<_, string>` or another one that is always an error: None, or the text."""
    OTHER = auto()
    """Known to `Stock` only."""


class Conversion(Protocol):
    def define(
        self, interface: component.LinkerInstance, name: str, function: HostFunction, answer: Answer
    ) -> None: ...

    def call(self, function: component.Func, store: wasmtime.Store, message: Message) -> str | None:
        """Calls `func(msg: broker-message) -> result<_, string>`; the text of the error, or None.

        Raises WasmtimeError on a trap.
        """
        ...


class Stock:
    def define(self, interface: component.LinkerInstance, name: str, function: HostFunction, answer: Answer) -> None:
        checked = guarded(function)
        interface.add_func(name, lambda _store, *values: checked(*map(_given, values)))

    def call(self, function: component.Func, store: wasmtime.Store, message: Message) -> str | None:
        text: str | None = function(store, _record_of(message))
        return text


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Raises WasmtimeError only. Any other exception the bindings would keep, for whichever thread comes first."""

    @wraps(function)
    def call(*values: Any) -> Any:
        try:
            return function(*values)
        except BaseException as error:
            raise failed(error) from None

    return call


def _given(value: Any) -> Any:
    return _message_of(value) if isinstance(value, component.Record) else value


def _message_of(record: Any) -> Message:
    """The only record that a host function is given."""
    return Message(record.subject, record.body, getattr(record, "reply-to"))


def _record_of(message: Message) -> component.Record:
    record = component.Record()
    fields = {"subject": message.subject, "body": message.body, "reply-to": message.reply_to}
    record.__dict__.update(fields)
    return record


@cache
def best_conversion() -> Conversion:
    installed = version("wasmtime")
    if installed == _WRITTEN_FOR:
        try:
            from eventrunner.wasm.bulk import Bulk

            return _tested(Bulk())
        except Exception:
            _log.exception("the bulk conversion does not work with wasmtime %s; the slow one is used", installed)
    else:
        _log.warning("wasmtime %s is not %s: the slow conversion is used", installed, _WRITTEN_FOR)
    return Stock()


_ECHO: Final = """
(component
  (type $types (instance
    (type $record (record (field "subject" string) (field "body" (list u8)) (field "reply-to" (option string))))
    (export "broker-message" (type (eq $record)))))
  (import "types" (instance $types (type $types)))
  (alias export $types "broker-message" (type $message))
  (import "publish" (func $publish (param "msg" $message) (result (result (error string)))))
  (core module $libc
    (memory (export "memory") 16)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (core func $publish-core (canon lower (func $publish)
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $main
    (import "host" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $publish (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6)
        (i32.const 16))
      (i32.const 16)))
  (core instance $main (instantiate $main (with "host" (instance (export "publish" (func $publish-core))))))
  (func $handle (param "msg" $message) (result (result (error string)))
    (canon lift (core func $main "handle") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (export "handle" (func $handle))
)
"""


def _tested(conversion: Conversion) -> Conversion:
    """Raises what it raises, or AssertionError, if messages and errors do not come through whole."""
    engine = wasmtime.Engine()
    code = component.Component(engine, _ECHO)
    seen: list[Message] = []

    def publish(message: Message) -> str | None:
        seen.append(message)
        return message.subject or None

    linker = component.Linker(engine)
    with linker.root() as root:
        with root.add_instance("types"):
            pass
        conversion.define(root, "publish", publish, Answer.RESULT)
    for message in (Message("größe", bytes(range(256)) * 3, "reply"), Message("", b"", None)):
        store = wasmtime.Store(engine)
        function = linker.instantiate(store, code).get_func(store, "handle")
        if function is None or conversion.call(function, store, message) != (message.subject or None):
            raise AssertionError("an error did not come through")
        if seen.pop() != message:
            raise AssertionError("a message did not come through")
    return conversion
