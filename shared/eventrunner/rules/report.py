"""Verdicts and explanations as documents."""

from __future__ import annotations

from typing import Any

import msgspec

from eventrunner.rules.explain import Explanation
from eventrunner.rules.ruleset import Verdict

__all__ = ["explanation_document", "verdict_document"]


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


def explanation_document(event_id: str, explanation: Explanation) -> dict[str, Any]:
    """With the verdict in the end, of which the members are those of a dry run."""
    shown: dict[str, Any] = {
        name: msgspec.to_builtins(getattr(explanation, name)) for name in ("conditions", "firings", "not_shown", "end")
    }
    return {"id": event_id, **shown, "result": verdict_document(event_id, explanation.verdict)}
