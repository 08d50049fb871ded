"""What rules read and write, so that after a firing only the conditions that may have changed are evaluated again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from eventrunner.rules.functions import CONTROL
from eventrunner.rules.nodes import (
    Assign,
    Call,
    Const,
    Index,
    Member,
    Method,
    Node,
    Root,
    Rule,
    Statement,
    children,
    walk,
)

__all__ = ["Path", "dirtied_by", "path_of", "reads", "writes"]

Path: TypeAlias = tuple[str | int | None, ...]
"""Fact, members and constant selectors; None stands for a selector that only evaluation knows."""


def path_of(node: Node) -> Path | None:
    """The path of a variable; None if the node is none."""
    match node:
        case Root(name=name):
            return (name,)
        case Member(base=base, name=name):
            head = path_of(base)
            return None if head is None else (*head, name)
        case Index(base=base, index=index):
            head = path_of(base)
            return None if head is None else (*head, _selector(index))
    return None


def _selector(index: Node) -> str | int | None:
    if isinstance(index, Const) and type(index.value) is not float and isinstance(index.value, str | int):
        return index.value
    return None


def reads(node: Statement) -> set[Path]:
    """Every variable that an expression reads."""
    found: set[Path] = set()
    pending: list[Statement] = [node]
    while pending:
        item = pending.pop()
        path = None if isinstance(item, Assign) else path_of(item)
        if path is None:
            pending.extend(children(item))
            continue
        found.add(path)
        pending.extend(_selectors(item))
    return found


def _selectors(node: Statement) -> list[Node]:
    found: list[Node] = []
    while isinstance(node, Member | Index | Method):
        if isinstance(node, Index):
            found.append(node.index)
        node = node.base
    return found


def writes(rule: Rule) -> set[Path]:
    found: set[Path] = set()
    for statement in rule.then:
        if isinstance(statement, Assign):
            found.add(path_of(statement.target) or ())
        elif isinstance(statement, Call) and statement.name == "Emit":
            found.add(("Out",))
    return found


class _Readers:
    """Which rules read a path, as bit masks in a tree of path parts."""

    __slots__ = ("below", "children", "here")

    def __init__(self) -> None:
        self.children: dict[str | int | None, _Readers] = {}
        self.here = 0
        self.below = 0

    def add(self, path: Path, bit: int) -> None:
        node = self
        for part in path:
            node.below |= bit
            node = node.children.setdefault(part, _Readers())
        node.below |= bit
        node.here |= bit

    def affected(self, path: Path) -> int:
        """Readers of the path, of what it is part of and of what is part of it."""
        mask, nodes = 0, [self]
        for part in path:
            below: list[_Readers] = []
            for node in nodes:
                mask |= node.here
                below += node.matching(part)
            nodes = below
        for node in nodes:
            mask |= node.below
        return mask

    def matching(self, part: str | int | None) -> list[_Readers]:
        if part is None:
            return list(self.children.values())
        return [self.children[key] for key in (part, None) if key in self.children]


def _acts(condition: Node) -> bool:
    """It holds something like `Log("…")`, which is done each time that it is evaluated."""
    return any(isinstance(node, Call) and node.name in CONTROL for node in walk(condition))


def dirtied_by(rules: Sequence[Rule]) -> list[int]:
    """For each rule the mask of the rules whose conditions read something that its actions write."""
    readers = _Readers()
    for number, rule in enumerate(rules):
        for path in reads(rule.when):
            readers.add(path, 1 << number)
    masks = []
    acting = sum(1 << number for number, rule in enumerate(rules) if _acts(rule.when))
    for rule in rules:
        mask = acting
        for path in writes(rule):
            mask |= readers.affected(path)
        masks.append(mask)
    return masks
