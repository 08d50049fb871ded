"""Compiles in a process of its own, which may use so much time and memory, and no more.

Some hundred bytes can make a compiler work for hours, or fill a machine: components that instantiate one another
twice, level by level, are one way of many. And should a compiler crash, it takes its process with it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.wasm.binary import Kind

__all__ = ["CompilerLimits", "compile_apart", "does_not_compile"]

_MOST_TEXT: Final = 1_000
"""Characters of what the compiler says: the names in it are the guest's."""
_REFUSED: Final = 3
"""The exit status that says: what is on the standard output is the reason."""
_WAITS: Final = 5
"""Times its processor time that it is waited for, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class CompilerLimits:
    """Python with all of its library, 18 MiB, takes 30 s and 0.5 GiB."""

    cpu_seconds: int = 120
    """Of all its threads."""
    memory_bytes: int = 2 * 1024**3
    native_bytes: int = 512 * 1024**2


def compile_apart(kind: Kind, code: bytes, limits: CompilerLimits) -> bytes:
    """Native code. Raises InvalidInput that says why there is none."""
    numbers = (str(limits.cpu_seconds), str(limits.memory_bytes), str(limits.native_bytes))
    command = [sys.executable, "-m", "eventrunner.wasm.compiling", kind.value, *numbers]
    try:
        done = subprocess.run(command, input=code, capture_output=True, timeout=limits.cpu_seconds * _WAITS)
    except subprocess.TimeoutExpired:
        raise _too_much(kind, limits) from None
    if done.returncode == _REFUSED:
        raise does_not_compile(kind, done.stdout.decode(errors="replace"))
    if done.returncode:
        raise _too_much(kind, limits)
    return done.stdout


def does_not_compile(kind: Kind, reason: str) -> InvalidInput:
    message = f"does not compile: {reason[:_MOST_TEXT]}"
    return InvalidInput(f"The {kind} {message}.", (FieldError("body", message),))


def _too_much(kind: Kind, limits: CompilerLimits) -> InvalidInput:
    return does_not_compile(
        kind,
        f"the compiler did not come to its end within {limits.cpu_seconds} s of processor time and "
        f"{limits.memory_bytes // 1024**2} MiB of memory; make it smaller, its functions too",
    )


def _main(kind: Kind, limits: CompilerLimits) -> int:
    """The compiler's process: the code on the standard input, native code or the reason on the standard output."""
    _bound(limits)
    # With the bounds set, as what they import maps memory too.
    import wasmtime
    from wasmtime import component

    from eventrunner.wasm.engine import shared_engine

    code = sys.stdin.buffer.read()
    engine = shared_engine().raw
    try:
        compiled = component.Component(engine, code) if kind is Kind.COMPONENT else wasmtime.Module(engine, code)
    except wasmtime.WasmtimeError as error:
        return _refuse(str(error))
    native = compiled.serialize()
    if len(native) > limits.native_bytes:
        return _refuse(f"it becomes {len(native)} bytes of native code; at most {limits.native_bytes} are run")
    sys.stdout.buffer.write(native)
    return 0


def _bound(limits: CompilerLimits) -> None:
    # A process that is out of memory or time is to end, and leave no file behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    # Events that are handled meanwhile go first.
    os.nice(10)


def _refuse(reason: str) -> int:
    sys.stdout.buffer.write(reason.encode()[: 4 * _MOST_TEXT])
    return _REFUSED


if __name__ == "__main__":
    sys.exit(_main(Kind(sys.argv[1]), CompilerLimits(*map(int, sys.argv[2:]))))
