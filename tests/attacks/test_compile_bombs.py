"""What makes a compiler slow, large, or crash costs its own process only, and not for long."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits
from eventrunner.wasm import compiling
from eventrunner.wasm.binary import Kind
from eventrunner.wasm.compiling import CompilerLimits, compile_apart
from eventrunner.wasm.component_guest import ComponentGuest
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Handled, Message
from eventrunner.wasm.sections import leb
from wasmtime import component

from tests.attacks.binaries import calling_module, doubling, module, section
from tests.component_texts import written

MIB = 1024 * 1024
SMALL = CompilerLimits(cpu_seconds=2, memory_bytes=384 * MIB)
ENDLESS = "did not come to its end within 2 s of processor time and 384 MiB of memory"


def test_what_was_compiled_apart_runs_here() -> None:
    compiled = ModuleCache(shared_engine()).load(written("", ""))
    assert isinstance(compiled, component.Component)
    host = Host(shared_engine(), ComponentGuest(shared_engine(), compiled), Limits())
    assert host.handle(Message("results.acme.any", b"")).outcome == Handled()


@pytest.mark.parametrize(
    "code", [doubling(40), calling_module(3_000_000)], ids=["2 kB that double 40 times", "6 MB of calls"]
)
def test_a_compiler_that_needs_too_much_is_ended(code: bytes) -> None:
    with pytest.raises(InvalidInput, match=ENDLESS):
        ModuleCache(shared_engine(), compiler=SMALL).load(code)


def test_a_compiler_that_crashes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashed(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, -signal.SIGSEGV, b"", b"")

    monkeypatch.setattr(compiling.subprocess, "run", crashed)
    with pytest.raises(InvalidInput, match=ENDLESS):
        compile_apart(Kind.MODULE, b"", SMALL)


def test_too_much_native_code_is_refused() -> None:
    code = bytes(wasmtime.wat2wasm("(module (func))"))
    with pytest.raises(InvalidInput, match="bytes of native code; at most 100"):
        compile_apart(Kind.MODULE, code, CompilerLimits(native_bytes=100))


def test_what_the_compiler_says_is_told_and_is_short() -> None:
    name = b"x" * 30_000
    twice = leb(len(name)) + name + b"\0\0"
    broken = module(section(1, b"\x01\x60\0\0"), section(3, b"\x01\0"), section(7, b"\x02" + twice * 2))
    with pytest.raises(InvalidInput, match="does not compile") as refused:
        ModuleCache(shared_engine()).load(broken)
    assert len(refused.value.detail) < 1_200
