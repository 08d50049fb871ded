"""Guests are measured at a call that does what it should."""

from __future__ import annotations

import pytest
import wasmtime
from eventrunner.cli import bench_wasm
from eventrunner.errors import Unavailable


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_wasm, "_SECONDS", 0.02)


def test_an_echo_is_measured_fresh_and_used_again() -> None:
    code = bytes(wasmtime.wat2wasm(bench_wasm._ECHO_WAPC))
    fresh, reuse = bench_wasm._measure("waPC", code)
    assert (fresh.instances, reuse.instances) == ("fresh", "reuse")
    for figures in (fresh, reuse):
        assert figures.calls_per_second > 0 < figures.cpu
        assert figures.memory_bytes == 65536


def test_a_guest_that_publishes_nothing_is_not_measured() -> None:
    code = bytes(wasmtime.wat2wasm(bench_wasm._ECHO_WAPC))
    with pytest.raises(Unavailable, match="waPC does not publish"):
        list(bench_wasm._measure("waPC", code.replace(b"Publish", b"Polish!")))
