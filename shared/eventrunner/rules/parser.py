"""Reads a text into rules, by recursive descent.

An error ends the expression or statement it is in; the parser goes on behind it, so that all errors are found at once.
"""

from __future__ import annotations

from eventrunner.rules import hints
from eventrunner.rules.cursor import Cursor, Wrong
from eventrunner.rules.errors import ProblemKind, RuleSyntaxError
from eventrunner.rules.expression_parser import ExpressionParser
from eventrunner.rules.limits import Limits
from eventrunner.rules.nodes import Assign, Const, Index, Member, Node, Root, Rule, Statement
from eventrunner.rules.recovery import Recovery
from eventrunner.rules.source import Source

__all__ = ["parse"]

_ASSIGNMENTS = frozenset({"=", "+=", "-=", "*=", "/="})


def parse(text: str, name: str = "rules.grl", limits: Limits | None = None) -> tuple[Rule, ...]:
    """The rules of a text in order of definition. Raises RuleSyntaxError with every problem."""
    return _Parser(Source(text, name), limits or Limits()).rules()


class _Parser:
    def __init__(self, source: Source, limits: Limits) -> None:
        self._resource, self._limits = source.name, limits
        self._cursor = Cursor(source, limits)
        self._recovery = Recovery(self._cursor)
        self._expressions = ExpressionParser(self._cursor)

    def rules(self) -> tuple[Rule, ...]:
        cursor = self._cursor
        found: dict[str, Rule] = {}
        while cursor.token.kind != "end":
            cursor.swallowed = False
            try:
                rule = self._rule()
            except Wrong:
                self._recovery.skip_to_rule()
                continue
            if rule.name in found:
                cursor.fail(f"rule {rule.name} is defined twice", at=rule.at, kind=ProblemKind.DUPLICATE_RULE)
            found[rule.name] = rule
            if len(found) > self._limits.rules:
                cursor.fail(f"more than {self._limits.rules} rules", at=rule.at, kind=ProblemKind.LIMIT)
                break
        if cursor.problems:
            raise RuleSyntaxError.of(cursor.problems)
        return tuple(found.values())

    def _rule(self) -> Rule:
        cursor, recovery = self._cursor, self._recovery
        recovery.keyword_rule()
        name = cursor.expect("name", "the name of the rule")
        description = cursor.advance().text[1:-1] if cursor.token.kind == "string" else ""
        salience = self._salience()
        recovery.open_body()
        recovery.resume("when")
        when = self._condition()
        recovery.resume("then")
        then = self._statements()
        recovery.resume("}")
        return Rule(name.text, description, salience, when, then, name.at, self._resource)

    def _salience(self) -> int:
        if self._cursor.token.kind != "salience":
            return 0
        self._cursor.advance()
        value, token = self._expressions.whole_number()
        if not -(1 << 31) <= value < 1 << 31:
            raise self._cursor.fail("a salience has 32 bits", at=token.at)
        return value

    def _condition(self) -> Node:
        self._expressions.start()
        try:
            return self._expressions.expression()
        except Wrong:
            self._recovery.skip_to("then", "rule")
            return Const(False, self._cursor.token.at)

    def _statements(self) -> tuple[Statement, ...]:
        cursor = self._cursor
        found: list[Statement] = []
        if cursor.token.kind == "}":
            raise cursor.unexpected("a statement")
        while cursor.token.kind not in ("}", "end", "rule"):
            try:
                found.append(self._statement())
            except Wrong:
                self._recovery.skip_statement()
        return tuple(found)

    def _statement(self) -> Statement:
        cursor, start = self._cursor, self._cursor.token
        following = cursor.following.kind if start.kind == "name" else ""
        if following in ("name", "(", "{") and start.text in hints.STATEMENTS:
            raise cursor.fail(f"expected a statement, found '{start.text}'", hints.STATEMENTS[start.text])
        self._expressions.start()
        left = self._expressions.atom()
        if cursor.token.kind not in _ASSIGNMENTS:
            self._recovery.semicolon()
            return left
        op = cursor.advance().kind
        if not isinstance(left, Root | Member | Index) or not _is_variable(left):
            raise cursor.fail("only a variable can be assigned to", at=start.at)
        value = self._expressions.expression()
        self._recovery.semicolon()
        return Assign(left, op, value, start.at)


def _is_variable(node: Node) -> bool:
    while isinstance(node, Member | Index):
        node = node.base
    return isinstance(node, Root)
