"""Compiles WebAssembly, and keeps the native code for the next start.

A `.cwasm` is native code that runs with all the rights of this process. So one is loaded only if it lies in a folder
that nobody else can use, is a plain file of this user that nobody else can use, and has its checksum beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import Final, TypeAlias

import wasmtime
from wasmtime import component

from eventrunner.errors import ConfigurationError
from eventrunner.wasm.binary import Kind, read_module
from eventrunner.wasm.compiling import CompilerLimits, compile_apart, does_not_compile
from eventrunner.wasm.engine import Engine
from eventrunner.wasm.parts import check_parts

__all__ = ["Compiled", "ModuleCache"]

Compiled: TypeAlias = component.Component | wasmtime.Module

_log = logging.getLogger(__name__)
_COMPILER: Final = CompilerLimits()
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class ModuleCache:
    """Safe to share between threads and processes; the same module may be compiled twice at most."""

    def __init__(self, engine: Engine, folder: Path | None = None, compiler: CompilerLimits | None = _COMPILER) -> None:
        """Without a folder nothing is kept; without limits of the compiler it works in this process, for code of one's
        own. Raises ConfigurationError if others may use the folder."""
        self._engine = engine
        self._folder = folder
        self._compiler = compiler
        if folder is not None:
            _make_private(folder)

    def load(self, code: bytes) -> Compiled:
        """Raises InvalidInput that says what is wrong with the code."""
        kind = read_module(code).kind
        check_parts(code)
        path = self._path(code)
        if path is None:
            return self._compile(kind, code)
        return self._kept(kind, path) or self._compile_and_keep(kind, code, path)

    def _path(self, code: bytes) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{hashlib.sha256(code).hexdigest()}-{self._engine.fingerprint}.cwasm"

    def _kept(self, kind: Kind, path: Path) -> Compiled | None:
        native = _read_own(path)
        checksum = _read_own(_checksum_path(path))
        if native is None or checksum is None:
            return None
        if checksum != _checksum(native):
            _log.warning("%s is not what its checksum says: compiled anew", path)
            return None
        try:
            return self._deserialize(kind, native)
        except wasmtime.WasmtimeError as error:
            # Such as code for a processor that can more than this one.
            _log.warning("%s cannot be loaded, so it is compiled anew: %s", path, error)
            return None

    def _compile_and_keep(self, kind: Kind, code: bytes, path: Path) -> Compiled:
        compiled = self._compile(kind, code)
        native = bytes(compiled.serialize())
        try:
            _write_own(path, native)
            _write_own(_checksum_path(path), _checksum(native))
        except OSError as error:
            _log.warning("%s cannot be kept, so the next start compiles it again: %s", path, error)
        return compiled

    def _compile(self, kind: Kind, code: bytes) -> Compiled:
        if self._compiler is not None:
            return self._deserialize(kind, compile_apart(kind, code, self._compiler))
        try:
            if kind is Kind.COMPONENT:
                return component.Component(self._engine.raw, code)
            return wasmtime.Module(self._engine.raw, code)
        except wasmtime.WasmtimeError as error:
            raise does_not_compile(kind, str(error)) from error

    def _deserialize(self, kind: Kind, native: bytes) -> Compiled:
        if kind is Kind.COMPONENT:
            return component.Component.deserialize(self._engine.raw, native)
        return wasmtime.Module.deserialize(self._engine.raw, native)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
        raise ConfigurationError(
            f"{folder} holds native code, so it must be a folder of this user that nobody else can use: "
            f"chmod 700 it, or name another one."
        )


def _read_own(path: Path) -> bytes | None:
    """None: there is none that this user alone could have written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            _log.warning("%s could be somebody else's: compiled anew", path)
            return None
        return file.read()


def _write_own(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _checksum(native: bytes) -> bytes:
    return hashlib.sha256(native).hexdigest().encode()


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")
