"""The guide to writing a consumer, command by command: on the platform, under wash dev and under wash host."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.cli.platform_process import running_platform
from support_wasmcloud import require_wasmcloud

from tests.pipeline.test_documentation import ROOT, blocks, clone
from tests.support import free_port

__all__ = ["clone"]

GUIDE = ROOT / "docs" / "wasm-dev-guide.md"


class Guide:
    """Takes its blocks one after the other; the ports that it names are replaced by free ones."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._ports = {port: str(free_port()) for port in ("4223", "8001", "5001")}
        self._blocks = iter(blocks(GUIDE, "sh"))

    def _next(self, begins: str) -> str:
        block = next(self._blocks)
        assert block.startswith(begins), block
        for port, free in self._ports.items():
            block = block.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}").replace(f"-p {port}", f"-p {free}")
        return block

    def run(self, begins: str) -> str:
        return self._run(self._next(begins))

    def _run(self, block: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", block], cwd=self._folder, env=self._environ, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        return done.stdout

    def again(self, block: str) -> str:
        """One that has been run before."""
        for port, free in self._ports.items():
            block = block.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
        return self._run(block)

    @contextlib.contextmanager
    def serving(self, begins: str, ready: str) -> Iterator[None]:
        """What the guide leaves running, from when its log has this in it."""
        command = shlex.split(self._next(begins))
        log = self._folder / f"{begins.replace(' ', '-')}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=self._folder, env=self._environ, stdout=file, stderr=file)
        try:
            deadline = time.monotonic() + 60
            while ready not in (text := log.read_text()):
                assert process.poll() is None, text
                assert time.monotonic() < deadline, text
                time.sleep(0.02)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.mark.pipeline
@pytest.mark.peer
@pytest.mark.timeout(900)
def test_the_commands_of_the_guide_to_wasm_work(clone: Path) -> None:
    require_wasmcloud()
    with running_platform(clone / "platform") as platform:
        environ = {
            **os.environ,
            "EVENTRUNNER_URL": platform.url,
            "EVENTRUNNER_KEY": platform.admin_key,
            "EVENTRUNNER_NATS_URL": platform.nats,
            "EVENTRUNNER_MODULE_CACHE": str(clone / "native"),
            "HOME": str(clone / "home"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        walk_through(Guide(clone, environ))


def walk_through(guide: Guide) -> None:
    shown = blocks(GUIDE, "text")
    emit = next(block for block in blocks(GUIDE, "sh") if "eventrunner emit" in block)
    assert shown[0] in guide.run("eventrunner consumer new")
    assert "is signed, as a whole, by the key" in guide.run("eventrunner consumer keygen")
    assert "acme/late-flights is stored" in guide.run("eventrunner tenant create acme")
    with guide.serving("nats-server", "Server is ready"):
        guide.run("sh examples/wasmcloud/acknowledger/build.sh")
        guide.run("cat > wasmcloud/.wash/config.yaml")
        with contextlib.ExitStack() as running:
            dev = guide.serving("wash -C", "listening for HTTP requests")
            with dev:
                guide.run("cat > wasmcloud/source.yaml")
                running.enter_context(guide.serving("eventrunner source", ""))
                assert guide.run("python3 examples/wasmcloud/watch.py").endswith(shown[1])
            guide.run("cat > wasmcloud/registry.yml")
            running.enter_context(guide.serving("docker-registry", "listening on"))
            guide.run("wash oci push")
            running.enter_context(guide.serving("wash host", "Host started"))
            assert guide.run("cat > wasmcloud/workload.json").endswith(shown[2])
            assert guide.again(emit.replace('"id":"1"', '"id":"2"')).endswith(shown[1].replace('"1"', '"2"'))
