"""Rules on plain JSON facts: Grule's KnowledgeBase, Execute and FetchMatchingRules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventrunner.rules.compiler import action_source, by_salience, condition_source, execute, guarded, program_of
from eventrunner.rules.context import Context, Program
from eventrunner.rules.cycle import reason
from eventrunner.rules.emitter import Constants
from eventrunner.rules.errors import ProblemKind, RuleSyntaxError
from eventrunner.rules.expressions import HELPERS
from eventrunner.rules.functions import FUNCTIONS_FACT
from eventrunner.rules.json_facts import JsonFacts
from eventrunner.rules.limits import Limits
from eventrunner.rules.nodes import Rule
from eventrunner.rules.parser import parse
from eventrunner.rules.ruleset import local_now
from eventrunner.rules.source import Source
from eventrunner.rules.values import Failure, kind_name

__all__ = ["KnowledgeBase", "Outcome"]

_LOCALS = {"facts": "facts = ctx.variables"}


@dataclass(slots=True)
class Outcome:
    """What an execution did. The facts are changed in place."""

    fired: list[str] = field(default_factory=list)
    cycles: int = 0
    matched: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    eval_failed: list[str] = field(default_factory=list)
    """Rules a condition of which could not be evaluated, in the order of the first time."""
    complete: bool = False
    """`Complete()` was called."""
    error: str | None = None
    """`eval`, `exec` or `max_cycle`."""
    message: str = ""


class KnowledgeBase:
    """Rules of several resources. A resource with an error is refused as a whole; those added before stay."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], datetime] = local_now) -> None:
        self.limits, self.clock = limits or Limits(), clock
        self._rules: dict[str, Rule] = {}
        self._program: Program | None = None

    def add(self, text: str, name: str = "rules.grl") -> None:
        """Raises RuleSyntaxError."""
        rules = parse(text, name, self.limits)
        source = Source(text, name)
        taken = [rule for rule in rules if rule.name in self._rules]
        if taken:
            raise RuleSyntaxError.of(
                source.problem(rule.at, f"rule {rule.name} is defined twice", kind=ProblemKind.DUPLICATE_RULE)
                for rule in taken
            )
        self._rules.update((rule.name, rule) for rule in rules)
        self._program = None

    def remove(self, name: str) -> None:
        """Removes a rule; its name is free again. A rule that is not there is no error."""
        self._rules.pop(name, None)
        self._program = None

    def execute(
        self, facts: dict[str, Any], *, max_cycle: int | None = None, strict: bool = False, complete: bool = False
    ) -> Outcome:
        """Fires rules until none matches. `strict` ends with the first condition that cannot be evaluated.

        `complete` says that an earlier execution on the facts called `Complete()`, which Grule never forgets.
        """
        session = self._session(facts, strict)
        session.ctx.complete = complete
        return session.run(self.limits.cycles if max_cycle is None else max_cycle)

    def match(self, facts: dict[str, Any], *, strict: bool = False) -> Outcome:
        """Only finds the rules that match, highest salience first."""
        session = self._session(facts, strict)
        matching = session.evaluate(session.everything)
        if session.outcome.error is None:
            session.outcome.matched = session.names_of(matching)
        return session.finish()

    def _session(self, facts: dict[str, Any], strict: bool) -> _Session:
        # Grule keeps its functions under this name, in place of any fact.
        facts.pop(FUNCTIONS_FACT, None)
        if self._program is None:
            self._program = self._compile(by_salience(list(self._rules.values())))
        return _Session(self._program, facts, strict)

    def _compile(self, rules: tuple[Rule, ...]) -> Program:
        namespace: dict[str, Any] = dict(HELPERS)
        constants = Constants(namespace)
        facts = JsonFacts(constants)
        lines = guarded(
            lambda: [
                *condition_source(rules, constants, facts, _LOCALS, may_act=True),
                *action_source(rules, constants, facts, _LOCALS),
            ]
        )
        execute(lines, namespace)
        return program_of(rules, namespace, self.limits, self.clock)


class _Session:
    def __init__(self, program: Program, facts: dict[str, Any], strict: bool) -> None:
        self.program, self.strict = program, strict
        self.ctx = Context(program, facts)
        self.outcome = Outcome()
        self.everything = (1 << len(program.names)) - 1

    def names_of(self, mask: int) -> list[str]:
        return [name for number, name in enumerate(self.program.names) if mask >> number & 1]

    def finish(self) -> Outcome:
        self.outcome.logs = self.ctx.logs or []
        self.outcome.complete = self.ctx.complete
        return self.outcome

    def run(self, max_cycle: int) -> Outcome:
        # A rule that a condition retracts is still a candidate of this cycle.
        retracted = 0
        matching = self.evaluate(self.everything)
        while self.outcome.error is None and (live := matching & ~retracted):
            self.outcome.cycles += 1
            number = (live & -live).bit_length() - 1
            if self.outcome.cycles > max_cycle:
                self._fail("max_cycle", f"rules still match after {max_cycle} cycles")
                break
            dirty = self._fire(number)
            if self.ctx.complete:
                break
            # A strict execution evaluates all, as any condition may fail at any time.
            dirty = self.everything if self.strict else dirty
            retracted = self.ctx.retracted
            matching = matching & ~dirty | self.evaluate(dirty & ~retracted)
        return self.finish()

    def _fire(self, number: int) -> int:
        """Fires a rule. Returns the conditions to evaluate again."""
        self.outcome.fired.append(self.program.names[number])
        self.ctx.dirty = 0
        try:
            self.program.actions[number](self.ctx)
        except Exception as error:
            self._fail("exec", f"error while executing rule {self.program.names[number]}: {reason(error)}")
        if self.ctx.shared:
            return self.everything
        return (self.program.dirties[number] | self.ctx.dirty) & self.everything

    def evaluate(self, mask: int) -> int:
        """The rules of a mask whose conditions hold."""
        matching = 0
        if self.outcome.error is not None:
            return 0
        for number, condition in enumerate(self.program.conditions):
            if not mask >> number & 1:
                continue
            value = self._value(condition)
            if value is True:
                matching |= 1 << number
            elif value is not False:
                self._note_failure(self.program.names[number], value)
                if self.strict:
                    return 0
        return matching

    def _value(self, condition: Callable[[Any], Any]) -> Any:
        try:
            return condition(self.ctx)
        except Exception as error:
            # As Grule recovers from a panic: the rule does not match.
            return Failure(reason(error))

    def _note_failure(self, name: str, value: Any) -> None:
        if name not in self.outcome.eval_failed:
            self.outcome.eval_failed.append(name)
        if self.strict:
            message = value.message if type(value) is Failure else f"{kind_name(value)} is not a boolean"
            self._fail("eval", f"rule {name}: {message}")

    def _fail(self, error: str, message: str) -> None:
        self.outcome.error, self.outcome.message = error, message
