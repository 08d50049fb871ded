"""Which kinds of value an expression can yield, as far as the text alone tells; none at all if it always fails.

What operators, functions and methods make of kinds is found out by calling them with one value of each kind, so that
this cannot differ from what is evaluated. An answer may be too generous, never too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import product
from typing import Any, TypeAlias

from eventrunner.rules import attributes, functions, gotime, methods, operators
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
    Strings,
    Uint64,
    kind_name,
)

__all__ = ["ANYTHING", "FAILS", "Inference", "Yield"]

Kinds: TypeAlias = frozenset[int]
Report: TypeAlias = Callable[[Node, str, str], None]
"""Takes the place, what is wrong with it, a hint."""

_SAMPLES: dict[int, Any] = {
    FLOAT: 0.5,
    INT: Int64(1),
    UINT: Uint64(1),
    STRING: "a",
    BOOL: True,
    NULL: None,
    ARRAY: [1.5],
    STRINGS: Strings(["a"]),
    MAP: {"a": 1.5},
    TIME: datetime(2024, 1, 2, tzinfo=UTC),
}
_LETTERS: dict[str, Kinds] = {
    "f": frozenset({FLOAT}),
    "i": frozenset({INT}),
    "u": frozenset({UINT}),
    "s": frozenset({STRING}),
    "t": frozenset({TIME}),
    "l": frozenset({STRINGS}),
    "d": frozenset({INT}),
    "n": frozenset({FLOAT, INT, UINT}),
}
"""Of the signatures of functions and methods; any other letter takes anything."""
_SELECTORS = {MAP: STRING, ARRAY: INT, STRINGS: INT}
_EITHER = frozenset({True, False})
_NEVER = frozenset({False})


@dataclass(frozen=True, slots=True)
class Yield:
    kinds: Kinds
    """Empty if it always fails."""
    truths: frozenset[bool] = _EITHER
    """What it can be if it is a boolean."""

    @property
    def can_hold(self) -> bool:
        return BOOL in self.kinds and True in self.truths

    @property
    def name(self) -> str:
        """For messages; empty if it is not of one kind."""
        return kind_name(_SAMPLES[next(iter(self.kinds))]) if len(self.kinds) == 1 else ""


FAILS = Yield(frozenset())
ANYTHING = Yield(frozenset(KINDS.values()))
_BOOLEAN = Yield(frozenset({BOOL}))
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
        result = _operate(node.op, left.kinds, right.kinds)
        if not result.kinds:
            return self._fails(node, f"{_sides(node.op, left, right)} always fails")
        if result.kinds == {BOOL} and not result.can_hold:
            message = f"{_sides(node.op, left, right)} is never true: they are of different kinds"
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
        return Yield(_BOOLEAN.kinds, frozenset(truths)) if truths else FAILS

    def _path(self, node: Member | Index) -> Yield:
        key = constant_key(node)
        match node.base:
            case Root(name="Event") if key is not None and key != "data":
                return Yield(_LETTERS["s"]) if key in attributes.ATTRIBUTES else _ATTRIBUTE
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
            return Yield(_LETTERS["t"])
        signature = functions.FUNCTIONS[name][0] if name in functions.FUNCTIONS else None
        if signature is None:
            return ANYTHING
        if problem := _misfit(name, signature, node.args, given):
            return self._fails(node, f"{problem}: this always fails")
        if name == "IsNil":
            return self._is_nil(node, given[0])
        return _result(name, signature)

    def _is_nil(self, node: Call, given: Yield) -> Yield:
        if not given.kinds & {ARRAY, MAP, STRINGS, TIME}:
            return self._fails(node, "IsNil fails for anything but arrays, maps and times")
        self._report(node, "IsNil is never true: it is false or, for null and what is missing, fails", "")
        return Yield(_BOOLEAN.kinds, _NEVER)

    def _method(self, node: Method) -> Yield:
        base, given = self.of(node.base), [self.of(item) for item in node.args]
        if not base.kinds or not all(item.kinds for item in given):
            return FAILS
        fitting = {kind: signature for kind in base.kinds if (signature := _signature(kind, node.name)) is not None}
        if not fitting:
            return self._fails(node, f"{base.name or 'this value'} has no method {node.name}: this always fails")
        problems = [_misfit(node.name, signature, node.args, given) for signature in fitting.values()]
        if not all(problems) and node.name == "In" and given and STRING not in given[0].kinds:
            problems = ["In takes strings"]
        if all(problems):
            return self._fails(node, f"{problems[0]}: this always fails")
        return _method_result(node.name)


@cache
def _operate(op: str, left: Kinds, right: Kinds) -> Yield:
    found = [_operate_on(op, first, second) for first, second in product(left, right)]
    kinds = frozenset().union(*(item.kinds for item in found))
    return Yield(kinds, frozenset().union(*(item.truths for item in found if BOOL in item.kinds)))


def _operate_on(op: str, left: int, right: int) -> Yield:
    helper = operators.ARITHMETIC.get(op) or operators.COMPARISONS[op]
    value = helper(_SAMPLES[left], _SAMPLES[right])
    if type(value) is Failure:
        return FAILS
    if op in operators.COMPARISONS:
        numbers = {FLOAT, INT, UINT}
        alike = left == right or {left, right} <= numbers
        return Yield(_BOOLEAN.kinds, _EITHER if alike else frozenset({value}))
    return Yield(frozenset({KINDS[type(value)]}))


def _sides(op: str, left: Yield, right: Yield) -> str:
    if left.name and right.name:
        return f"{left.name} {op} {right.name}"
    return f"{left.name} on the left of {op}" if left.name else f"{right.name or 'this'} on the right of {op}"


def _misfit(name: str, signature: str, nodes: Sequence[Node], given: Sequence[Yield]) -> str:
    """Why these arguments never fit; empty if they may."""
    wanted = signature[0] * len(given) if signature.endswith("*") else signature
    if len(wanted) != len(given):
        return f"{name} takes {len(wanted) or 'no'} argument{'' if len(wanted) == 1 else 's'}, not {len(given)}"
    for letter, node, item in zip(wanted, nodes, given, strict=True):
        fits = _LETTERS.get(letter)
        if fits is not None and not item.kinds & fits:
            return f"{name} takes {_wanted(letter)} here, not {_offered(letter, node, item)}"
    return ""


def _wanted(letter: str) -> str:
    names = {"f": "a float", "i": "an integer", "u": "a uint64", "n": "a number", "l": "a Split", "d": "a Sub"}
    return names.get(letter) or kind_name(_SAMPLES[next(iter(_LETTERS[letter]))])


def _offered(letter: str, node: Node, item: Yield) -> str:
    if letter == "f" and isinstance(node, Const) and isinstance(node.value, Int64):
        return f"an integer (write {int(node.value)}.0)"
    return item.name or "this"


@cache
def _result(name: str, signature: str) -> Yield:
    arguments = [_SAMPLES[next(iter(_LETTERS.get(letter, {FLOAT})))] for letter in signature.rstrip("*")]
    value = functions.call_function(name, *arguments)
    return ANYTHING if type(value) is Failure else Yield(frozenset({KINDS[type(value)]}))


def _signature(kind: int, name: str) -> str | None:
    """Of a method of values of a kind; None if they have no such method."""
    if kind == STRING:
        return methods.string_signature(name)
    if name == "Len":
        return "" if kind in (ARRAY, STRINGS, MAP) else None
    if name == "Append":
        return "x*" if kind in (ARRAY, STRINGS) else None
    return gotime.METHODS[name][0] if kind == TIME and name in gotime.METHODS else None


@cache
def _method_result(name: str) -> Yield:
    found = frozenset().union(*_method_kinds(name))
    return Yield(found) if found else ANYTHING


def _method_kinds(name: str) -> Iterator[Kinds]:
    for kind, sample in _SAMPLES.items():
        signature = _signature(kind, name)
        if signature is None:
            continue
        arguments = [_SAMPLES[next(iter(_LETTERS.get(letter, {STRING})))] for letter in signature.rstrip("*")]
        for origin in (methods.OWN, methods.DERIVED):
            value = methods.call_method(sample, name, origin, *arguments)
            # A sample may be an unfit one; then nothing is known.
            yield ANYTHING.kinds if type(value) is Failure else frozenset({KINDS[type(value)]})
