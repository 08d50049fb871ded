"""What a running guest has done so far, and where it must stop. Every thread has one call at a time."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

import wasmtime

from eventrunner.storage.records import Limits
from eventrunner.wasm.call_stack import trap_text
from eventrunner.wasm.memory import MemoryAccount, charge_to
from eventrunner.wasm.outcomes import Limit, LogLine, Message, Outcome, OverLimit, Trapped

__all__ = ["Running", "charged", "failed", "running", "size_of"]

_log = logging.getLogger(__name__)
_LINE_BYTES: Final = 32
"""What a line of the log costs beside its text, so that empty ones end too."""
_COPIED_AT_ONCE: Final = 2 * 1024 * 1024
"""Bytes of a list that the engine hands to the host in any case; some more are a trap, as its copy would be 128 MiB."""
_TOO_MUCH: Final = "fuel allocated for hostcalls has been exhausted"
_thread = threading.local()


class Running:
    """Raises only WasmtimeError: the bindings keep any other exception for whichever thread asks first."""

    def __init__(self, limits: Limits, memory: MemoryAccount) -> None:
        self.limits = limits
        self.published: list[Message] = []
        self.logs: list[LogLine] = []
        self.logs_dropped = 0
        self.memory = memory
        self.interruption: BaseException | None = None
        """To be raised when the guest has ended."""
        self._exceeded: Limit | None = None
        self._output = 0
        self._log_bytes = 0
        self._began = time.monotonic_ns()
        memory.refused = False

    @property
    def elapsed_ns(self) -> int:
        return time.monotonic_ns() - self._began

    @property
    def seconds_left(self) -> float:
        return self.limits.milliseconds / 1000 - self.elapsed_ns / 1e9

    def publish(self, message: Message) -> None:
        if len(self.published) >= self.limits.publishes:
            self.stop(Limit.PUBLISHES)
        self.put_out(len(message.body) + size_of(message.subject) + size_of(message.reply_to or ""))
        self.published.append(message)

    def put_out(self, size: int) -> None:
        """Counts bytes that leave the guest."""
        self._output += size
        if self._output > self.limits.output_bytes:
            self.stop(Limit.OUTPUT)

    def log(self, level: str, context: str, text: str) -> None:
        self._log_bytes += _LINE_BYTES + size_of(context) + size_of(text)
        if self._log_bytes > self.limits.log_bytes:
            self.logs_dropped += 1
        else:
            self.logs.append(LogLine(level, context, text))

    def stop(self, limit: Limit) -> None:
        self._exceeded = limit
        raise wasmtime.WasmtimeError(str(self._over(limit)))

    def failure(self, error: wasmtime.WasmtimeError | wasmtime.Trap, fuel_left: int) -> Outcome:
        """Goes by what was measured. The text is no ground: the guest chooses the names of the functions in it."""
        if self._exceeded is not None:
            return self._over(self._exceeded)
        if fuel_left == 0:
            return self._over(Limit.FUEL)
        if self.seconds_left <= 0:
            return self._over(Limit.TIME)
        if self.memory.refused:
            return self._over(Limit.MEMORY)
        text = trap_text(error)
        # The engine's, before the guest runs; once it has run, the text begins with its call stack.
        if text.startswith("table minimum size"):
            return self._over(Limit.MEMORY)
        # The last line is the engine's too.
        if self.limits.output_bytes <= _COPIED_AT_ONCE and text.rstrip().endswith(_TOO_MUCH):
            return self._over(Limit.OUTPUT)
        return Trapped(text)

    def _over(self, limit: Limit) -> OverLimit:
        return OverLimit(limit, getattr(self.limits, limit.value))


class charged(charge_to):
    """Inside, what this thread's guest does is the call's."""

    __slots__ = ("_call",)

    def __init__(self, call: Running) -> None:
        super().__init__(call.memory)
        self._call = call

    def __enter__(self) -> None:
        _thread.call = self._call
        charge_to.__enter__(self)

    def __exit__(self, *_: object) -> None:
        _thread.call = None
        charge_to.__exit__(self)


def failed(error: BaseException) -> wasmtime.WasmtimeError:
    """What the guest is told of an exception in a function of the host.

    One that is no Exception, such as a signal's, must not leave a callback either: it ends the call and is raised then.
    """
    if isinstance(error, wasmtime.WasmtimeError):
        return error
    call: Running | None = getattr(_thread, "call", None)
    if call is not None and not isinstance(error, Exception):
        call.interruption = error
    else:
        _log.error("a host function failed", exc_info=error)
    return wasmtime.WasmtimeError("the host failed")


def size_of(text: str) -> int:
    """In bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def running() -> Running:
    """The call of this thread. Raises WasmtimeError if there is none."""
    call: Running | None = getattr(_thread, "call", None)
    if call is None:
        raise wasmtime.WasmtimeError("no call is running")
    return call
