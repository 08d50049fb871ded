"""The problem document of every answer that is no success (RFC 9457)."""

from __future__ import annotations

import msgspec

__all__ = ["FieldProblem", "Problem"]


class FieldProblem(msgspec.Struct):
    field: str
    """Path of the wrong value, such as `quota.burst` or `routes[0]`."""
    message: str


class Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []
    """Every wrong field."""
