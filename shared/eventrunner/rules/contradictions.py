"""Comparisons joined by `&&` that never hold together: of one variable, with constants."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from eventrunner.rules.analysis import Path, path_of
from eventrunner.rules.expressions import conjuncts, is_plain_number
from eventrunner.rules.nodes import Binary, Const, Node, children

__all__ = ["contradictions"]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class _Claim(NamedTuple):
    """`variable op constant`, which only holds if the variable is of the constant's kind."""

    part: Binary
    path: Path
    op: str
    kind: type[Any]
    constant: Any


def contradictions(condition: Node) -> Iterator[tuple[Binary, Binary, bool]]:
    """Of each chain of `&&`: a part, an earlier one that it contradicts, and whether the chain is the condition."""
    pending = [condition]
    while pending:
        node = pending.pop()
        if isinstance(node, Binary) and node.op == "&&":
            parts = conjuncts(node)
            yield from ((late, early, node is condition) for late, early in _within(parts))
            pending += parts
        else:
            pending += children(node)


def _within(parts: list[Node]) -> Iterator[tuple[Binary, Binary]]:
    claims: dict[Path, list[_Claim]] = {}
    for part in parts:
        claim = _claim(part)
        if claim is None:
            continue
        earlier = claims.setdefault(claim.path, [])
        clash = next((item for item in earlier if _exclude(item, claim)), None)
        if clash is not None:
            yield claim.part, clash.part
        earlier.append(claim)


def _claim(node: Node) -> _Claim | None:
    if not isinstance(node, Binary) or node.op not in _MIRRORED:
        return None
    for variable, constant, op in ((node.left, node.right, node.op), (node.right, node.left, _MIRRORED[node.op])):
        path = path_of(variable)
        if path is None or None in path or not isinstance(constant, Const):
            continue
        if type(constant.value) in (str, bool):
            return _Claim(node, path, op, type(constant.value), constant.value)
        if is_plain_number(constant):
            return _Claim(node, path, op, float, float(constant.value))
    return None


def _exclude(first: _Claim, second: _Claim) -> bool:
    if first.kind is not second.kind:
        return True
    for one, other in ((first, second), (second, first)):
        if one.op == "==":
            return not _holds(one.constant, other.op, other.constant)
    for low, high in ((first, second), (second, first)):
        if low.op in (">", ">=") and high.op in ("<", "<="):
            strict = low.op == ">" or high.op == "<"
            return bool(low.constant >= high.constant if strict else low.constant > high.constant)
    return False


def _holds(value: Any, op: str, bound: Any) -> bool:
    return _COMPARE[op](value, bound)
