"""The interfaces that a component may import, on this host.

https://github.com/wasmCloud/messaging (0.2.0) · https://github.com/WebAssembly/wasi-logging ·
https://github.com/WebAssembly/WASI/tree/v0.2.6/proposals: clocks, random, and of io/poll what clocks need.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple

import wasmtime
from wasmtime import component

from eventrunner.wasm.conversion import Answer, Conversion, HostFunction, Stock
from eventrunner.wasm.outcomes import Message
from eventrunner.wasm.polling import POLL, POLLING, define_polling, pollable_after
from eventrunner.wasm.running import running
from eventrunner.wasm.signatures import MESSAGE

__all__ = ["OFFERED", "define_interfaces", "is_offered", "offered_signature"]

_MESSAGING: Final = "wasmcloud:messaging/"
_WASI: Final = "0.2.6"
_LEVEL: Final = "enum{trace, debug, info, warn, error, critical}"
_DATETIME: Final = "record{seconds: u64, nanoseconds: u32}"
_MOST_RANDOM_BYTES: Final = 64 * 1024
"""In one call; a guest that wants more can ask again, and is counted."""
OFFERED: Final = (
    "wasmcloud:messaging/types@0.2.0, wasmcloud:messaging/consumer@0.2.0, wasi:logging/logging@0.1.0-draft, and "
    "wasi:clocks, wasi:random and wasi:io/poll in versions 0.2.x"
)
_OFFERED: Final = re.compile(
    r"wasmcloud:messaging/(types|consumer)@0\.2\.0"
    r"|wasi:logging/logging@0\.1\.0-draft"
    r"|wasi:(clocks/(monotonic-clock|wall-clock)|random/(random|insecure|insecure-seed)|io/poll)@0\.2\.\d{1,3}"
)


class _Function(NamedTuple):
    function: HostFunction
    signature: str
    answer: Answer | None = None
    """None: a value that only the stock conversion writes."""


def is_offered(name: str) -> bool:
    return _OFFERED.fullmatch(name) is not None


def offered_signature(interface: str, member: str) -> str | None:
    """None: the interface has no such function. Its version does not matter."""
    name = interface.partition("@")[0]
    if name == POLL:
        return POLLING.get(member)
    function = _BY_NAME.get(name, {}).get(member)
    return function and function.signature


def define_interfaces(linker: component.Linker, conversion: Conversion) -> None:
    """The linker takes one version of 0.2 for all of them."""
    define_polling(linker, _WASI)
    for name, functions in _INTERFACES.items():
        with ExitStack() as stack:
            root = stack.enter_context(linker.root())
            interface = stack.enter_context(root.add_instance(name))
            for member, (function, _, answer) in functions.items():
                way = _STOCK if answer is None else conversion
                way.define(interface, member, function, answer or Answer.OTHER)


def _publish(message: Message) -> None:
    running().publish(message)


def _request(_subject: str, _body: bytes, _timeout_ms: int) -> str:
    return "requests are not answered here: publish an event instead"


def _log(level: str, context: str, text: str) -> None:
    running().log(level, context, text)


def _random_bytes(length: int) -> bytes:
    if length > _MOST_RANDOM_BYTES:
        raise wasmtime.WasmtimeError(f"{length} random bytes at once; at most {_MOST_RANDOM_BYTES} are given")
    return secrets.token_bytes(length)


def _random_number() -> int:
    return secrets.randbits(64)


def _seed() -> tuple[int, int]:
    return secrets.randbits(64), secrets.randbits(64)


def _datetime(nanoseconds: int) -> component.Record:
    record = component.Record()
    seconds, rest = divmod(nanoseconds, 10**9)
    record.__dict__.update(seconds=seconds, nanoseconds=rest)
    return record


_STOCK: Final = Stock()
_INTERFACES: Final[Mapping[str, Mapping[str, _Function]]] = {
    f"{_MESSAGING}types@0.2.0": {},
    f"{_MESSAGING}consumer@0.2.0": {
        "publish": _Function(_publish, f"({MESSAGE}) -> result<_, string>", Answer.RESULT),
        "request": _Function(_request, f"(string, list<u8>, u32) -> result<{MESSAGE}, string>", Answer.RESULT),
    },
    "wasi:logging/logging@0.1.0-draft": {
        "log": _Function(_log, f"({_LEVEL}, string, string)", Answer.NOTHING),
    },
    f"wasi:random/random@{_WASI}": {
        "get-random-bytes": _Function(_random_bytes, "(u64) -> list<u8>", Answer.BYTES),
        "get-random-u64": _Function(_random_number, "() -> u64"),
    },
    f"wasi:random/insecure@{_WASI}": {
        "get-insecure-random-bytes": _Function(_random_bytes, "(u64) -> list<u8>", Answer.BYTES),
        "get-insecure-random-u64": _Function(_random_number, "() -> u64"),
    },
    f"wasi:random/insecure-seed@{_WASI}": {"insecure-seed": _Function(_seed, "() -> tuple<u64, u64>")},
    f"wasi:clocks/wall-clock@{_WASI}": {
        "now": _Function(lambda: _datetime(time.time_ns()), f"() -> {_DATETIME}"),
        "resolution": _Function(lambda: _datetime(1), f"() -> {_DATETIME}"),
    },
    f"wasi:clocks/monotonic-clock@{_WASI}": {
        "now": _Function(time.monotonic_ns, "() -> u64"),
        "resolution": _Function(lambda: 1, "() -> u64"),
        "subscribe-instant": _Function(lambda when: pollable_after(when - time.monotonic_ns()), "(u64) -> own"),
        "subscribe-duration": _Function(pollable_after, "(u64) -> own"),
    },
}
_BY_NAME: Final = {name.partition("@")[0]: functions for name, functions in _INTERFACES.items()}
