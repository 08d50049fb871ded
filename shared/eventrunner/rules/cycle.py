"""Firing rules on an event until none matches; after each firing only what it may have changed is evaluated again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eventrunner.rules.budget import OverBudget
from eventrunner.rules.context import EventContext, Program
from eventrunner.rules.equality import EqualityIndex
from eventrunner.rules.values import ActionFailed

__all__ = ["Plan", "fire_all", "matching_of", "plans_of", "reason"]

_CLOCK_EVERY = 16
"""Firings between two looks at the clock."""
_LISTED = 64
"""Conditions that a plan lists; more are taken out of the mask each time, as 5 000 lists of 5 000 would be large."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate after a firing."""

    keep: int
    """Mask of the rules that match as before."""
    numbers: tuple[int, ...]
    """Rules to evaluate."""
    many: int
    """Mask of further rules to evaluate."""
    indexes: tuple[EqualityIndex, ...]
    """Where further rules to evaluate are looked up."""

    def look_up(self, ctx: EventContext) -> tuple[int, Sequence[int]]:
        """Mask of the rules that hold, and numbers of those to evaluate."""
        mask, numbers = 0, self.numbers
        for index in self.indexes:
            found = index.look_up(ctx)
            mask |= found.mask
            numbers += found.numbers
        return mask, [*numbers, *_numbers_in(self.many)] if self.many else numbers


def plans_of(dirties: Sequence[int], indexes: Sequence[EqualityIndex]) -> tuple[Plan | None, ...]:
    """A plan for each rule, None where nothing is to be evaluated, and at the end the plan for when anything may have
    changed."""
    everything = (1 << len(dirties)) - 1
    made: dict[int, Plan | None] = {0: None}
    for mask in (*dirties, everything):
        if mask not in made:
            made[mask] = _plan(mask, everything, indexes)
    return tuple(made[mask] for mask in (*dirties, everything))


def _plan(dirty: int, everything: int, indexes: Sequence[EqualityIndex]) -> Plan:
    # An index of which only some rules are dirty would look the others up in vain.
    fitting = tuple(index for index in indexes if index.members & dirty == index.members)
    rest = dirty
    for index in fitting:
        rest &= ~index.members
    few = rest.bit_count() <= _LISTED
    return Plan(everything & ~dirty, tuple(_numbers_in(rest)) if few else (), 0 if few else rest, fitting)


def _numbers_in(mask: int) -> Iterator[int]:
    while mask:
        bit = mask & -mask
        yield bit.bit_length() - 1
        mask ^= bit


def matching_of(ctx: EventContext, rules: int) -> int:
    """Mask of those of the rules whose conditions hold now."""
    matching = 0
    for number in _numbers_in(rules):
        try:
            if ctx.program.conditions[number](ctx) is True:
                matching |= 1 << number
        except OverBudget:
            raise
        except Exception:
            continue
    return matching


def fire_all(
    ctx: EventContext, program: Program, matching: int, fired: list[int]
) -> tuple[int, tuple[int, str] | None]:
    """Appends to `fired`. Returns how many conditions were evaluated, and what failed."""
    actions, conditions, bits, plans = program.actions, program.conditions, program.masks, program.plans
    evaluated = len(conditions)
    deadline = 0.0
    for turn in range(program.limits.cycles):
        live = matching & ~ctx.retracted if ctx.retracted else matching
        if not live:
            return evaluated, None
        number = (live & -live).bit_length() - 1
        if turn % _CLOCK_EVERY == _CLOCK_EVERY - 1:
            deadline = deadline or time.monotonic() + program.limits.seconds
            if time.monotonic() > deadline:
                return evaluated, (number, f"over the time limit of {program.limits.seconds} s")
        try:
            actions[number](ctx)
        except Exception as error:
            return evaluated, (number, reason(error))
        fired.append(number)
        if ctx.complete:
            return evaluated, None
        plan = plans[number]
        if ctx.dirty or ctx.shared:
            ctx.dirty, plan = 0, plans[-1]
        if plan is None:
            continue
        matching &= plan.keep
        if plan.indexes or plan.many:
            mask, numbers = plan.look_up(ctx)
            matching |= mask
            evaluated += len(plan.indexes)
        else:
            numbers = plan.numbers
        for again in numbers:
            try:
                if conditions[again](ctx) is True:
                    matching |= bits[again]
            except OverBudget as over:
                return evaluated, (again, str(over))
            except Exception:
                # As Grule recovers from a panic: the rule does not match.
                continue
        evaluated += len(numbers)
    live = matching & ~ctx.retracted
    if not live:
        return evaluated, None
    message = f"still matching after {program.limits.cycles} firings: does it retract itself?"
    return evaluated, ((live & -live).bit_length() - 1, message)


def reason(error: Exception) -> str:
    """Why an action failed. Grule recovers from any panic of an action, so any exception counts as one."""
    return str(error) if isinstance(error, ActionFailed | OverBudget) else f"{type(error).__name__}: {error}"
