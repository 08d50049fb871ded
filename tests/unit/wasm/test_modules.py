"""Native code is kept for the next start, and only what this system has written is ever run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import support_wasm
import wasmtime
from eventrunner.errors import ConfigurationError, InvalidInput
from eventrunner.wasm import modules
from eventrunner.wasm.engine import Engine, shared_engine
from eventrunner.wasm.modules import ModuleCache
from support import unavailable
from wasmtime import component

COMPONENT = support_wasm.component()
MODULE = support_wasm.actor()


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The code that was compiled, in order."""
    seen: list[bytes] = []
    compile_now = ModuleCache._compile

    def counted(self: ModuleCache, kind: object, code: bytes) -> object:
        seen.append(code)
        return compile_now(self, kind, code)  # type: ignore[arg-type]

    monkeypatch.setattr(ModuleCache, "_compile", counted)
    return seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "modules"


def cache(folder: Path) -> ModuleCache:
    return ModuleCache(shared_engine(), folder, None)


def native(folder: Path) -> Path:
    (path,) = folder.glob("*.cwasm")
    return path


@pytest.mark.parametrize(("code", "kind"), [(COMPONENT, component.Component), (MODULE, wasmtime.Module)])
def test_the_second_load_does_not_compile(folder: Path, compilations: list[bytes], code: bytes, kind: type) -> None:
    assert isinstance(cache(folder).load(code), kind)
    assert isinstance(cache(folder).load(code), kind)
    assert compilations == [code]


def test_what_is_kept_is_for_this_user_alone(folder: Path) -> None:
    cache(folder).load(COMPONENT)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert sorted(path.suffix for path in folder.iterdir()) == [".cwasm", ".sha256"]


def test_another_module_has_another_file(folder: Path, compilations: list[bytes]) -> None:
    other = support_wasm.component(filling=10)
    cache(folder).load(COMPONENT)
    cache(folder).load(other)
    assert compilations == [COMPONENT, other]
    assert len(list(folder.glob("*.cwasm"))) == 2


def test_a_changed_byte_is_compiled_anew_and_mended(folder: Path, compilations: list[bytes]) -> None:
    cache(folder).load(COMPONENT)
    content = bytearray(native(folder).read_bytes())
    content[len(content) // 2] ^= 1
    native(folder).write_bytes(content)
    cache(folder).load(COMPONENT)
    cache(folder).load(COMPONENT)
    assert len(compilations) == 2


def test_what_has_no_checksum_is_not_loaded(folder: Path, compilations: list[bytes]) -> None:
    cache(folder).load(COMPONENT)
    native(folder).with_suffix(".sha256").unlink()
    cache(folder).load(COMPONENT)
    assert len(compilations) == 2


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o644])
def test_a_file_that_others_may_use_is_not_loaded(folder: Path, compilations: list[bytes], mode: int) -> None:
    cache(folder).load(COMPONENT)
    native(folder).chmod(mode)
    cache(folder).load(COMPONENT)
    assert len(compilations) == 2
    assert native(folder).stat().st_mode & 0o777 == 0o600


def test_a_file_of_another_user_is_not_loaded(folder: Path, compilations: list[bytes]) -> None:
    if os.geteuid() != 0:
        unavailable("only root can give files away")
    cache(folder).load(COMPONENT)
    os.chown(native(folder), 12345, -1)
    cache(folder).load(COMPONENT)
    assert len(compilations) == 2


def test_a_link_is_not_followed(folder: Path, compilations: list[bytes], tmp_path: Path) -> None:
    cache(folder).load(COMPONENT)
    path = native(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    cache(folder).load(COMPONENT)
    assert len(compilations) == 2
    assert not path.is_symlink()


def test_a_pipe_in_its_place_does_not_hang(folder: Path, compilations: list[bytes]) -> None:
    cache(folder).load(COMPONENT)
    path = native(folder)
    path.unlink()
    os.mkfifo(path, 0o600)
    cache(folder).load(COMPONENT)
    assert len(compilations) == 2


def test_native_code_of_another_engine_is_compiled_anew(folder: Path, compilations: list[bytes]) -> None:
    cache(folder).load(COMPONENT)
    alien = component.Component(wasmtime.Engine(), COMPONENT).serialize()
    native(folder).write_bytes(alien)
    native(folder).with_suffix(".sha256").write_bytes(modules._checksum(bytes(alien)))
    cache(folder).load(COMPONENT)
    assert len(compilations) == 2


def test_a_folder_that_others_may_use_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        cache(folder)


def test_a_full_disk_costs_the_cache_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = cache(folder)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert store.load(COMPONENT)
    assert list(folder.iterdir()) == []
    assert "No space left" in caplog.text


def test_what_does_not_compile_is_refused_with_the_reason() -> None:
    broken = bytes(wasmtime.wat2wasm("(module (func))"))[:-3] + b"\x03\x00\xff"
    with pytest.raises(InvalidInput, match="does not compile"):
        ModuleCache(shared_engine(), compiler=None).load(broken)


@pytest.mark.parametrize(
    "text",
    [
        "(module (memory i64 1))",
        "(module (memory 1 1 shared))",
        "(module (type (struct)))",
        "(module (tag))",
    ],
)
def test_what_no_guest_may_use_does_not_compile(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not compile"):
        ModuleCache(shared_engine(), compiler=None).load(bytes(wasmtime.wat2wasm(text)))


def test_an_engine_ticks_only_while_it_is_used() -> None:
    ticker = Engine().ticker
    assert not ticker.is_running
    with ticker, ticker:
        assert ticker.is_running
    deadline = time.monotonic() + 60
    while ticker.is_running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not ticker.is_running
    with ticker:
        assert ticker.is_running
