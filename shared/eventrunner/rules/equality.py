"""Which conditions can hold again after a firing: those that compare one variable with constants are looked up.

A rule with `Event.data.step == 7` among the parts of its condition cannot hold while `step` is anything else. Rules
that compare the same variable form an index; after a firing that changed it, one look-up leaves the few whose
conditions are worth evaluating.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from eventrunner.rules.emitter import Constants, Function
from eventrunner.rules.expressions import Expressions, Facts, conjuncts, is_plain_number
from eventrunner.rules.nodes import Binary, Const, Index, Member, Node, Root, Rule
from eventrunner.rules.values import GoInt, Int64

__all__ = ["EqualityIndex", "Key", "keys_of"]

_LEAST = 4
"""Rules of an index; fewer are evaluated one by one."""


_SCALARS = frozenset({int, float, str, Int64, GoInt})


class Holding(NamedTuple):
    """Rules that can hold when a variable has a value."""

    mask: int
    """Those whose conditions say nothing else: they hold."""
    numbers: tuple[int, ...]
    """The others."""


_NONE = Holding(0, ())


@dataclass(frozen=True, slots=True)
class EqualityIndex:
    value: Callable[[Any], Any]
    """Of the execution's context: the variable."""
    members: int
    """Mask of the rules that compare it."""
    table: Mapping[Any, Holding]
    """By constant."""

    def look_up(self, ctx: Any) -> Holding:
        try:
            value = self.value(ctx)
            found = self.table.get(value, _NONE)
        except Exception:
            # Maps and arrays have no hash and equal no constant.
            return _NONE
        # True finds 1 in a table, and GRL tells them apart.
        return found if type(value) in _SCALARS else Holding(0, found.numbers)


@dataclass(frozen=True, slots=True)
class Key:
    """What an index is made of, before its function exists."""

    function: Function
    text: str
    """The variable in Python."""
    table: Mapping[Any, Sequence[int]]
    """Constant → numbers of rules."""
    alone: int
    """Mask of the rules whose conditions are this comparison."""

    def index(self, value: Callable[[Any], Any]) -> EqualityIndex:
        members = sum(1 << number for numbers in self.table.values() for number in numbers)
        return EqualityIndex(
            value, members, {constant: self._holding(numbers) for constant, numbers in self.table.items()}
        )

    def _holding(self, numbers: Sequence[int]) -> Holding:
        mask = self.alone & sum(1 << number for number in numbers)
        return Holding(mask, tuple(number for number in numbers if not mask >> number & 1))


def keys_of(rules: Sequence[Rule], constants: Constants, facts: Facts) -> list[Key]:
    """Each rule is in at most one, that of the variable that is compared with the most constants."""
    functions: dict[str, Function] = {}
    compared = [_equalities(rule.when, constants, facts, functions) for rule in rules]
    spread: dict[str, set[Any]] = {}
    for constants_of in compared:
        for text, constant in constants_of.items():
            spread.setdefault(text, set()).add(constant)
    tables: dict[str, dict[Any, list[int]]] = {}
    for number, constants_of in enumerate(compared):
        if constants_of:
            text = max(constants_of, key=lambda text: len(spread[text]))
            tables.setdefault(text, {}).setdefault(constants_of[text], []).append(number)
    alone = sum(1 << number for number, rule in enumerate(rules) if _equality(rule.when))
    return [Key(functions[text], text, table, alone) for text, table in tables.items() if _worth_it(table)]


def _worth_it(table: Mapping[Any, Sequence[int]]) -> bool:
    return len(table) > 1 and sum(map(len, table.values())) >= _LEAST


def _equalities(condition: Node, constants: Constants, facts: Facts, functions: dict[str, Function]) -> dict[str, Any]:
    """Variables in Python → the constants that a condition needs them to equal."""
    found: dict[str, Any] = {}
    for part in conjuncts(condition):
        if equality := _equality(part):
            variable, constant = equality
            function = Function()
            text = Expressions(constants, facts, function).value(variable).text
            functions.setdefault(text, function)
            found.setdefault(text, constant)
    return found


def _equality(node: Node) -> tuple[Node, Any] | None:
    """The variable and the constant that a comparison says are equal."""
    if not isinstance(node, Binary) or node.op != "==":
        return None
    for variable, constant in ((node.left, node.right), (node.right, node.left)):
        if isinstance(variable, Root | Member | Index) and isinstance(constant, Const):
            usable = type(constant.value) is str or is_plain_number(constant)
            return (variable, constant.value) if usable else None
    return None
