"""Rule sets on events: compiled once, evaluated for each event."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from eventrunner.rules.checks import check_event_rules
from eventrunner.rules.compiler import compile_event_rules
from eventrunner.rules.context import NOTHING, Context, Emitted, EventContext, Program
from eventrunner.rules.errors import ProblemKind, RuleSyntaxError
from eventrunner.rules.limits import Limits
from eventrunner.rules.nodes import Rule
from eventrunner.rules.parser import Source, parse
from eventrunner.rules.values import ActionFailed, Failure

__all__ = ["RuleFailure", "RuleSet", "Verdict", "combine", "compile_rules", "local_now"]

_MANY = 64
"""Firings after which data is measured before it is encoded, as it may have grown."""
_CLOCK_EVERY = 32
"""Firings between two looks at the clock."""


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
    problems = check_event_rules(rules, Source(text, name))
    if problems:
        raise RuleSyntaxError.of(problems[: limits.problems])
    return RuleSet(rules, limits, clock)


def combine(rule_sets: Iterable[RuleSet]) -> RuleSet:
    """One rule set of several, whose rules see each other. Raises RuleSyntaxError if two rules have the same name."""
    sets = list(rule_sets)
    rules = [rule for item in sets for rule in item.rules]
    problems = []
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.name in seen:
            message = f"rule {rule.name} is defined in {seen[rule.name]} too"
            problems.append(Source("", rule.resource).problem(0, message, kind=ProblemKind.DUPLICATE_RULE))
        seen[rule.name] = rule.resource
    if problems:
        raise RuleSyntaxError.of(problems)
    first = sets[0] if sets else RuleSet((), Limits(), local_now)
    return RuleSet(rules, first.limits, first.clock)


class RuleSet:
    """Safe to share between threads: an evaluation keeps its state to itself."""

    __slots__ = ("_screen", "clock", "conditions", "limits", "names", "program", "rules")

    def __init__(self, rules: Sequence[Rule], limits: Limits, clock: Callable[[], datetime]) -> None:
        self.rules, self.limits, self.clock = tuple(rules), limits, clock
        self.conditions = len(self.rules)
        """Conditions that an evaluation which returns None has evaluated."""
        self.names = tuple(rule.name for rule in self.rules)
        self._screen, self.program = compile_event_rules(self.rules, limits, clock, run)

    def evaluate(self, event: Any, tenant: Mapping[str, Any]) -> Verdict | None:
        """Runs the rules on an event, which is not changed. None if no rule fired.

        The event needs the attributes of a CloudEvent, `extensions` (a map or None) and `data` (JSON bytes).
        """
        verdict: Verdict | None = self._screen(event, tenant)
        return verdict

    def evaluate_batch(self, events: Iterable[Any], tenant: Mapping[str, Any]) -> list[Verdict | None]:
        screen = self._screen
        return [screen(event, tenant) for event in events]


def run(ctx: EventContext, matching: int) -> Verdict:
    """Fires the matching rules until none is left."""
    program = ctx.program
    fired: list[int] = []
    evaluated, error = _cycle(ctx, program, matching, fired)
    data = None
    if ctx.data_changed:
        ctx.large = ctx.large or len(fired) > _MANY
        try:
            data = b"" if type(ctx.document) is Failure else ctx.encode(ctx.document)
        except ActionFailed as failed:
            error = error or RuleFailure(program.names[fired[-1]] if fired else "", str(failed))
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


def _cycle(ctx: EventContext, program: Program, matching: int, fired: list[int]) -> tuple[int, RuleFailure | None]:
    evaluated = len(program.names)
    deadline = 0.0
    while live := matching & ~ctx.retracted:
        number = (live & -live).bit_length() - 1
        cycles = len(fired)
        if cycles >= program.limits.cycles:
            message = f"still matching after {cycles} firings: does it retract itself?"
            return evaluated, RuleFailure(program.names[number], message)
        if cycles % _CLOCK_EVERY == _CLOCK_EVERY - 1:
            deadline = deadline or time.monotonic() + program.limits.seconds
            if time.monotonic() > deadline:
                message = f"over the time limit of {program.limits.seconds} s"
                return evaluated, RuleFailure(program.names[number], message)
        try:
            program.actions[number](ctx)
        except Exception as error:
            return evaluated, RuleFailure(program.names[number], reason(error))
        fired.append(number)
        if ctx.complete:
            break
        dirty = (program.dirties[number] | ctx.dirty if not ctx.shared else -1) & ~ctx.retracted
        if dirty:
            ctx.dirty = 0
            matching, count = evaluate_again(ctx, matching, dirty)
            evaluated += count
    return evaluated, None


def reason(error: Exception) -> str:
    """Why an action failed. Grule recovers from any panic of an action, so any exception counts as one."""
    return str(error) if isinstance(error, ActionFailed) else f"{type(error).__name__}: {error}"


def evaluate_again(ctx: Context, matching: int, dirty: int) -> tuple[int, int]:
    """Evaluates the conditions of a mask. Returns the new matching rules and how many were evaluated."""
    conditions = ctx.program.conditions
    dirty &= (1 << len(conditions)) - 1
    matching &= ~dirty
    count = 0
    while dirty:
        bit = dirty & -dirty
        if holds(ctx, conditions[bit.bit_length() - 1]):
            matching |= bit
        dirty ^= bit
        count += 1
    return matching, count


def holds(ctx: Context, condition: Callable[[Any], Any]) -> bool:
    """A condition that fails, in whatever way, does not hold."""
    try:
        return condition(ctx) is True
    except Exception:
        return False
