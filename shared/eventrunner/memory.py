"""How a process that works on batches should handle memory."""

from __future__ import annotations

import ctypes
import gc
import sys

__all__ = ["keep_memory"]

# https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_BYTES = 32 * 1024 * 1024
_TRIM_BYTES = 64 * 1024 * 1024

_ARENA_BYTES = 1024 * 1024
_ARENAS = 8
_SMALL = 512 - 33
"""Bytes of the largest `bytes` object that goes into an arena."""
_kept: list[bytes] = []


def keep_memory() -> None:
    """Call it when the process has what it will keep, and before its batches come.

    A batch makes tens of thousands of objects and some buffers of hundreds of kilobytes, all of which die with it. So
    the collector finds nothing when it looks through them meanwhile; and glibc, left to itself, gives the buffers back
    to the kernel and faults their pages in again for the next batch, which took a third of an event's time.
    """
    _keep_arenas()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if sys.platform == "linux":
        # Another C library has no such call, or none that heeds it.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def _keep_arenas() -> None:
    """Puts an object that stays into each of some arenas of Python's allocator, so that it keeps them.

    It unmaps an arena once nothing in it is used, for which it has no threshold: a process that decodes a batch, lets
    go of it and decodes the next maps the same megabytes again each time.
    """
    if not _kept:
        filling = [bytes(_SMALL) for _ in range(_ARENAS * _ARENA_BYTES // 512)]
        _kept.extend(filling[:: _ARENA_BYTES // 512 // 2])
