"""Whether a statement of a rule on events surely fails, as far as its text tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventrunner.rules import attributes
from eventrunner.rules.event_facts import constant_key
from eventrunner.rules.functions import CONTROL, EVENT_CONTROL
from eventrunner.rules.inference import Inference, Report
from eventrunner.rules.nodes import Assign, Binary, Call, Const, Node, Root, Statement
from eventrunner.rules.values import ARRAY, BOOL, FLOAT, INT, MAP, NULL, STRING, STRINGS, UINT
from eventrunner.rules.yields import Yield

__all__ = ["StatementCheck"]

_SIGNATURES = CONTROL | EVENT_CONTROL
_NO_SCALARS = frozenset({ARRAY, STRINGS, MAP, NULL})
_EXTENSION = frozenset({STRING, BOOL, FLOAT, INT, UINT, NULL})
_CONTEXT = frozenset({STRING, NULL})


class StatementCheck:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._inference = Inference(report, in_condition=False)

    def fails(self, statement: Statement) -> bool:
        """Reports why."""
        if isinstance(statement, Assign):
            problem = self._assignment(statement)
        elif isinstance(statement, Call) and statement.name in _SIGNATURES:
            problem = self._call(statement)
        else:
            return not self._inference.of(statement).kinds
        if problem:
            place = statement.target if isinstance(statement, Assign) else statement
            self._report(place, f"{problem}: this always fails", "")
        return problem is None or bool(problem)

    def _assignment(self, node: Assign) -> str | None:
        """What is wrong, empty if nothing is; None if that is reported already."""
        target = node.target
        value = self._inference.of(node.value if node.op == "=" else Binary(node.op[0], target, node.value, node.at))
        if not value.kinds:
            return None
        if isinstance(target, Root):
            return f"null cannot be assigned to {target.name}" if value.kinds == {NULL} else ""
        key = constant_key(target)
        if isinstance(target.base, Root) and target.base.name == "Event" and key is not None and key != "data":
            return _attribute_problem(key, value, node)
        if node.op == "=" and not self._inference.of(target).kinds:
            return None
        return ""

    def _call(self, node: Call) -> str | None:
        given = [self._inference.of(item) for item in node.args]
        if not all(item.kinds for item in given):
            return None
        return _argument_problem(node, given) or _text_problem(node)


def _attribute_problem(key: str, value: Yield, node: Assign) -> str:
    is_context = key in attributes.SETTABLE
    if not is_context and (problem := attributes.name_problem(key)):
        return f"{key!r} cannot be an attribute: {problem}"
    if not value.kinds & (_CONTEXT if is_context else _EXTENSION):
        return f"Event.{key} cannot be {value.name or 'such a value'}"
    text = _constant(node.value) if node.op == "=" else None
    problem = attributes.text_problem(key, text) if text is not None else None
    return f"Event.{key} {problem}" if problem else ""


def _argument_problem(node: Call, given: Sequence[Yield]) -> str:
    for letter, item in zip(_SIGNATURES[node.name], given, strict=False):
        if letter == "s" and STRING not in item.kinds:
            return f"{node.name} takes a string here, not {item.name or 'such a value'}"
        if letter == "v" and item.kinds <= _NO_SCALARS:
            return f"a tag cannot be {item.name or 'such a value'}"
    return ""


def _text_problem(node: Call) -> str:
    texts = [_constant(item) for item in node.args]
    match (node.name, *texts):
        case ("Emit", str(kind)):
            problem = attributes.text_problem("type", kind)
            return f"the type {kind[:80]!r} {problem}" if problem else ""
        case ("Tag", str(name), value):
            if problem := attributes.name_problem(name):
                return f"{name[:80]!r} cannot be a tag: {problem}"
            problem = attributes.text_problem(name, value) if value is not None else None
            return f"the tag {problem}" if problem else ""
        case ("Drop" | "RouteTo", str(text)):
            problem = attributes.text_problem("reason", text)
            return f"{text[:80]!r} {problem}" if problem else ""
    return ""


def _constant(node: Node) -> str | None:
    value: Any = node.value if isinstance(node, Const) else None
    return value if type(value) is str else None
