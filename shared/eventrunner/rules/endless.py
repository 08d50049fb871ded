"""Rules that nothing in their text stops: once one matches, it fires until the event is given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eventrunner.rules.analysis import dirtied_by, path_of, reads
from eventrunner.rules.event_facts import is_data
from eventrunner.rules.nodes import Assign, Call, Const, Node, Root, Rule, walk

__all__ = ["endless_rules", "retracts"]

_CONTAINERS = ("Event", "Tenant", "Out")


def endless_rules(rules: Sequence[Rule]) -> frozenset[str]:
    """Names of those that surely no rule retracts or ends, and whose conditions no rule writes to."""
    if any(call.name == "Complete" for rule in rules for call in _calls(rule)) or _writes_unseen(rules):
        return frozenset()
    retracted = {name for rule in rules for name in retracts(rule)}
    if None in retracted:
        return frozenset()
    written = 0
    for mask in dirtied_by(rules):
        written |= mask
    return frozenset(
        rule.name
        for number, rule in enumerate(rules)
        if rule.name not in retracted and not written >> number & 1 and not _is_switched(rule.when)
    )


def retracts(rule: Rule) -> Iterator[str | None]:
    """Names of the rules that a rule retracts; None for one that only evaluation knows."""
    for call in _calls(rule):
        if call.name == "Retract" and call.args:
            argument = call.args[0]
            yield argument.value if isinstance(argument, Const) and type(argument.value) is str else None


def _calls(rule: Rule) -> Iterator[Call]:
    for statement in rule.then:
        yield from (node for node in walk(statement) if isinstance(node, Call))


def _is_switched(condition: Node) -> bool:
    """Off, perhaps, by a constant."""
    return not reads(condition) and not (isinstance(condition, Const) and condition.value is True)


def _writes_unseen(rules: Sequence[Rule]) -> bool:
    """A write through one path may be read through another, as a map may hang in two places."""
    assigned = [item for rule in rules for item in rule.then if isinstance(item, Assign)]
    if any(_is_container(item.value) for item in assigned):
        return True
    return any(_is_deep(item.target) for item in assigned) and any(
        not isinstance(item.value, Const) for item in assigned
    )


def _is_container(node: Node) -> bool:
    return (isinstance(node, Root) and node.name in _CONTAINERS) or is_data(node)


def _is_deep(target: Node) -> bool:
    """Below a member of a container, or in a place that only evaluation knows."""
    path = path_of(target) or ()
    return None in path or len(path) > (3 if path[:2] == ("Event", "data") else 2)
