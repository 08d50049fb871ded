"""What a tenant uploads becomes the guest that it is, and is the same guest when it comes from the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from support_guests import component_guest, require_toolchain, wapc_guest

from tests.unit.wasm.guest_suite import message


@pytest.mark.parametrize("build", [component_guest, wapc_guest])
def test_a_guest_runs_when_it_was_compiled_and_when_it_was_kept(build: Callable[[], bytes], tmp_path: Path) -> None:
    require_toolchain()
    for _ in range(2):
        cache = ModuleCache(shared_engine(), tmp_path / "modules", None)
        host = Host(shared_engine(), load_guest(shared_engine(), cache, build()), Limits())
        assert host.handle(message("echo", b"x")).published == (message("echo", b"x"),)
    assert len(list((tmp_path / "modules").glob("*.cwasm"))) == 1


def test_what_is_no_webassembly_is_refused() -> None:
    with pytest.raises(InvalidInput, match="begins with"):
        load_guest(shared_engine(), ModuleCache(shared_engine(), compiler=None), b"#!/bin/sh")
