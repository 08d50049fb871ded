"""Ties the life of a process to its parent's, so that a killed platform leaves nothing behind.

Linux sends a process the signal it asked for when its parent dies (prctl(2), PR_SET_PDEATHSIG). The wish does not pass
to children of that process, so whoever forks again has to renew it. On other systems this does nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["die_with", "die_with_parent"]

_PR_SET_PDEATHSIG: Final = 1
# Loaded at import: between fork and exec nothing may be opened.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with(parent: int) -> None:
    """Called in a new child: it is killed when `parent` is, even if that happened before this call."""
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def die_with_parent() -> None:
    die_with(os.getppid())
