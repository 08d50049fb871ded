"""Every interface of WASI 0.2 that a consumer is not given, and all of preview 1, is refused by its name."""

from __future__ import annotations

import pytest
import support_wasm
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.interfaces import is_offered
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.wapc_guest import WapcGuest

from tests.component_texts import load

WASI = {
    "cli": "environment exit run stdin stdout stderr terminal-input terminal-output terminal-stdin terminal-stdout "
    "terminal-stderr",
    "clocks": "timezone",
    "filesystem": "types preopens",
    "http": "types incoming-handler outgoing-handler proxy",
    "io": "error streams",
    "sockets": "network instance-network tcp tcp-create-socket udp udp-create-socket ip-name-lookup",
    "config": "runtime store",
    "keyvalue": "store atomics batch",
    "blobstore": "blobstore container types",
    "nn": "tensor graph inference errors",
    "threads": "threads",
}
NAMES = [f"wasi:{package}/{name}@0.2.0" for package, names in WASI.items() for name in names.split()]
CLOSE = [
    "wasi:random/random@0.20.0",
    "wasi:random/random@0.3.0-rc-2025-08-15",
    "wasi:random/random@0.2.0-rc",
    "wasi:io/poll@1.0.0",
    "evil:random/random@0.2.0",
    "wasmcloud:messaging/consumer@0.2.1",
    "wasmcloud:messaging/handler@0.2.0",
    "wasmcloud:messaging/request-reply@0.2.0",
    "wasmcloud:secrets/store@0.1.0-draft",
    "wasi:logging/logging@0.1.0",
]
PREVIEW_1 = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
]


@pytest.mark.parametrize("name", NAMES + CLOSE)
def test_a_component_is_not_given_it(name: str) -> None:
    assert not is_offered(name)
    text = f'(component (import "{name}" (instance)) {support_wasm.HANDLER})'
    with pytest.raises(InvalidInput) as refused:
        load(bytes(wasmtime.wat2wasm(text)))
    assert [field.message for field in refused.value.fields] == [f"imports {name}"]


@pytest.mark.parametrize("kind", ["(func)", "(component)", "(core module)", "(type (sub resource))"])
def test_a_component_is_given_nothing_but_interfaces(kind: str) -> None:
    for name in ("wasi:random/random@0.2.0", "secret"):
        with pytest.raises(InvalidInput):
            load(bytes(wasmtime.wat2wasm(f'(component (import "{name}" {kind}) {support_wasm.HANDLER})')))


@pytest.mark.parametrize("name", ["wasi_snapshot_preview1", "wasi_unstable", "wasi", "env"])
def test_a_module_is_given_nothing_of_preview_1(name: str) -> None:
    imports = "".join(f'(import "{name}" "{function}" (func))' for function in PREVIEW_1)
    code = ModuleCache(shared_engine(), compiler=None).load(bytes(wasmtime.wat2wasm(f"(module {imports})")))
    assert isinstance(code, wasmtime.Module)
    with pytest.raises(InvalidInput) as refused:
        WapcGuest(shared_engine(), code)
    assert sorted(field.message for field in refused.value.fields) == [f"imports {name}.{it}" for it in PREVIEW_1]


@pytest.mark.parametrize("kind", ["(memory 1)", "(table 1 funcref)", "(global i32)", "(func (param i64))"])
def test_a_module_is_given_nothing_but_the_functions_of_wapc(kind: str) -> None:
    for name in ("__host_call", "memory"):
        text = f'(module (import "wapc" "{name}" {kind}))'
        code = ModuleCache(shared_engine(), compiler=None).load(bytes(wasmtime.wat2wasm(text)))
        assert isinstance(code, wasmtime.Module)
        with pytest.raises(InvalidInput, match=f"wapc.{name}"):
            WapcGuest(shared_engine(), code)
