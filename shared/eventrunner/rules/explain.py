"""What the rules do with one event and why: each condition with its parts, each firing with its statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from eventrunner.rules.budget import Budget, OverBudget
from eventrunner.rules.compiler import (
    CONDITION_LOCALS,
    by_salience,
    condition_source,
    event_namespace,
    execute,
    guarded,
    program_of,
    with_plans,
    with_view,
)
from eventrunner.rules.context import EventContext
from eventrunner.rules.cycle import matching_of, reason
from eventrunner.rules.effects import effect_of
from eventrunner.rules.emitter import Constants
from eventrunner.rules.event_facts import EventFacts
from eventrunner.rules.hints import did_you_mean
from eventrunner.rules.nodes import Rule
from eventrunner.rules.probes import Probe, ProbeMaker, Step
from eventrunner.rules.ruleset import RuleSet, Verdict, run
from eventrunner.rules.values import Failure, encode, kind_name

__all__ = ["Condition", "Explanation", "Firing", "Part", "StatementTrace", "explain"]

MAX_FIRINGS = 100
"""Firings shown; further ones are counted."""
_MAX_OTHERS = 20
_MAX_VALUE = 400
SECONDS = 2.0
"""For the parts of conditions, and once more for the firings, in place of the limit that holds without anybody looking
on."""


class Part(msgspec.Struct, omit_defaults=True):
    """An expression and what it yields."""

    text: str
    value: Any = None
    """As JSON; cut to some hundred characters of it if it is long."""
    kind: str = ""
    """`a number`, `an integer` …; empty if it could not be evaluated."""
    error: str = ""
    """Why it could not be evaluated."""
    needed: bool = True
    """False: what stands before it decides already."""
    parts: list[Part] = []


class Condition(msgspec.Struct, omit_defaults=True):
    rule: str
    set: str
    """Name of the text that defines the rule."""
    salience: int
    holds: bool
    when: Part
    description: str = ""


class StatementTrace(msgspec.Struct, omit_defaults=True):
    text: str
    effect: dict[str, Any] = {}
    """`value` that the target has now, or `removed`; `emitted`, `tags`, `dropped`, `route`, `retracted`, `log`,
    `complete`."""
    error: str = ""


class Firing(msgspec.Struct):
    cycle: int
    rule: str
    matching: int
    """Rules whose conditions held."""
    others: list[str]
    """The first of those that did not fire."""
    statements: list[StatementTrace]


class Explanation(msgspec.Struct):
    conditions: list[Condition]
    """Before anything fired, in the order in which matching rules fire."""
    firings: list[Firing]
    not_shown: int
    """Further firings."""
    end: str
    """Why no further rule fired."""
    verdict: Verdict | None


def explain(rules: RuleSet, event: Any, tenant: Mapping[str, Any]) -> Explanation:
    """Evaluates as `RuleSet.evaluate` does, on generated functions of its own, and tells all of it."""
    return _Explainer(rules).explain(event, tenant)


class _Explainer:
    def __init__(self, rules: RuleSet) -> None:
        self._set = rules
        self._budget = Budget(SECONDS)
        self._rules = by_salience(rules.rules)
        self._namespace = event_namespace()
        constants = Constants(self._namespace)
        facts = EventFacts(constants)
        maker = ProbeMaker(constants, facts)
        self._conditions: list[Probe] = []
        self._steps: list[list[Step]] = []
        execute(guarded(lambda: self._source(constants, facts, maker)), self._namespace)
        for number in range(len(self._rules)):
            self._namespace[f"action{number}"] = self._action(number)
        limits = replace(rules.limits, seconds=SECONDS)
        # Without look-ups of conditions, so that each is evaluated.
        self._program = with_plans(with_view(program_of(self._rules, self._namespace, limits, rules.clock), facts), ())
        self._firings: list[Firing] = []
        self._fired = 0

    def _source(self, constants: Constants, facts: EventFacts, maker: ProbeMaker) -> list[str]:
        lines = condition_source(self._rules, constants, facts, CONDITION_LOCALS)
        self._conditions = [maker.condition(rule.when) for rule in self._rules]
        facts.complete = True
        bits = {rule.name: 1 << number for number, rule in enumerate(self._rules)}
        self._steps = [[maker.step(statement, rule, bits) for statement in rule.then] for rule in self._rules]
        return lines + maker.lines

    def explain(self, event: Any, tenant: Mapping[str, Any]) -> Explanation:
        ctx = EventContext(self._program, event=event, tenant=tenant)
        with self._budget:
            conditions = [
                self._condition(ctx, rule, probe) for rule, probe in zip(self._rules, self._conditions, strict=True)
            ]
        try:
            with self._budget:
                matching = self._matching(ctx)
                verdict = run(ctx, matching) if matching else None
        except OverBudget:
            verdict = self._set.evaluate(event, tenant)
            self._fired = len(verdict.fired) if verdict is not None else 0
        return Explanation(conditions, self._firings, self._fired - len(self._firings), _end(ctx, verdict), verdict)

    def _matching(self, ctx: EventContext) -> int:
        return matching_of(ctx, ((1 << len(self._rules)) - 1) & ~ctx.retracted)

    def _condition(self, ctx: EventContext, rule: Rule, probe: Probe) -> Condition:
        when = self._part(ctx, probe)
        return Condition(rule.name, rule.resource, rule.salience, when.value is True, when, rule.description)

    def _part(self, ctx: EventContext, probe: Probe) -> Part:
        value = self._call(ctx, probe.function)
        part = _shown(probe.text, value)
        if part.error and probe.path is not None:
            part.error += _misspelt(ctx, probe.path)
        decided = False
        for item in probe.parts:
            inner = self._part(ctx, item)
            inner.needed = not decided
            decided = decided or (bool(probe.joined) and inner.value is not (probe.joined == "&&"))
            part.parts.append(inner)
        return part

    def _call(self, ctx: EventContext, function: str) -> Any:
        try:
            return self._namespace[function](ctx)
        except Exception as error:
            # As in `holds`: a condition that fails, in whatever way, does not hold.
            return Failure(reason(error))

    def _action(self, number: int) -> Callable[[EventContext], None]:
        def act(ctx: EventContext) -> None:
            self._fired += 1
            traces: list[StatementTrace] = []
            if len(self._firings) < MAX_FIRINGS:
                self._firings.append(self._firing(ctx, number, traces))
            for step in self._steps[number]:
                self._step(ctx, step, traces)

        return act

    def _firing(self, ctx: EventContext, number: int, traces: list[StatementTrace]) -> Firing:
        try:
            mask = self._matching(ctx) & ~(1 << number)
        except OverBudget:
            # Which others match is not worth failing the firing for.
            mask = 0
        others = [rule.name for other, rule in enumerate(self._rules) if mask >> other & 1]
        return Firing(self._fired, self._rules[number].name, len(others) + 1, others[:_MAX_OTHERS], traces)

    def _step(self, ctx: EventContext, step: Step, traces: list[StatementTrace]) -> None:
        trace = StatementTrace(step.text)
        traces.append(trace)
        tags = dict(ctx.tags or {})
        try:
            self._namespace[step.function](ctx)
        except Exception as error:
            trace.error = reason(error)
            raise
        if step.target is None:
            trace.effect = effect_of(step.node, ctx, tags)
            return
        written = _shown("", self._call(ctx, step.target.function))
        trace.effect = {"removed": True} if written.error else {"value": written.value}


def _shown(text: str, value: Any) -> Part:
    if type(value) is Failure:
        return Part(text, error=value.message)
    if isinstance(value, datetime):
        return Part(text, value.isoformat(), "a time")
    try:
        encoded = encode(value)
    except (RecursionError, ValueError, TypeError) as error:
        return Part(text, error=f"it cannot be shown: {reason(error)}")
    if len(encoded) > _MAX_VALUE:
        return Part(text, encoded[:_MAX_VALUE].decode(errors="ignore") + "…", kind_name(value))
    return Part(text, msgspec.json.decode(encoded), kind_name(value))


def _misspelt(ctx: EventContext, path: Sequence[Any]) -> str:
    """A guess which member of the event was meant, for a path that leads nowhere."""
    value: Any = {"Event": ctx.snapshot(), "Tenant": dict(ctx.tenant), "Out": dict(ctx.out)}
    for part in path:
        if type(value) is not dict or not isinstance(part, str):
            return ""
        if part not in value:
            guess = did_you_mean(part, value)
            return f"; {guess}" if guess else ""
        value = value[part]
    return ""


def _end(ctx: EventContext, verdict: Verdict | None) -> str:
    if verdict is None:
        return "no rule matches"
    if verdict.error is not None:
        return f"rule {verdict.error.rule} failed: {verdict.error.message}"
    return "Complete() ended the rules" if ctx.complete else "no further rule matches"
