"""A component that can be attacked with at each place where a guest's code runs."""

from __future__ import annotations

import wasmtime

from tests.component_texts import HANDLER

__all__ = ["guest"]

_HOST = """
  (import "wasi:random/random@0.2.0" (instance $randomness
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasmcloud:messaging/types@0.2.0" (instance $t
    (type $r (record (field "subject" string) (field "body" (list u8)) (field "reply-to" (option string))))
    (export "broker-message" (type (eq $r)))))
  (alias export $t "broker-message" (type $m))
  (import "wasmcloud:messaging/consumer@0.2.0" (instance $consumer
    (alias outer 1 $m (type $outer))
    (export "broker-message" (type $bm (eq $outer)))
    (export "publish" (func (param "msg" $bm) (result (result (error string)))))))
"""
# The engine wants memory and realloc of an instance made before what is lowered with them, so that what is lowered is
# called through a table.
_SHIM = """
  (core module $shim
    (type $two (func (param i64 i32)))
    (type $eight (func (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (table (export "table") 2 funcref)
    (func (export "random") (param i64 i32)
      (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 0)))
    (func (export "publish") (param i32 i32 i32 i32 i32 i32 i32 i32)
      (call_indirect (type $eight) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
        (local.get 6) (local.get 7) (i32.const 1))))
  (core instance $shim (instantiate $shim))
"""
_MAIN = """
  (core module $main
    (import "h" "random" (func $ask (param i64 i32)))
    (import "h" "publish" (func $tell (param i32 i32 i32 i32 i32 i32 i32 i32)))
    MEMBERS
    (memory (export "memory") 1)
    (data (i32.const 32) "a")
    (global $asked (mut i32) (i32.const 0))
    (func $random
      (global.set $asked (i32.const 1))
      (call $ask (i64.const 8) (i32.const 16))
      (global.set $asked (i32.const 0)))
    (func $publish
      (call $tell (i32.const 32) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 128)))
    (func $recurse (param i32) (result)
      (call $recurse (i32.add (local.get 0) (i32.const 1)))
      (i32.store (i32.const 512) (local.get 0)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) REALLOC (i32.const 4096))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32) (result i32) HANDLE (i32.const 64))
    (func (export "post") (param i32) POST)
    (func (export "begin") START))
  (core instance $main (instantiate $main
    (with "h" (instance (export "random" (func $shim "random")) (export "publish" (func $shim "publish")) GIVEN))))
  (core func $random-core (canon lower (func $randomness "get-random-bytes")
    (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (core func $publish-core (canon lower (func $consumer "publish")
    (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (core module $fill
    (import "s" "table" (table 2 funcref))
    (import "h" "random" (func $r (param i64 i32)))
    (import "h" "publish" (func $p (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "m" "begin" (func $begin))
    (elem (i32.const 0) func $r $p)
    (start $begin))
  (core instance (instantiate $fill (with "s" (instance $shim)) (with "m" (instance $main))
    (with "h" (instance (export "random" (func $random-core)) (export "publish" (func $publish-core))))))
"""


def guest(
    *,
    start: str = "",
    realloc: str = "",
    handle: str = "",
    post: str = "",
    before: str = "",
    members: str = "",
    given: str = "",
) -> bytes:
    """With this code at the begin of its functions; `before` it, and in its module, what else there is to be."""
    parts = {"START": start, "REALLOC": realloc, "HANDLE": handle, "POST": post, "MEMBERS": members, "GIVEN": given}
    main = _SHIM + _MAIN
    for name, text in parts.items():
        main = main.replace(f" {name}", f" {text}")
    _, _, exported = HANDLER.partition("(alias export $types")
    exported = exported.replace("$libc", "$main").replace(
        '"realloc"))', '"realloc")) (post-return (core func $main "post"))'
    )
    _, _, exported = exported.partition("\n")
    handler = exported.replace("$message", "$m")
    return bytes(wasmtime.wat2wasm(f"(component {_HOST} {before} {main} {handler})"))
