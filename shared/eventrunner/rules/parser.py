"""Reads tokens into rules: recursive descent for rules and statements, precedence climbing for expressions.

An error ends the expression or statement it is in; the parser goes on behind it, so that all errors are found at once.
"""

from __future__ import annotations

from eventrunner.rules import hints
from eventrunner.rules.errors import Problem, ProblemKind, RuleSyntaxError
from eventrunner.rules.lexer import Token, tokenize
from eventrunner.rules.limits import Limits
from eventrunner.rules.literals import float_value, int_value, string_value
from eventrunner.rules.nodes import Assign, Binary, Call, Const, Index, Member, Method, Node, Not, Root, Rule, Statement
from eventrunner.rules.values import NIL

__all__ = ["PRECEDENCE", "Source", "parse"]

PRECEDENCE = {
    **dict.fromkeys(("*", "/", "%"), 5),
    **dict.fromkeys(("+", "-", "&", "|"), 4),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), 3),
    "&&": 2,
    "||": 1,
}
_ASSIGNMENTS = frozenset({"=", "+=", "-=", "*=", "/="})


class Source:
    """A text with its name; makes problems out of offsets."""

    __slots__ = ("name", "text")

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def problem(self, at: int, message: str, hint: str = "", kind: ProblemKind = ProblemKind.SYNTAX) -> Problem:
        line = self.text.count("\n", 0, at) + 1
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        shown = self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")
        return Problem(self.name, line, at - start + 1, message, shown, hint, kind)


class _Wrong(Exception):
    """Unwinds to the place where parsing can go on; the problem is recorded already."""


def parse(text: str, name: str = "rules.grl", limits: Limits | None = None) -> tuple[Rule, ...]:
    """The rules of a text in order of definition. Raises RuleSyntaxError with every problem."""
    return _Parser(Source(text, name), limits or Limits()).rules()


class _Parser:
    def __init__(self, source: Source, limits: Limits) -> None:
        self.source, self.limits = source, limits
        self.problems: list[Problem] = []
        if len(source.text) > limits.source_bytes or len(source.text.encode(errors="replace")) > limits.source_bytes:
            limit = f"a rule text may have {limits.source_bytes} bytes"
            raise RuleSyntaxError.of([source.problem(0, limit, kind=ProblemKind.LIMIT)])
        self.tokens = tokenize(source.text)
        self.index = 0
        self.depth = 0
        self.operators = 0
        self.swallowed = False

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def advance(self) -> Token:
        token = self.tokens[self.index]
        if token.kind != "end":
            self.index += 1
        return token

    def fail(
        self, message: str, hint: str = "", at: int | None = None, kind: ProblemKind = ProblemKind.SYNTAX
    ) -> _Wrong:
        place = self.token.at if at is None else at
        if len(self.problems) < self.limits.problems:
            self.problems.append(self.source.problem(place, message, hint, kind))
        return _Wrong()

    def unexpected(self, expected: str) -> _Wrong:
        token = self.token
        # What follows was swallowed by the string, so that nothing can be said of it.
        self.swallowed = self.swallowed or (token.kind == "bad" and token.text[0] in "\"'")
        message = f"expected {expected}, found {hints.describe(token)}"
        return self.fail(message, hints.hint(self.tokens, self.index, expected))

    def expect(self, kind: str, expected: str) -> Token:
        if self.token.kind != kind:
            raise self.unexpected(expected)
        return self.advance()

    def skip_to(self, *kinds: str) -> None:
        while self.token.kind not in kinds and self.token.kind != "end":
            self.index += 1

    # Rules and statements

    def rules(self) -> tuple[Rule, ...]:
        found: dict[str, Rule] = {}
        while self.token.kind != "end":
            self.swallowed = False
            try:
                rule = self.rule()
            except _Wrong:
                self.skip_to_rule()
                continue
            if rule.name in found:
                self.fail(f"rule {rule.name} is defined twice", at=rule.at, kind=ProblemKind.DUPLICATE_RULE)
            found[rule.name] = rule
            if len(found) > self.limits.rules:
                self.fail(f"more than {self.limits.rules} rules", at=rule.at, kind=ProblemKind.LIMIT)
                break
        if self.problems:
            raise RuleSyntaxError.of(self.problems)
        return tuple(found.values())

    def rule(self) -> Rule:
        self.keyword_rule()
        name = self.expect("name", "the name of the rule")
        description = self.advance().text[1:-1] if self.token.kind == "string" else ""
        salience = 0
        if self.token.kind == "salience":
            self.advance()
            salience = self.integer()
        self.open_body()
        self.resume("when")
        when = self.condition()
        self.resume("then")
        then = self.statements()
        self.resume("}")
        return Rule(name.text, description, salience, when, then, name.at, self.source.name)

    def keyword_rule(self) -> None:
        """A misspelt `rule` is reported, and the rule behind it is read all the same."""
        misspelt = self.token.kind == "name" and self.tokens[self.index + 1].kind == "name"
        try:
            self.expect("rule", "'rule'")
        except _Wrong:
            if not misspelt:
                raise
            self.advance()

    def open_body(self) -> None:
        """Where the brace is missing, goes on at the next one or at `when`."""
        try:
            self.expect("{", "'{'")
        except _Wrong:
            while self.token.kind not in ("{", "when", "then", "}", "end") and not self.at_rule():
                self.index += 1
            if self.swallowed or self.token.kind not in ("{", "when"):
                raise
            if self.token.kind == "{":
                self.advance()

    def at_rule(self) -> bool:
        """Whether a rule begins here; `rule` in any case may also be part of a name that cannot be one."""
        following = self.tokens[self.index + 1].kind if self.token.kind == "rule" else ""
        return following in ("name", "string")

    def skip_to_rule(self) -> None:
        while self.token.kind != "end" and not self.at_rule():
            self.index += 1

    def resume(self, kind: str) -> None:
        """Expects the keyword or brace; where it is missing, goes on behind the next one of this rule."""
        if self.swallowed and self.token.kind in ("rule", "end"):
            raise _Wrong
        try:
            self.expect(kind, f"'{kind}'")
        except _Wrong:
            if self.token.kind == "name" and hints.did_you_mean(self.token.text, (kind,)):
                self.advance()
                return
            self.skip_to(kind, "rule")
            if self.token.kind != kind:
                raise
            self.advance()

    def condition(self) -> Node:
        self.depth = 0
        try:
            return self.expression()
        except _Wrong:
            self.skip_to("then", "rule")
            return Const(False, self.token.at)

    def statements(self) -> tuple[Statement, ...]:
        found: list[Statement] = []
        if self.token.kind == "}":
            raise self.unexpected("a statement")
        while self.token.kind not in ("}", "end", "rule"):
            try:
                found.append(self.statement())
            except _Wrong:
                self.skip_statement()
        return tuple(found)

    def skip_statement(self) -> None:
        """To behind the next ';' or to the rule's end. Braces of other languages' blocks are passed over in pairs."""
        opened = 0
        while self.token.kind not in ("rule", "end"):
            kind = self.token.kind
            if kind == "}" and not opened:
                return
            opened += (kind == "{") - (kind == "}")
            self.index += 1
            if not opened and (kind == ";" or (kind == "}" and self.token.kind != ";")):
                return

    def statement(self) -> Statement:
        start = self.token.at
        self.operators = self.depth = 0
        following = self.tokens[self.index + 1].kind if self.token.kind == "name" else ""
        if following in ("name", "(", "{") and self.token.text in hints.STATEMENTS:
            raise self.fail(f"expected a statement, found '{self.token.text}'", hints.STATEMENTS[self.token.text])
        left = self.atom()
        if self.token.kind in _ASSIGNMENTS:
            target, op = left, self.advance().kind
            if not _assignable(target):
                raise self.fail("only a variable can be assigned to", at=start)
            left_value = self.expression(reset=False)
            self.semicolon()
            return Assign(target, op, left_value, start)  # type: ignore[arg-type]
        self.semicolon()
        return left

    def semicolon(self) -> None:
        if self.token.kind == ";":
            self.advance()
            return
        if self.token.kind in ("}", "name", "rule", "end"):
            last = self.tokens[self.index - 1]
            self.fail("expected ';' after this", hints.hint(self.tokens, self.index, "';'"), at=last.end - 1)
            if self.token.kind in ("rule", "end"):
                raise _Wrong
            return
        raise self.unexpected("';'")

    def integer(self) -> int:
        negative = self.token.kind == "-" and bool(self.advance())
        token = self.expect("int", "a whole number")
        value = int(self.number(token, negative))
        if not -(1 << 31) <= value < 1 << 31:
            raise self.fail("a salience has 32 bits", at=token.at)
        return value

    # Expressions

    def expression(self, minimum: int = 1, *, reset: bool = True) -> Node:
        if minimum == 1 and reset and self.depth == 0:
            self.operators = 0
        left = self.operand()
        while (precedence := PRECEDENCE.get(self.token.kind, 0)) >= minimum:
            op = self.advance()
            self.operators += 1
            if self.operators > self.limits.operators:
                raise self.fail(f"more than {self.limits.operators} operators", at=op.at, kind=ProblemKind.LIMIT)
            left = Binary(op.kind, left, self.expression(precedence + 1, reset=False), op.at)
        return left

    def operand(self) -> Node:
        if self.token.kind == "(":
            return self.parenthesised()
        if self.token.kind == "!" and self.tokens[self.index + 1].kind == "(":
            at = self.advance().at
            return Not(self.parenthesised(), at)
        return self.atom()

    def parenthesised(self) -> Node:
        self.advance()
        self.enter()
        inner = self.expression()
        self.depth -= 1
        self.expect(")", "')'")
        if self.token.kind in (".", "["):
            raise self.fail(
                f"{hints.describe(self.token)} cannot follow a parenthesised expression",
                "assign it to a variable first, or leave the parentheses out",
            )
        return inner

    def enter(self) -> None:
        self.depth += 1
        if self.depth > self.limits.nesting:
            self.depth = 0
            raise self.fail(f"nested deeper than {self.limits.nesting} levels", kind=ProblemKind.LIMIT)

    def atom(self) -> Node:
        if self.token.kind == "!":
            at = self.advance().at
            if self.token.kind == "(":
                raise self.unexpected("a variable, a call or a constant after '!'")
            self.enter()
            negated = Not(self.atom(), at)
            self.depth -= 1
            return negated
        return self.suffixes(self.primary())

    def primary(self) -> Node:
        token = self.token
        match token.kind:
            case "name":
                self.advance()
                return (
                    Call(token.text, self.arguments(), token.at)
                    if self.token.kind == "("
                    else Root(token.text, token.at)
                )
            case "int" | "float":
                self.advance()
                return Const(self.number(token, False), token.at)
            case "-" if self.tokens[self.index + 1].kind in ("int", "float"):
                self.advance()
                return Const(self.number(self.advance(), True), token.at)
            case "string":
                self.advance()
                return Const(self.string(token), token.at)
            case "true" | "false":
                self.advance()
                return Const(token.kind == "true", token.at)
            case "nil":
                self.advance()
                return Const(NIL, token.at)
        raise self.unexpected("an expression")

    def suffixes(self, node: Node) -> Node:
        links = 0
        while self.token.kind in (".", "["):
            links += 1
            if links > self.limits.nesting:
                raise self.fail(f"a path of more than {self.limits.nesting} parts", kind=ProblemKind.LIMIT)
            at = self.advance()
            if at.kind == "[":
                self.enter()
                node = Index(node, self.expression(), at.at)
                self.depth -= 1
                self.expect("]", "']'")
                continue
            name = self.expect("name", "a field or method after '.'")
            is_call = self.token.kind == "("
            node = Method(node, name.text, self.arguments(), name.at) if is_call else Member(node, name.text, name.at)
        return node

    def arguments(self) -> tuple[Node, ...]:
        self.expect("(", "'('")
        found: list[Node] = []
        self.enter()
        while self.token.kind != ")":
            found.append(self.expression())
            if self.token.kind != ",":
                break
            self.advance()
            if self.token.kind == ")":
                raise self.unexpected("an argument")
        self.depth -= 1
        self.expect(")", "')' or ','")
        return tuple(found)

    def number(self, token: Token, negative: bool) -> float:
        try:
            return int_value(token.text, negative) if token.kind == "int" else float_value(token.text, negative)
        except ValueError as error:
            raise self.fail(str(error), at=token.at) from None

    def string(self, token: Token) -> str:
        try:
            return string_value(token.text)
        except ValueError as error:
            raise self.fail(str(error), at=token.at) from None


def _assignable(node: Node) -> bool:
    while isinstance(node, Member | Index):
        node = node.base
    return isinstance(node, Root)
