"""Components in text, whose handler does what a test wants; `run` hands one a message."""

from __future__ import annotations

from typing import cast

import wasmtime
from eventrunner.storage.records import Limits
from eventrunner.wasm.component_guest import ComponentGuest
from eventrunner.wasm.conversion import Conversion
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Call, Message
from wasmtime import component

__all__ = ["HANDLER", "LIBC", "asking", "importing", "load", "run", "written"]

LIBC = """
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
"""
HANDLER = """
  (core instance $main (instantiate $main WITH))
  (type $record (record (field "subject" string) (field "body" (list u8)) (field "reply-to" (option string))))
  (import "wasmcloud:messaging/types@0.2.0" (instance $types (export "broker-message" (type (eq $record)))))
  (alias export $types "broker-message" (type $message))
  (func $handle (param "msg" $message) (result (result (error string)))
    (canon lift (core func $main "handle")
      (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (instance $handler (export "handle-message" (func $handle)))
  (export "wasmcloud:messaging/handler@0.2.0" (instance $handler))
"""


def load(code: bytes, conversion: Conversion | None = None) -> ComponentGuest:
    compiled = ModuleCache(shared_engine(), compiler=None).load(code)
    return ComponentGuest(shared_engine(), cast(component.Component, compiled), conversion)


def run(code: bytes, limits: Limits | None = None) -> Call:
    return Host(shared_engine(), load(code), limits or Limits()).handle(Message("results.acme.any", b""))


def written(before: str, body: str, given: str = "", members: str = "") -> bytes:
    """A component whose handler has this body, in text."""
    main = f"""(core module $main {members}
      (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32) (result i32) {body} (i32.const 0)))"""
    return bytes(wasmtime.wat2wasm(f"(component {LIBC} {before} {main} {HANDLER.replace('WITH', given)})"))


def importing(interface: str, function: str, kind: str, lowered: str, use: str) -> bytes:
    """A component whose handler uses one function of the host that needs no memory."""
    before = f"""
      (import "{interface}" (instance $i (export "{function}" (func {kind}))))
      (core func $f (canon lower (func $i "{function}")))"""
    return written(before, use, '(with "h" (instance (export "f" (func $f))))', f'(import "h" "f" (func $f {lowered}))')


def asking(interface: str, members: str, function: str, lowered: str, use: str) -> bytes:
    """A component whose handler uses one function of the host that writes to the guest's memory."""
    before = f"""
      (import "{interface}" (instance $i {members}))
      (core func $f (canon lower (func $i "{function}")
        (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))"""
    return written(
        before,
        use,
        '(with "h" (instance (export "f" (func $f)))) (with "libc" (instance $libc))',
        f'(import "h" "f" (func $f (param {lowered}))) (import "libc" "memory" (memory $m 1))',
    )
