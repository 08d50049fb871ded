"""Reads expressions by precedence climbing, and what they are made of: atoms, paths, calls, constants."""

from __future__ import annotations

from eventrunner.rules import hints
from eventrunner.rules.cursor import Cursor, Wrong
from eventrunner.rules.errors import ProblemKind
from eventrunner.rules.lexer import Token
from eventrunner.rules.literals import float_value, int_value, string_value
from eventrunner.rules.nodes import Binary, Call, Const, Index, Member, Method, Node, Not, Root
from eventrunner.rules.values import NIL

__all__ = ["PRECEDENCE", "ExpressionParser"]

PRECEDENCE = {
    **dict.fromkeys(("*", "/", "%"), 5),
    **dict.fromkeys(("+", "-", "&", "|"), 4),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), 3),
    "&&": 2,
    "||": 1,
}


class ExpressionParser:
    """Every method raises Wrong when it has recorded a problem."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._depth = self._operators = 0

    def start(self) -> None:
        """Begins a condition or a statement: what nests and how many operators there are is counted in each."""
        self._depth = self._operators = 0

    def expression(self, minimum: int = 1) -> Node:
        cursor = self._cursor
        left = self._operand()
        while (precedence := PRECEDENCE.get(cursor.token.kind, 0)) >= minimum:
            op = cursor.advance()
            self._operators += 1
            if self._operators > cursor.limits.operators:
                limit = f"more than {cursor.limits.operators} operators"
                raise cursor.fail(limit, at=op.at, kind=ProblemKind.LIMIT)
            left = Binary(op.kind, left, self.expression(precedence + 1), op.at)
        return left

    def atom(self) -> Node:
        cursor = self._cursor
        if cursor.token.kind != "!":
            return self._suffixes(self._primary())
        at = cursor.advance().at
        if cursor.token.kind == "(":
            raise cursor.unexpected("a variable, a call or a constant after '!'")
        self._enter()
        negated = Not(self.atom(), at)
        self._depth -= 1
        return negated

    def whole_number(self) -> tuple[int, Token]:
        """An integer with its sign, and the token of its digits."""
        cursor = self._cursor
        negative = cursor.token.kind == "-" and bool(cursor.advance())
        token = cursor.expect("int", "a whole number")
        return int(self._number(token, negative)), token

    def _operand(self) -> Node:
        cursor = self._cursor
        if cursor.token.kind == "(":
            return self._parenthesised()
        if cursor.token.kind == "!" and cursor.following.kind == "(":
            at = cursor.advance().at
            return Not(self._parenthesised(), at)
        return self.atom()

    def _parenthesised(self) -> Node:
        cursor = self._cursor
        cursor.advance()
        self._enter()
        inner = self.expression()
        self._depth -= 1
        cursor.expect(")", "')'")
        if cursor.token.kind in (".", "["):
            raise cursor.fail(
                f"{hints.describe(cursor.token)} cannot follow a parenthesised expression",
                "assign it to a variable first, or leave the parentheses out",
            )
        return inner

    def _enter(self) -> None:
        limits = self._cursor.limits
        self._depth += 1
        if self._depth > limits.nesting:
            raise self._cursor.fail(f"nested deeper than {limits.nesting} levels", kind=ProblemKind.LIMIT)

    def _primary(self) -> Node:
        cursor, token = self._cursor, self._cursor.token
        match token.kind:
            case "name":
                cursor.advance()
                is_call = cursor.token.kind == "("
                return Call(token.text, self._arguments(), token.at) if is_call else Root(token.text, token.at)
            case "int" | "float":
                cursor.advance()
                return Const(self._number(token, False), token.at)
            case "-" if cursor.following.kind in ("int", "float"):
                cursor.advance()
                return Const(self._number(cursor.advance(), True), token.at)
            case "string":
                cursor.advance()
                return Const(self._string(token), token.at)
            case "true" | "false":
                cursor.advance()
                return Const(token.kind == "true", token.at)
            case "nil":
                cursor.advance()
                return Const(NIL, token.at)
        raise cursor.unexpected("an expression")

    def _suffixes(self, node: Node) -> Node:
        cursor, links = self._cursor, 0
        while cursor.token.kind in (".", "["):
            links += 1
            if links > cursor.limits.nesting:
                limit = f"a path of more than {cursor.limits.nesting} parts"
                raise cursor.fail(limit, kind=ProblemKind.LIMIT)
            at = cursor.advance()
            node = self._index(node, at.at) if at.kind == "[" else self._member(node)
        return node

    def _index(self, base: Node, at: int) -> Node:
        self._enter()
        index = self.expression()
        self._depth -= 1
        self._cursor.expect("]", "']'")
        return Index(base, index, at)

    def _member(self, base: Node) -> Node:
        name = self._cursor.expect("name", "a field or method after '.'")
        is_call = self._cursor.token.kind == "("
        return Method(base, name.text, self._arguments(), name.at) if is_call else Member(base, name.text, name.at)

    def _arguments(self) -> tuple[Node, ...]:
        cursor = self._cursor
        cursor.expect("(", "'('")
        found: list[Node] = []
        self._enter()
        while cursor.token.kind != ")":
            found.append(self.expression())
            if cursor.token.kind != ",":
                break
            cursor.advance()
            if cursor.token.kind == ")":
                raise cursor.unexpected("an argument")
        self._depth -= 1
        cursor.expect(")", "')' or ','")
        return tuple(found)

    def _number(self, token: Token, negative: bool) -> float:
        try:
            return int_value(token.text, negative) if token.kind == "int" else float_value(token.text, negative)
        except ValueError as error:
            raise self._wrong_literal(error, token) from None

    def _string(self, token: Token) -> str:
        try:
            return string_value(token.text)
        except ValueError as error:
            raise self._wrong_literal(error, token) from None

    def _wrong_literal(self, error: ValueError, token: Token) -> Wrong:
        return self._cursor.fail(str(error), at=token.at)
