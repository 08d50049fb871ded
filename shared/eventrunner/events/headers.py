"""Headers beside a JSON batch, the same in HTTP and NATS. All are hints: a batch without them is read to find out."""

from __future__ import annotations

__all__ = ["COUNT_HEADER"]

COUNT_HEADER = "Eventrunner-Count"
"""Events in the batch."""
