"""The real OPA: its program, and it as a server with the project's policy."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from eventrunner.cli.go_programs import building
from eventrunner.local.ports import free_port
from support import require

__all__ = ["POLICY", "opa_binary", "opa_server"]

_ROOT = Path(__file__).parents[1]
_TOOLS = _ROOT / ".cache" / "opa-1.22.2"
POLICY = [f"policies/{name}" for name in ("authz.rego", "data.json")]


def opa_binary() -> Path:
    """Built on first use."""
    require("go")
    binary = _TOOLS / "opa"
    with building(_TOOLS):
        if not binary.exists():
            subprocess.run(
                ["nice", "-n", "15", "go", "install", "github.com/open-policy-agent/opa@v1.22.2"],
                env={**os.environ, "GOBIN": str(_TOOLS)},
                check=True,
                timeout=1400,
            )
    return binary


@contextlib.contextmanager
def opa_server(folder: Path) -> Iterator[str]:
    """Yields the URL of the policy's rule."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [str(opa_binary()), "run", "--server", "--skip-version-check", "--addr", address, *POLICY]
    log = folder / "opa.log"
    with log.open("wb") as output, subprocess.Popen(command, cwd=_ROOT, stdout=output, stderr=output) as process:
        try:
            yield f"http://{address}/v1/data/eventrunner/authz/allow"
        finally:
            process.terminate()
