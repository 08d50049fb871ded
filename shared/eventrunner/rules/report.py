"""A verdict as dry runs show it."""

from __future__ import annotations

from typing import Any

import msgspec

from eventrunner.rules.ruleset import Verdict

__all__ = ["verdict_document"]


def verdict_document(event_id: str, verdict: Verdict | None) -> dict[str, Any]:
    """What the rules would make of the event; members that say nothing are left out."""
    if verdict is None:
        return {"id": event_id, "fired": []}
    members = {
        "id": event_id,
        "fired": list(verdict.fired),
        "data": None if verdict.data is None else msgspec.json.decode(verdict.data),
        "attributes": dict(verdict.attributes),
        "emitted": [{"type": item.type, "data": msgspec.json.decode(item.data)} for item in verdict.emitted],
        "dropped": verdict.dropped,
        "tags": dict(verdict.tags),
        "route": verdict.route,
        "error": None if verdict.error is None else {"rule": verdict.error.rule, "message": verdict.error.message},
        "logs": list(verdict.logs),
    }
    return {name: value for name, value in members.items() if value not in (None, [], {}) or name == "fired"}
