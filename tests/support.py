"""What tests share: tools of the machine, free ports."""

from __future__ import annotations

import os
import shutil

import pytest
from eventrunner.local.ports import free_port

__all__ = ["free_port", "require", "unavailable"]


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
