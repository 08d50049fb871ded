"""Rules that nothing in their text stops: once one matches, it fires until the event is given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eventrunner.rules.analysis import Path, path_of, reads, writes
from eventrunner.rules.event_facts import is_data
from eventrunner.rules.nodes import Assign, Call, Const, Member, Node, Root, Rule, walk

__all__ = ["retracts", "runs_on"]

_CONTAINERS = ("Event", "Tenant", "Out")


def runs_on(rule: Rule, rules: Sequence[Rule]) -> bool:
    """Whether surely neither the rule itself nor another one ends its firing, or changes what its condition reads."""
    paths = reads(rule.when)
    if not paths and not (isinstance(rule.when, Const) and rule.when.value is True):
        # It may be switched off by a constant.
        return False
    values = [item.value for other in rules for item in other.then if isinstance(item, Assign)]
    return not any(_may_stop(other, rule.name, paths) or _may_write_unseen(other, values) for other in rules)


def _may_stop(rule: Rule, name: str, paths: set[Path]) -> bool:
    retracted = list(retracts(rule))
    if name in retracted or None in retracted or any(call.name == "Complete" for call in _calls(rule)):
        return True
    return any(_overlap(path, other) for path in paths for other in writes(rule))


def retracts(rule: Rule) -> Iterator[str | None]:
    """Names of the rules that a rule retracts; None for one that only evaluation knows."""
    for call in _calls(rule):
        if call.name == "Retract" and call.args:
            argument = call.args[0]
            yield argument.value if isinstance(argument, Const) and type(argument.value) is str else None


def _calls(rule: Rule) -> Iterator[Call]:
    for statement in rule.then:
        yield from (node for node in walk(statement) if isinstance(node, Call))


def _overlap(first: Path, second: Path) -> bool:
    """One is the other, or a part of it; None is any part."""
    return all(one == other or None in (one, other) for one, other in zip(first, second, strict=False))


def _may_write_unseen(rule: Rule, values: Sequence[Node]) -> bool:
    """A write through one path may be read through another, where a map hangs in two places."""
    targets = [item.target for item in rule.then if isinstance(item, Assign)]
    if not targets:
        return False
    if any(_is_container(value) for value in values):
        return True
    return any(map(_is_deep, targets)) and any(not isinstance(value, Const) for value in values)


def _is_container(node: Node) -> bool:
    return (isinstance(node, Root) and node.name in _CONTAINERS) or is_data(node)


def _is_deep(target: Node) -> bool:
    """Below a member of a container."""
    path = path_of(target)
    if path is None or isinstance(target, Root):
        return False
    within_data = path[:2] == ("Event", "data")
    return len(path) > (3 if within_data else 2) or (not isinstance(target, Member) and not _has_constant(path))


def _has_constant(path: Path) -> bool:
    return path[-1] is not None
