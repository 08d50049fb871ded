"""Tenant names and the NATS names made of them. Every subject, key and query carries the tenant."""

from __future__ import annotations

import re

from eventrunner.errors import FieldError, InvalidInput

__all__ = [
    "AUDIT_STREAM",
    "DEADLETTER_STREAM",
    "EVENTS_STREAM",
    "LOGS_STREAM",
    "PLATFORM",
    "RAW_STREAM",
    "REPLAYS_STREAM",
    "RESULTS_STREAM",
    "STREAMS",
    "USAGE_STREAM",
    "check_tenant",
    "deadletter_subject",
    "is_letter",
    "is_tenant",
    "subject",
    "tenant_of_subject",
]

AUDIT_STREAM = "AUDIT"
LOGS_STREAM = "LOGS"
RAW_STREAM = "RAW"
EVENTS_STREAM = "EVENTS"
RESULTS_STREAM = "RESULTS"
DEADLETTER_STREAM = "DEADLETTER"
USAGE_STREAM = "USAGE"
REPLAYS_STREAM = "REPLAYS"
STREAMS = (RAW_STREAM, EVENTS_STREAM, RESULTS_STREAM, USAGE_STREAM, DEADLETTER_STREAM, REPLAYS_STREAM)

PLATFORM = "_platform"
"""Owner of the platform's own rule sets. It can be no tenant's name, so no key and no event can ever be of it."""

# One token of a NATS subject and a key of a KV bucket: no dot, no wildcard, no blank. Case matters ("UA", "9E").
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


def is_tenant(name: str) -> bool:
    return _TENANT.fullmatch(name) is not None


def check_tenant(name: str) -> str:
    """Returns the name. Raises InvalidInput if it cannot be a tenant's."""
    if not is_tenant(name):
        message = "1 to 63 letters, digits, '-' or '_', with a letter or digit at both ends"
        raise InvalidInput(f"{name!r} is not a tenant name: use {message}.", (FieldError("tenant", message),))
    return name


def subject(stream: str, tenant: str) -> str:
    """Subject of a tenant on RAW, EVENTS, RESULTS, USAGE, REPLAYS or AUDIT, such as `raw.acme`."""
    return f"{stream.lower()}.{tenant}"


def deadletter_subject(stage: str, tenant: str) -> str:
    return f"deadletter.{stage}.{tenant}"


def is_letter(name: str) -> bool:
    """Whether the subject is one of DEADLETTER."""
    return name.startswith("deadletter.")


def tenant_of_subject(name: str) -> str:
    """The tenant is the last token of every subject of ours."""
    return name.rpartition(".")[2]
