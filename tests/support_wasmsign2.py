"""The real `wasmsign2`, from its crate."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from support import require

__all__ = ["wasmsign2"]

_VERSION = "0.2.8"
_TOOLS = Path(__file__).parents[1] / ".cache" / f"wasmsign2-{_VERSION}"


def wasmsign2(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs it; it is built on first use, quickly rather than for speed."""
    program = _TOOLS / "bin" / "wasmsign2"
    if not program.exists():
        require("cargo")
        command = ("cargo", "install", "--quiet", "--locked", "--debug", "--root", str(_TOOLS), "--version", _VERSION)
        with tempfile.TemporaryDirectory() as target:
            subprocess.run(
                ["nice", "-n", "15", *command, "wasmsign2-cli"],
                env={**os.environ, "CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_TARGET_DIR": target},
                check=True,
                timeout=1400,
            )
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
