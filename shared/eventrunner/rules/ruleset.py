"""Rule sets on events: compiled once, evaluated for each event."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from eventrunner.rules.budget import Budget, OverBudget
from eventrunner.rules.checks import check_event_rules
from eventrunner.rules.compiler import compile_event_rules
from eventrunner.rules.context import NOTHING, Emitted, EventContext
from eventrunner.rules.cycle import fire_all
from eventrunner.rules.errors import Problem, ProblemKind, RuleSyntaxError
from eventrunner.rules.limits import Limits
from eventrunner.rules.nodes import Assign, Binary, Call, Method, Rule, Statement, walk
from eventrunner.rules.parser import parse
from eventrunner.rules.source import Source
from eventrunner.rules.values import ActionFailed, Failure

__all__ = ["RuleFailure", "RuleSet", "Verdict", "combine", "compile_rules", "local_now"]

_QUICK = frozenset({"Retract", "Complete", "Changed", "Forget", "Log", "Drop", "Tag", "RouteTo", "Emit", "Now"})
"""What is emitted is bounded by its size."""
_MANY = 64
"""Firings after which data is measured before it is encoded, as it may have grown."""


class RuleFailure(msgspec.Struct, frozen=True):
    """Why the rules of an event were not carried through. What was done before stays done."""

    rule: str
    message: str


class Verdict(msgspec.Struct):
    """What the rules made of an event."""

    fired: tuple[str, ...]
    """Rules in the order of their firing."""
    data: bytes | None
    """The event's data if a rule changed it."""
    attributes: Mapping[str, Any]
    """Changed attributes; None for a removed one."""
    emitted: Sequence[Emitted]
    dropped: str | None
    """The reason if a rule dropped the event."""
    tags: Mapping[str, str]
    route: str | None
    evaluated: int
    """Conditions evaluated."""
    error: RuleFailure | None = None
    logs: Sequence[str] = ()


def local_now() -> datetime:
    return datetime.now().astimezone()


def compile_rules(
    text: str,
    *,
    name: str = "rules.grl",
    limits: Limits | None = None,
    clock: Callable[[], datetime] = local_now,
) -> RuleSet:
    """Compiles GRL text. Raises RuleSyntaxError with every problem found."""
    limits = limits or Limits()
    rules = parse(text, name, limits)
    problems = check_event_rules(rules, Source(text, name), limits.problems)
    if problems:
        raise RuleSyntaxError.of(problems)
    return RuleSet(rules, limits, clock)


def combine(rule_sets: Iterable[RuleSet]) -> RuleSet:
    """One rule set of several, whose rules see each other.

    Raises RuleSyntaxError if two rules have the same name, or if there are more than one set may have.
    """
    sets = list(rule_sets)
    rules = [rule for item in sets for rule in item.rules]
    first = sets[0] if sets else RuleSet((), Limits(), local_now)
    problems = list(_clashes(rules))
    if len(rules) > first.limits.rules:
        message = f"more than {first.limits.rules} rules together with those of the other sets"
        problems.append(Source("", rules[-1].resource).problem(0, message, kind=ProblemKind.LIMIT))
    if problems:
        raise RuleSyntaxError.of(problems)
    return RuleSet(rules, first.limits, first.clock)


def _clashes(rules: Sequence[Rule]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.name in seen:
            message = f"rule {rule.name} is defined in {seen[rule.name]} too"
            yield Source("", rule.resource).problem(0, message, kind=ProblemKind.DUPLICATE_RULE)
        seen[rule.name] = rule.resource


class RuleSet:
    """Safe to share between threads: an evaluation keeps its state to itself."""

    __slots__ = ("_budget", "_screen", "_slow", "clock", "conditions", "limits", "names", "program", "rules")

    def __init__(self, rules: Sequence[Rule], limits: Limits, clock: Callable[[], datetime]) -> None:
        self.rules, self.limits, self.clock = tuple(rules), limits, clock
        self.conditions = len(self.rules)
        """Conditions that an evaluation which returns None has evaluated."""
        self.names = tuple(rule.name for rule in self.rules)
        self._budget = Budget(limits.seconds)
        self._slow = any(_may_be_slow(rule.when) for rule in self.rules)
        slow_actions = not self._slow and any(_may_be_slow(item) for rule in self.rules for item in rule.then)
        # Most events pass without an action, and it would cost them as much as the conditions.
        runs = self._run_in_time if slow_actions else run
        self._screen, self.program = compile_event_rules(self.rules, limits, clock, runs)

    def evaluate(self, event: Any, tenant: Mapping[str, Any]) -> Verdict | None:
        """Runs the rules on an event, which is not changed. None if no rule fired.

        The event needs the attributes of a CloudEvent, `extensions` (a map or None) and `data` (JSON bytes).
        """
        verdict: Verdict | None
        if not self._slow:
            verdict = self._screen(event, tenant)
            return verdict
        try:
            with self._budget:
                verdict = self._screen(event, tenant)
                return verdict
        except OverBudget as over:
            message = str(over)
        return self._exhausted(event, tenant, message)

    def _run_in_time(self, ctx: EventContext, matching: int) -> Verdict:
        with self._budget:
            return run(ctx, matching)

    def _exhausted(self, event: Any, tenant: Mapping[str, Any], message: str) -> Verdict:
        """Finds the rule whose condition takes the longest, in as much time again."""
        program = self.program
        ctx = EventContext(program, event=event, tenant=tenant)
        longest, slowest = -1.0, 0
        with self._budget:
            for number, condition in enumerate(program.conditions):
                started = time.monotonic()
                over = _runs_over(condition, ctx)
                if (spent := time.monotonic() - started) > longest:
                    longest, slowest = spent, number
                if over:
                    break
        failure = RuleFailure(program.names[slowest], message)
        return Verdict((), None, NOTHING, (), None, NOTHING, None, len(program.names), failure)


def _runs_over(condition: Callable[[Any], Any], ctx: EventContext) -> bool:
    try:
        condition(ctx)
    except OverBudget:
        return True
    except Exception:
        # Whatever else fails is not what took the time.
        return False
    return False


def _may_be_slow(part: Statement) -> bool:
    """It holds something whose time depends on the size of values; comparing and assigning does not, or hardly."""
    return any(
        isinstance(node, Method) or (isinstance(node, Call) and node.name not in _QUICK) or _joins(node)
        for node in walk(part)
    )


def _joins(node: Statement) -> bool:
    return (isinstance(node, Binary) and node.op == "+") or (isinstance(node, Assign) and node.op == "+=")


def run(ctx: EventContext, matching: int) -> Verdict:
    """Fires the matching rules until none is left."""
    program = ctx.program
    fired: list[int] = []
    evaluated, failed = fire_all(ctx, program, matching, fired)
    error = None if failed is None else RuleFailure(program.names[failed[0]], failed[1])
    data = None
    if ctx.data_changed:
        ctx.large = ctx.large or len(fired) > _MANY
        try:
            data = b"" if type(ctx.document) is Failure else ctx.encode(ctx.document)
        except (ActionFailed, OverBudget) as too_large:
            error = error or RuleFailure(program.names[fired[-1]] if fired else "", str(too_large))
    return Verdict(
        tuple([program.names[number] for number in fired]),
        data,
        ctx.attributes or NOTHING,
        ctx.emitted or (),
        ctx.dropped,
        ctx.tags or NOTHING,
        ctx.route,
        evaluated,
        error,
        ctx.logs or (),
    )
