"""What tests share: tools of the machine, free ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.local.ports import free_port

__all__ = ["free_port", "require", "small_disk", "unavailable"]


def unavailable(reason: str) -> None:
    """Skips the test with the reason; fails it where everything is required to be there."""
    if os.environ.get("EVENTRUNNER_REQUIRE_ALL") == "1":
        pytest.fail(f"EVENTRUNNER_REQUIRE_ALL=1, but {reason}")
    pytest.skip(reason)


def require(*tools: str) -> None:
    """The test needs these programs on the PATH."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        unavailable(f"needs {', '.join(missing)}")


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[None]:
    """A file system of its own at the folder; skips the test where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        unavailable(f"a small disk cannot be mounted here: {mounted.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
