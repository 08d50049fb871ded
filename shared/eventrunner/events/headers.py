"""Headers beside a JSON batch, the same in HTTP and NATS. All are hints: a batch without them is read to find out."""

from __future__ import annotations

__all__ = ["COUNT_HEADER", "TENANT_HEADER"]

COUNT_HEADER = "Eventrunner-Count"
"""Events in the batch."""
TENANT_HEADER = "Eventrunner-Tenant"
"""On a stage's reply: every event is a result of that tenant, and none is a failure or a usage record."""
