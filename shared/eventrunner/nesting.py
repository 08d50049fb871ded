"""How deeply the JSON of an event may be nested."""

from __future__ import annotations

import sys

__all__ = ["read_deep_events"]

_LEVELS = 4000


def read_deep_events() -> None:
    """For every process that reads events after ingest.

    Ingest reads with Python's own limit, some 1000 levels less what is on the stack at that moment. Who reads later,
    from another place in the stack, needs more room, or would refuse an event that was accepted.
    """
    sys.setrecursionlimit(max(_LEVELS, sys.getrecursionlimit()))
