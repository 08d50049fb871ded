"""What a statement that is no assignment has just done to an execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from eventrunner.rules.context import EventContext
from eventrunner.rules.nodes import Call, Const, Statement

__all__ = ["effect_of"]


def effect_of(statement: Statement, ctx: EventContext, tags: Mapping[str, str]) -> dict[str, Any]:
    """`tags` are those from before the statement."""
    if not isinstance(statement, Call):
        return {}
    match statement.name:
        case "Emit" if ctx.emitted:
            emitted = ctx.emitted[-1]
            return {"emitted": {"type": emitted.type, "data": msgspec.json.decode(emitted.data)}}
        case "Tag":
            now = ctx.tags or {}
            return {"tags": {name: value for name, value in now.items() if tags.get(name) != value}}
        case "Drop":
            return {"dropped": ctx.dropped}
        case "RouteTo":
            return {"route": ctx.route}
        case "Log" | "LogFormat" if ctx.logs:
            return {"log": ctx.logs[-1]}
        case "Complete":
            return {"complete": True}
        case "Retract":
            return _retracted(statement, ctx)
    return {}


def _retracted(call: Call, ctx: EventContext) -> dict[str, Any]:
    name = call.args[0].value if call.args and isinstance(call.args[0], Const) else None
    if name is None:
        return {}
    return {"retracted": name} if name in ctx.program.bits else {"retracted": None, "unknown": name}
