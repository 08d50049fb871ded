"""What operators, functions and methods make of kinds of values, found out by calling them with one value of each kind,
so that it cannot differ from what is evaluated. An answer may be too generous, never too narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import product
from typing import Any, TypeAlias

from eventrunner.rules import functions, gotime, methods, operators
from eventrunner.rules.nodes import Const, Node
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

__all__ = [
    "ANYTHING",
    "BOOLEAN",
    "FAILS",
    "NEVER",
    "Yield",
    "function_result",
    "method_result",
    "method_signature",
    "misfit",
    "operate",
    "sides",
]

Kinds: TypeAlias = frozenset[int]

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
_EITHER = frozenset({True, False})
NEVER = frozenset({False})


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
BOOLEAN = Yield(frozenset({BOOL}))


@cache
def operate(op: str, left: Kinds, right: Kinds) -> Yield:
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
        return Yield(BOOLEAN.kinds, _EITHER if alike else frozenset({value}))
    return Yield(frozenset({KINDS[type(value)]}))


def sides(op: str, left: Yield, right: Yield) -> str:
    if left.name and right.name:
        return f"{left.name} {op} {right.name}"
    return f"{left.name} on the left of {op}" if left.name else f"{right.name or 'this'} on the right of {op}"


def misfit(name: str, signature: str, nodes: Sequence[Node], given: Sequence[Yield]) -> str:
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
def function_result(name: str, signature: str) -> Yield:
    arguments = [_SAMPLES[next(iter(_LETTERS.get(letter, {FLOAT})))] for letter in signature.rstrip("*")]
    value = functions.call_function(name, *arguments)
    return ANYTHING if type(value) is Failure else Yield(frozenset({KINDS[type(value)]}))


def method_signature(kind: int, name: str) -> str | None:
    """Of a method of values of a kind; None if they have no such method."""
    if kind == STRING:
        return methods.string_signature(name)
    if name == "Len":
        return "" if kind in (ARRAY, STRINGS, MAP) else None
    if name == "Append":
        return "x*" if kind in (ARRAY, STRINGS) else None
    return gotime.METHODS[name][0] if kind == TIME and name in gotime.METHODS else None


@cache
def method_result(name: str) -> Yield:
    found = frozenset().union(*_method_kinds(name))
    return Yield(found) if found else ANYTHING


def _method_kinds(name: str) -> Iterator[Kinds]:
    for kind, sample in _SAMPLES.items():
        signature = method_signature(kind, name)
        if signature is None:
            continue
        arguments = [_SAMPLES[next(iter(_LETTERS.get(letter, {STRING})))] for letter in signature.rstrip("*")]
        for origin in (methods.OWN, methods.DERIVED):
            value = methods.call_method(sample, name, origin, *arguments)
            # A sample may be an unfit one; then nothing is known.
            yield ANYTHING.kinds if type(value) is Failure else frozenset({KINDS[type(value)]})
