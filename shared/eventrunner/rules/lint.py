"""Warnings: what surely does not do what its writer meant, although it compiles. Only rules on events are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from eventrunner.rules.contradictions import contradictions
from eventrunner.rules.endless import endless_rules, retracts
from eventrunner.rules.errors import Problem, ProblemKind
from eventrunner.rules.hints import did_you_mean
from eventrunner.rules.inference import Inference
from eventrunner.rules.limits import Limits
from eventrunner.rules.nodes import Node, Rule
from eventrunner.rules.printing import grl_text
from eventrunner.rules.source import Source
from eventrunner.rules.statement_check import StatementCheck
from eventrunner.rules.values import BOOL

__all__ = ["Finding", "findings", "warnings_of"]


class Finding(NamedTuple):
    rule: str
    at: int
    message: str
    hint: str = ""
    proves: str = ""
    """`never`: the rule never matches; `fails`: it fails when it fires; `endless`: it fires until the limit."""


def warnings_of(rules: Sequence[Rule], text: str, name: str) -> tuple[Problem, ...]:
    """Of the rules that the text defines, in the order of their places."""
    source = Source(text, name)
    found = sorted(islice(findings(rules), Limits().problems), key=lambda item: item.at)
    return tuple(source.problem(item.at, item.message, item.hint, ProblemKind.WARNING) for item in found)


def findings(rules: Sequence[Rule]) -> Iterator[Finding]:
    endless = endless_rules(rules)
    for rule in rules:
        condition, holds = _condition(rule)
        statements = list(_statements(rule))
        yield from (*condition, *statements)
        if rule.name in endless and holds and not any(item.proves == "fails" for item in statements):
            yield _endless(rule)


def _collector(rule: Rule, found: list[Finding]) -> Callable[[Node, str, str], None]:
    return lambda node, message, hint: found.append(Finding(rule.name, node.at, message, hint))


def _condition(rule: Rule) -> tuple[list[Finding], bool]:
    """The findings, and whether the condition can hold."""
    found: list[Finding] = []
    result = Inference(_collector(rule, found), in_condition=True).of(rule.when)
    clashing = [(late, early) for late, early, whole in contradictions(rule.when) if whole]
    holds = result.can_hold and not clashing
    if not result.can_hold and not found:
        what = "never holds" if BOOL in result.kinds else "is never a boolean"
        found.append(Finding(rule.name, rule.when.at, f"the condition {what}: the rule never matches"))
    for late, early, _ in contradictions(rule.when):
        found.append(Finding(rule.name, late.at, f"this and {grl_text(early)} never hold together"))
    proves = "" if holds else "never"
    return [item._replace(proves=proves) for item in found], holds


def _statements(rule: Rule) -> Iterator[Finding]:
    """Up to the first one that surely fails, as what stands behind it is never reached."""
    for statement in rule.then:
        found: list[Finding] = []
        fails = StatementCheck(_collector(rule, found)).fails(statement)
        yield from (item._replace(proves="fails" if fails else "") for item in found)
        if fails:
            return


def _endless(rule: Rule) -> Finding:
    message = f"rule {rule.name} does not stop: it neither retracts itself nor changes what its condition reads"
    meant = next((name for name in retracts(rule) if name and did_you_mean(name, [rule.name])), None)
    hint = f'Retract("{meant}") names another rule' if meant else f'end it with Retract("{rule.name}");'
    return Finding(rule.name, rule.at, message, hint, "endless")
