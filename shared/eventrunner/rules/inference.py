"""Which kinds of value an expression can yield, as far as the text alone tells; none at all if it always fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from eventrunner.rules import attributes, functions
from eventrunner.rules.event_facts import constant_key, is_data
from eventrunner.rules.nodes import Binary, Call, Const, Index, Member, Method, Node, Not, Root
from eventrunner.rules.values import (
    ARRAY,
    BOOL,
    FLOAT,
    INT,
    KINDS,
    MAP,
    NULL,
    STRING,
    STRINGS,
    TIME,
    UINT,
    Failure,
    Int64,
)
from eventrunner.rules.yields import (
    ANYTHING,
    BOOLEAN,
    FAILS,
    NEVER,
    Yield,
    function_result,
    method_result,
    method_signature,
    misfit,
    operate,
    sides,
)

__all__ = ["Inference", "Report"]

Report: TypeAlias = Callable[[Node, str, str], None]
"""Takes the place, what is wrong with it, a hint."""

_SELECTORS = {MAP: STRING, ARRAY: INT, STRINGS: INT}
_ATTRIBUTE = Yield(frozenset({STRING, BOOL, FLOAT}))
_VARIABLE = Yield(frozenset({FLOAT, INT, UINT, STRING, BOOL, TIME, NULL}))


class Inference:
    """Each place that always fails or never holds is reported once, where that begins."""

    def __init__(self, report: Report, *, in_condition: bool) -> None:
        self._report = report
        self._in_condition = in_condition

    def of(self, node: Node) -> Yield:
        # The left spine in a loop, as chains of operators may be longer than Python's stack.
        spine: list[Binary] = []
        while isinstance(node, Binary):
            spine.append(node)
            node = node.left
        result = self._operand(node)
        for binary in reversed(spine):
            result = self._binary(binary, result, self.of(binary.right))
        return result

    def _operand(self, node: Node) -> Yield:
        match node:
            case Const(value=value):
                return self._constant(node, value)
            case Not(operand=operand):
                inner = self.of(operand)
                return Yield(inner.kinds, frozenset(not truth for truth in inner.truths))
            case Call():
                return self._call(node)
            case Method():
                return self._method(node)
            case Member() | Index():
                return self._path(node)
            case Root(name=name):
                return Yield(frozenset({MAP})) if name in ("Event", "Tenant", "Out") else _VARIABLE
        return ANYTHING

    def _fails(self, node: Node, message: str, hint: str = "") -> Yield:
        self._report(node, message, hint)
        return FAILS

    def _constant(self, node: Const, value: Any) -> Yield:
        if type(value) is not Failure:
            # A constant condition is meant: `when true`, or `when false` to switch a rule off.
            return Yield(frozenset({KINDS[type(value)]}))
        hint = "a condition on a missing field does not match; IsZero tells an empty string or zero"
        return self._fails(node, "nil has no value: whatever it is compared with or assigned to, that fails", hint)

    def _binary(self, node: Binary, left: Yield, right: Yield) -> Yield:
        if node.op in ("&&", "||"):
            return self._logic(node, left, right)
        if not left.kinds or not right.kinds:
            return FAILS
        result = operate(node.op, left.kinds, right.kinds)
        if not result.kinds:
            return self._fails(node, f"{sides(node.op, left, right)} always fails")
        if result.kinds == {BOOL} and not result.can_hold:
            message = f"{sides(node.op, left, right)} is never true: they are of different kinds"
            self._report(node, message, "")
        return result

    def _logic(self, node: Binary, left: Yield, right: Yield) -> Yield:
        decides = node.op == "||"
        if not left.kinds:
            return FAILS
        if BOOL not in left.kinds:
            return self._fails(node, f"the left side of {node.op} is never a boolean, so that it always fails")
        truths = {decides} & left.truths
        if (not decides) in left.truths and BOOL in right.kinds:
            truths |= right.truths
        elif right.kinds and BOOL not in right.kinds:
            self._report(node, f"the right side of {node.op} is never a boolean, so that it always fails", "")
        return Yield(BOOLEAN.kinds, frozenset(truths)) if truths else FAILS

    def _path(self, node: Member | Index) -> Yield:
        key = constant_key(node)
        match node.base:
            case Root(name="Event") if key is not None and key != "data":
                return Yield(frozenset({STRING})) if key in attributes.ATTRIBUTES else _ATTRIBUTE
            case Root(name="Tenant" | "Out") if key is not None:
                return ANYTHING
        if is_data(node):
            return ANYTHING
        base = ANYTHING if is_data(node.base) else self.of(node.base)
        if not base.kinds:
            return FAILS
        if not base.kinds & ({MAP} if isinstance(node, Member) else _SELECTORS.keys()):
            what = base.name or "a variable"
            return self._fails(node, f"{what} has no {'fields' if isinstance(node, Member) else 'elements'}")
        return ANYTHING if isinstance(node, Member) else self._selector(node.index, base)

    def _selector(self, node: Node, base: Yield) -> Yield:
        index = self.of(node)
        if not index.kinds:
            return FAILS
        value = node.value if isinstance(node, Const) else None
        if isinstance(value, Int64) and value < 0:
            return self._fails(node, "an index counts from 0: a negative one always fails")
        if not index.kinds & {wanted for kind, wanted in _SELECTORS.items() if kind in base.kinds}:
            return self._fails(node, "an index of an array is an integer, one of a map a string: this always fails")
        return ANYTHING

    def _call(self, node: Call) -> Yield:
        name, given = node.name, [self.of(item) for item in node.args]
        if name in functions.EVENT_CONTROL or (self._in_condition and name in functions.CONTROL):
            place = "a condition" if self._in_condition else "an expression"
            return self._fails(node, f"{name} is a statement: in {place} it does nothing and fails")
        if name in functions.CONTROL:
            return Yield(frozenset({NULL}))
        if not all(item.kinds for item in given):
            return FAILS
        if name == "Now":
            return Yield(frozenset({TIME}))
        signature = functions.FUNCTIONS[name][0] if name in functions.FUNCTIONS else None
        if signature is None:
            return ANYTHING
        if problem := misfit(name, signature, node.args, given):
            return self._fails(node, f"{problem}: this always fails")
        if name == "IsNil":
            return self._is_nil(node, given[0])
        return function_result(name, signature)

    def _is_nil(self, node: Call, given: Yield) -> Yield:
        if not given.kinds & {ARRAY, MAP, STRINGS, TIME}:
            return self._fails(node, "IsNil fails for anything but arrays, maps and times")
        self._report(node, "IsNil is never true: it is false or, for null and what is missing, fails", "")
        return Yield(BOOLEAN.kinds, NEVER)

    def _method(self, node: Method) -> Yield:
        base, given = self.of(node.base), [self.of(item) for item in node.args]
        if not base.kinds or not all(item.kinds for item in given):
            return FAILS
        fitting = {
            kind: signature for kind in base.kinds if (signature := method_signature(kind, node.name)) is not None
        }
        if not fitting:
            return self._fails(node, f"{base.name or 'this value'} has no method {node.name}: this always fails")
        problems = [misfit(node.name, signature, node.args, given) for signature in fitting.values()]
        if not all(problems) and node.name == "In" and given and STRING not in given[0].kinds:
            problems = ["In takes strings"]
        if all(problems):
            return self._fails(node, f"{problems[0]}: this always fails")
        return method_result(node.name)
