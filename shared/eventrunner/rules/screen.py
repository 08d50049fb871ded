"""The first look at an event: one generated function that tests all conditions and mostly finds that none holds.

Conditions are split at `&&`. Rules that compare the same variable with different strings are grouped by it, so that
one look-up leaves only those that can hold; a part that several rules share is tested once. Conditions that need more
than the event, its data's fields and the tenant are evaluated by their own functions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from math import inf, nextafter
from operator import xor

from eventrunner.rules.emitter import Constants, Function
from eventrunner.rules.event_facts import EventFacts
from eventrunner.rules.expressions import Expressions, conjuncts, is_plain_number
from eventrunner.rules.nodes import Binary, Const, Node, Rule

__all__ = ["screen_source"]

_FIELD = re.compile(r"s\.f[0-9]+")
_INTERVALS: dict[str, Callable[[float], tuple[float, float]]] = {
    "<": lambda bound: (-inf, bound),
    "<=": lambda bound: (-inf, nextafter(bound, inf)),
    ">": lambda bound: (nextafter(bound, inf), inf),
    ">=": lambda bound: (bound, inf),
    "==": lambda bound: (bound, nextafter(bound, inf)),
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}
_CHAIN = 4
"""Up to so many strings are compared one after the other; more are looked up in a table."""


_SHARED = 64
"""Up to so many shared parts are taken out of the rules of a block, as finding one looks at all of them."""
_DEEPEST = 40
"""Levels of indentation up to which parts are shared; Python takes a hundred."""


@dataclass(frozen=True, slots=True)
class _Test:
    text: str
    """A Python condition."""
    view: bool
    """It reads the data."""
    variable: str = ""
    """For an equality with a constant string: what is compared, and the string."""
    constant: str = ""

    low: float = -inf
    high: float = inf
    number: str = ""
    """For a comparison of a field of the data with a number: the variable, and where it holds: low <= x < high."""


@dataclass(frozen=True, slots=True)
class _Pending:
    bit: int
    tests: tuple[_Test, ...]

    @property
    def number(self) -> str:
        """The variable, if all tests compare one with numbers."""
        variables = {test.number for test in self.tests}
        return variables.pop() if len(variables) == 1 else ""

    def interval(self) -> tuple[float, float]:
        return max(test.low for test in self.tests), min(test.high for test in self.tests)

    def without(self, test: _Test) -> _Pending:
        return _Pending(self.bit, tuple(item for item in self.tests if item != test))


def screen_source(rules: tuple[Rule, ...], constants: Constants, facts: EventFacts) -> list[str]:
    """The lines of `screen(event, tenant)`, which returns what `fire` returns, or None if no condition holds."""
    return _Screen(constants, facts).lines(rules)


class _Screen:
    def __init__(self, constants: Constants, facts: EventFacts) -> None:
        self.constants, self.facts = constants, facts
        self.function = Function()
        self.output: list[str] = []
        self.tables: list[str] = []

    def lines(self, rules: tuple[Rule, ...]) -> list[str]:
        simple: list[_Pending] = []
        others: list[int] = []
        for number, rule in enumerate(rules):
            tests = self._tests(rule.when)
            if tests is None:
                others.append(number)
            else:
                simple.append(_Pending(1 << number, tests))
        self._block(simple, 1, view=False)
        body = ["def screen(event, tenant):", "    m = 0", "    s = None", "    out = EMPTY", *self.output]
        if others:
            numbers = self.constants.name(tuple(others))
            body += ["    ctx, m = evaluate_others(event, tenant, s, m, " + numbers + ")"]
            body += ["    return run(ctx, m) if m else None"]
        else:
            body += ["    return fire(event, tenant, s, m) if m else None"]
        return [*self.tables, *body]

    def _tests(self, condition: Node) -> tuple[_Test, ...] | None:
        """The parts of a condition as Python tests; None if it has to be evaluated by its own function."""
        found: list[_Test] = []
        for part in conjuncts(condition):
            self.function.lines, self.function.needs = [], set()
            text = Expressions(self.constants, self.facts, self.function).test(part)
            if self.function.lines or "ctx" in self.function.needs:
                return None
            variable, constant = self._equality(part)
            low, high, number = self._interval(part)
            if number:
                text = f"(type({number}) is int or type({number}) is float) and {_inside(number, low, high)}"
            found.append(_Test(text, "s" in self.function.needs, variable, constant, low, high, number))
        return tuple(dict.fromkeys(found))

    def _equality(self, part: Node) -> tuple[str, str]:
        match part:
            case Binary(op="==", left=left, right=Const(value=str(value))):
                return Expressions(self.constants, self.facts, Function()).value(left).text, self.constants.name(value)
        return "", ""

    def _interval(self, part: Node) -> tuple[float, float, str]:
        """A comparison of a field with a number as an interval; an empty variable for anything else.

        Values in the data are plain JSON here, so that a field of another type makes each such comparison fail.
        """
        if not isinstance(part, Binary) or part.op not in _INTERVALS:
            return -inf, inf, ""
        variable, constant, op = part.left, part.right, part.op
        if isinstance(variable, Const):
            variable, constant, op = constant, variable, _MIRRORED[op]
        if not isinstance(constant, Const) or not is_plain_number(constant):
            return -inf, inf, ""
        text = Expressions(self.constants, self.facts, Function()).value(variable).text
        if not _FIELD.fullmatch(text):
            return -inf, inf, ""
        return *_INTERVALS[op](float(constant.value)), text

    def _emit(self, indent: int, line: str) -> None:
        self.output.append("    " * indent + line)

    def _load(self, indent: int, view: bool) -> bool:
        """Makes sure that the view is decoded; returns that it is."""
        if not view:
            self._emit(indent, "if s is None: s = load(event)")
        return True

    def _block(self, rules: list[_Pending], indent: int, view: bool) -> None:
        for _ in range(_SHARED if indent < _DEEPEST else 0):
            group = self._common_variable(rules)
            number = "" if group else self._common_number(rules)
            shared = None if group or number else self._common_test(rules)
            if group:
                rules = self._by_constant(rules, group, indent, view)
            elif number:
                rules, view = self._by_number(rules, number, indent, view)
            elif shared:
                rules, view = self._under_test(rules, shared, indent, view)
            else:
                break
        for rule in rules:
            view = self._single(rule, indent, view)

    def _common_variable(self, rules: list[_Pending]) -> str:
        """The variable that most rules compare with a string, if at least two compare it with different ones."""
        constants: dict[str, set[str]] = {}
        counts: Counter[str] = Counter()
        for rule in rules:
            for test in rule.tests:
                if test.variable:
                    counts[test.variable] += 1
                    constants.setdefault(test.variable, set()).add(test.constant)
        for variable, _ in counts.most_common():
            if len(constants[variable]) > 1:
                return variable
        return ""

    def _common_test(self, rules: list[_Pending]) -> _Test | None:
        counts = Counter(test for rule in rules for test in rule.tests)
        if not counts:
            return None
        # Attributes before data: an event whose type no rule names is not decoded.
        test, count = max(counts.items(), key=lambda item: (item[1] > 1, not item[0].view, item[1]))
        return test if count > 1 else None

    def _common_number(self, rules: list[_Pending]) -> str:
        """The variable that alone decides on most rules, if it decides on at least two."""
        counts = Counter(rule.number for rule in rules if rule.number)
        return next((variable for variable, count in counts.most_common(1) if count > 1), "")

    def _by_number(self, rules: list[_Pending], variable: str, indent: int, view: bool) -> tuple[list[_Pending], bool]:
        """The bounds cut the numbers into ranges; bisection finds the range, a table the rules that hold in it."""
        members = [rule for rule in rules if rule.number == variable]
        changes: Counter[float] = Counter()
        for rule in members:
            low, high = rule.interval()
            if low < high:
                changes[low] ^= rule.bit
                changes[high] ^= rule.bit
        bounds = sorted(bound for bound in changes if abs(bound) < inf)
        masks = list(accumulate((changes[bound] for bound in (-inf, *bounds)), xor))
        view = self._load(indent, view)
        name = self.function.temporary()
        self._emit(indent, f"{name} = {variable}")
        self._emit(indent, f"if type({name}) is int or type({name}) is float:")
        ranges = self.constants.name(tuple(map(_whole, bounds)))
        self._emit(indent + 1, f"m |= {self.constants.name(tuple(masks))}[bisect({ranges}, {name})]")
        return [rule for rule in rules if rule.number != variable], view

    def _by_constant(self, rules: list[_Pending], variable: str, indent: int, view: bool) -> list[_Pending]:
        groups: dict[str, list[_Pending]] = {}
        rest: list[_Pending] = []
        reads_view = False
        for rule in rules:
            test = next((test for test in rule.tests if test.variable == variable), None)
            if test is None:
                rest.append(rule)
                continue
            reads_view = reads_view or test.view
            groups.setdefault(test.constant, []).append(rule.without(test))
        if reads_view:
            view = self._load(indent, view)
        name = self.function.temporary()
        self._emit(indent, f"{name} = {variable}")
        if len(groups) <= _CHAIN:
            for number, (constant, members) in enumerate(groups.items()):
                self._emit(indent, f"{'elif' if number else 'if'} {name} == {constant}:")
                self._block(members, indent + 1, view)
        else:
            self._table(groups, name, indent, view)
        return rest

    def _table(self, groups: dict[str, list[_Pending]], name: str, indent: int, view: bool) -> None:
        """Each group becomes a function of its own, found by the string."""
        table = f"table{len(self.tables)}"
        entries: list[str] = []
        needs_view = any(test.view for members in groups.values() for rule in members for test in rule.tests)
        for constant, members in groups.items():
            function = f"{table}_{len(entries)}"
            outer, self.output = self.output, []
            self._block(members, 1, view or needs_view)
            self.tables += [f"def {function}(event, tenant, s, out, m):", *self.output, "    return m"]
            self.output = outer
            entries.append(f"{constant}: {function}")
        self.tables.append(f"{table} = {{{', '.join(entries)}}}")
        found = self.function.temporary()
        self._emit(indent, f"{found} = {table}.get({name}) if type({name}) is str else None")
        self._emit(indent, f"if {found} is not None:")
        if needs_view:
            self._load(indent + 1, view)
        self._emit(indent + 1, f"m = {found}(event, tenant, s, out, m)")

    def _under_test(self, rules: list[_Pending], test: _Test, indent: int, view: bool) -> tuple[list[_Pending], bool]:
        if test.view:
            view = self._load(indent, view)
        self._emit(indent, f"if {test.text}:")
        self._block([rule.without(test) for rule in rules if test in rule.tests], indent + 1, view)
        return [rule for rule in rules if test not in rule.tests], view

    def _single(self, rule: _Pending, indent: int, view: bool) -> bool:
        """One rule's tests. Returns whether the view is decoded for what follows at this level."""
        early = [test.text for test in rule.tests if not test.view]
        late = [test.text for test in rule.tests if test.view]
        inner = indent
        if early:
            self._emit(indent, f"if {' and '.join(early)}:")
            inner += 1
        if late:
            inner_view = self._load(inner, view)
            view = inner_view if inner == indent else view
            self._emit(inner, f"if {' and '.join(late)}:")
            inner += 1
        self._emit(inner, f"m |= {rule.bit}")
        return view


def _inside(variable: str, low: float, high: float) -> str:
    if low == -inf:
        return f"{variable} < {_whole(high)!r}"
    return f"{variable} >= {_whole(low)!r}" if high == inf else f"{_whole(low)!r} <= {variable} < {_whole(high)!r}"


def _whole(bound: float) -> float:
    """Python compares two integers faster than an integer and a float."""
    return int(bound) if bound.is_integer() else bound
