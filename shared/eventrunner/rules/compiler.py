"""From rules to Python functions: one per condition and `then` block, and for events the screen in front of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from eventrunner.rules.actions import Actions
from eventrunner.rules.analysis import dirtied_by
from eventrunner.rules.budget import OverBudget
from eventrunner.rules.context import NOTHING, EventContext, Program
from eventrunner.rules.cycle import plans_of
from eventrunner.rules.emitter import Constants, Function
from eventrunner.rules.equality import EqualityIndex, Key, keys_of
from eventrunner.rules.errors import Problem, ProblemKind, RuleSyntaxError
from eventrunner.rules.event_facts import EventFacts, extension
from eventrunner.rules.expressions import HELPERS, Expressions, Facts
from eventrunner.rules.limits import Limits
from eventrunner.rules.nodes import Rule
from eventrunner.rules.screen import screen_source
from eventrunner.rules.values import UNREADABLE

__all__ = [
    "ACTION_LOCALS",
    "CONDITION_LOCALS",
    "action_source",
    "by_salience",
    "compile_event_rules",
    "condition_source",
    "define",
    "event_namespace",
    "execute",
    "guarded",
    "program_of",
    "with_plans",
    "with_view",
]

Run: TypeAlias = Callable[[EventContext, int], Any]

CONDITION_LOCALS = {
    "event": "event = ctx.event",
    "s": "s = ctx.view or ctx.load()",
    "tenant": "tenant = ctx.tenant",
    "out": "out = ctx.out",
}
ACTION_LOCALS = {**CONDITION_LOCALS, "out": "out = ctx.own_out()"}


def by_salience(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Highest salience first, equal ones in the order of definition."""
    return tuple(sorted(rules, key=lambda rule: -rule.salience))


def condition_source(
    rules: tuple[Rule, ...], constants: Constants, facts: Facts, prologue: Mapping[str, str], *, may_act: bool = False
) -> list[str]:
    """`condition<n>(ctx)` of each rule, which returns a value or a Failure."""
    lines: list[str] = []
    for number, rule in enumerate(rules):
        function = Function()
        code = Expressions(constants, facts, function, may_act=may_act).value(rule.when)
        function.lines.append(f"return {code.text}")
        lines += define(f"condition{number}", function, prologue)
    return lines


def action_source(
    rules: tuple[Rule, ...], constants: Constants, facts: Facts, prologue: Mapping[str, str]
) -> list[str]:
    """`action<n>(ctx)` of each rule, which raises ActionFailed."""
    bits = {rule.name: 1 << number for number, rule in enumerate(rules)}
    lines: list[str] = []
    for number, rule in enumerate(rules):
        function = Function()
        actions = Actions(constants, facts, function, bits, rule.name)
        for statement in rule.then:
            actions.statement(statement)
        lines += define(f"action{number}", function, prologue)
    return lines


def define(name: str, function: Function, prologue: Mapping[str, str]) -> list[str]:
    start = [line for need, line in prologue.items() if need in function.needs and line]
    # Retracting a rule that is not there leaves no line.
    return [f"def {name}(ctx):", *(f"    {line}" for line in [*start, *function.lines] or ["pass"])]


def program_of(
    rules: tuple[Rule, ...], namespace: Mapping[str, Any], limits: Limits, clock: Callable[[], datetime]
) -> Program:
    """The program of rules in the order of their numbers, whose functions the namespace defines."""
    return Program(
        names=tuple(rule.name for rule in rules),
        bits={rule.name: 1 << number for number, rule in enumerate(rules)},
        conditions=tuple(namespace[f"condition{number}"] for number in range(len(rules))),
        actions=tuple(namespace[f"action{number}"] for number in range(len(rules))),
        dirties=tuple(dirtied_by(rules)),
        limits=limits,
        clock=clock,
    )


def compile_event_rules(
    rules: Sequence[Rule], limits: Limits, clock: Callable[[], datetime], run: Run
) -> tuple[Callable[[Any, Mapping[str, Any]], Any], Program]:
    """The function that takes an event and a tenant through the rules, and the program that it uses.

    Raises RuleSyntaxError if they nest too deep.
    """
    ordered = by_salience(rules)
    namespace = event_namespace() | {"run": run}
    constants = Constants(namespace)
    facts = EventFacts(constants)
    keys: list[Key] = []
    execute(guarded(lambda: _event_source(ordered, constants, facts, keys)), namespace)
    program = with_view(program_of(ordered, namespace, limits, clock), facts)
    indexes = tuple(key.index(namespace[f"value{number}"]) for number, key in enumerate(keys))
    program = with_plans(program, indexes)
    _connect(namespace, program, run)
    screen: Callable[[Any, Mapping[str, Any]], Any] = namespace["screen"]
    return screen, program


def event_namespace() -> dict[str, Any]:
    """What the generated functions of rules on events call."""
    return {**HELPERS, "extension": extension, "bisect": bisect_right, "EMPTY": NOTHING}


def with_view(program: Program, facts: EventFacts) -> Program:
    """The program with the decoder of the fields that its conditions read."""
    view_type = facts.view_type()
    decode = msgspec.json.Decoder(view_type).decode
    return replace(program, slots=facts.fields, view_type=view_type, decode=decode)


def with_plans(program: Program, indexes: Sequence[EqualityIndex]) -> Program:
    """The program with what to evaluate after each firing; what the indexes hold is looked up instead."""
    masks = tuple(1 << number for number in range(len(program.names)))
    return replace(program, masks=masks, plans=plans_of(program.dirties, indexes))


def _event_source(rules: tuple[Rule, ...], constants: Constants, facts: EventFacts, keys: list[Key]) -> list[str]:
    """Fills `keys` with what the functions `value<n>(ctx)` are the values of."""
    lines = screen_source(rules, constants, facts) + condition_source(rules, constants, facts, CONDITION_LOCALS)
    keys += keys_of(rules, constants, facts)
    for number, key in enumerate(keys):
        key.function.lines.append(f"return {key.text}")
        lines += define(f"value{number}", key.function, CONDITION_LOCALS)
    facts.complete = True
    return lines + action_source(rules, constants, facts, ACTION_LOCALS)


def _connect(namespace: dict[str, Any], program: Program, run: Run) -> None:
    """Gives the screen what it calls outside of itself."""
    decode, view_type = program.decode, program.view_type

    def load(event: Any) -> Any:
        try:
            return decode(event.data)
        except UNREADABLE:
            return view_type()

    def fire(event: Any, tenant: Mapping[str, Any], view: Any, matching: int) -> Any:
        return run(EventContext(program, event=event, tenant=tenant, view=view), matching)

    def evaluate_others(
        event: Any, tenant: Mapping[str, Any], view: Any, matching: int, numbers: tuple[int, ...]
    ) -> tuple[EventContext, int]:
        ctx = EventContext(program, event=event, tenant=tenant, view=view)
        for number in numbers:
            try:
                if program.conditions[number](ctx) is True:
                    matching |= 1 << number
            except OverBudget:
                raise
            except Exception:
                # As Grule recovers from a panic: the rule does not match.
                continue
        return ctx, matching

    namespace.update(load=load, fire=fire, evaluate_others=evaluate_others)


def execute(lines: list[str], namespace: dict[str, Any]) -> None:
    """Defines generated functions. The lines come from checked nodes: names are mangled, strings are constants."""
    exec(compile("\n".join(lines), "<rules>", "exec"), namespace)  # noqa: S102


def guarded(generate: Callable[[], list[str]]) -> list[str]:
    try:
        return generate()
    except RecursionError:
        message = "the conditions nest too deep"
        raise RuleSyntaxError.of([Problem("rules", 1, 1, message, "", kind=ProblemKind.LIMIT)]) from None
