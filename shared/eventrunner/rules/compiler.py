"""From rules to Python functions: one per condition and `then` block, and for events the screen in front of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from eventrunner.rules.actions import Actions
from eventrunner.rules.analysis import dirtied_by
from eventrunner.rules.context import EventContext, Program
from eventrunner.rules.emitter import Constants, Function
from eventrunner.rules.errors import Problem, ProblemKind, RuleSyntaxError
from eventrunner.rules.event_facts import EventFacts, extension
from eventrunner.rules.expressions import HELPERS, Expressions, Facts
from eventrunner.rules.limits import Limits
from eventrunner.rules.nodes import Rule
from eventrunner.rules.screen import screen_source
from eventrunner.rules.values import ActionFailed, Failure

__all__ = ["by_salience", "compile_event_rules", "compile_functions"]

_EVENT_LOCALS = {
    "event": "event = ctx.event",
    "s": "s = ctx.load()",
    "tenant": "tenant = ctx.tenant",
    "out": "out = ctx.out",
}


def by_salience(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Highest salience first, equal ones in the order of definition."""
    return tuple(sorted(rules, key=lambda rule: -rule.salience))


def compile_functions(
    rules: tuple[Rule, ...], constants: Constants, facts: Facts, prologue: Mapping[str, str]
) -> list[str]:
    """The source of `condition<n>(ctx)`, which returns a value or Failure, and `action<n>(ctx)` of each rule."""
    bits = {rule.name: 1 << number for number, rule in enumerate(rules)}
    lines: list[str] = []
    for number, rule in enumerate(rules):
        condition = Function()
        code = Expressions(constants, facts, condition).value(rule.when)
        condition.lines.append(f"return {code.text}")
        lines += _define(f"condition{number}", condition, prologue)
        action = Function()
        actions = Actions(constants, facts, action, bits)
        for statement in rule.then:
            actions.statement(statement)
        lines += _define(f"action{number}", action, prologue)
    return lines


def _define(name: str, function: Function, prologue: Mapping[str, str]) -> list[str]:
    start = [line for need, line in prologue.items() if need in function.needs and line]
    return [f"def {name}(ctx):", *(f"    {line}" for line in (*start, *function.lines))]


def compile_event_rules(
    rules: Sequence[Rule],
    limits: Limits,
    clock: Callable[[], datetime],
    run: Callable[[EventContext, int], Any],
) -> Callable[[Any, Mapping[str, Any]], Any]:
    """The function that takes an event and a tenant through the rules. Raises RuleSyntaxError if they nest too deep."""
    ordered = by_salience(rules)
    namespace: dict[str, Any] = {**HELPERS, "extension": extension, "given": _given, "EMPTY": {}, "run": run}
    constants = Constants(namespace)
    facts = EventFacts(constants)
    lines = _guarded(
        lambda: [
            *screen_source(ordered, constants, facts),
            *compile_functions(ordered, constants, facts, _EVENT_LOCALS),
        ]
    )
    view_type = facts.view_type()
    decode = msgspec.json.Decoder(view_type).decode
    execute(lines, namespace)
    program = Program(
        tuple(rule.name for rule in ordered),
        {rule.name: 1 << number for number, rule in enumerate(ordered)},
        tuple(namespace[f"condition{number}"] for number in range(len(ordered))),
        tuple(namespace[f"action{number}"] for number in range(len(ordered))),
        tuple(dirtied_by(ordered)),
        limits,
        clock,
        facts.fields,
        view_type,
        decode,
    )
    _connect(namespace, program, run)
    screen: Callable[[Any, Mapping[str, Any]], Any] = namespace["screen"]
    return screen


def _connect(namespace: dict[str, Any], program: Program, run: Callable[[EventContext, int], Any]) -> None:
    """Gives the screen what it calls outside of itself."""
    decode, view_type = program.decode, program.view_type

    def load(event: Any) -> Any:
        try:
            return decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
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
            except Exception:
                # As Grule recovers from a panic: the rule does not match.
                continue
        return ctx, matching

    namespace.update(load=load, fire=fire, evaluate_others=evaluate_others)


def execute(lines: list[str], namespace: dict[str, Any]) -> None:
    """Defines generated functions. The lines come from checked nodes: names are mangled, strings are constants."""
    exec(compile("\n".join(lines), "<rules>", "exec"), namespace)  # noqa: S102


def _guarded(generate: Callable[[], list[str]]) -> list[str]:
    try:
        return generate()
    except RecursionError:
        message = "the conditions nest too deep"
        raise RuleSyntaxError.of([Problem("rules", 1, 1, message, "", kind=ProblemKind.LIMIT)]) from None


def _given(value: Any) -> None:
    if type(value) is Failure:
        raise ActionFailed(value.message)
