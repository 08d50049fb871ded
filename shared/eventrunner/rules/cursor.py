"""A place in the tokens of a text, and the problems found up to there."""

from __future__ import annotations

from eventrunner.rules import hints
from eventrunner.rules.errors import Problem, ProblemKind, RuleSyntaxError
from eventrunner.rules.lexer import Token, tokenize
from eventrunner.rules.limits import Limits
from eventrunner.rules.source import Source

__all__ = ["Cursor", "Wrong"]


class Wrong(Exception):
    """Unwinds to the place where parsing can go on; the problem is recorded already."""


class Cursor:
    """Raises RuleSyntaxError for a text that is too long."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.limits = limits
        self.problems: list[Problem] = []
        self.swallowed = False
        """A string that is not closed has swallowed the rest of its line, so that nothing can be said of it."""
        self._source = source
        if len(source.text) > limits.source_bytes or len(source.text.encode(errors="replace")) > limits.source_bytes:
            limit = f"a rule text may have {limits.source_bytes} bytes"
            raise RuleSyntaxError.of([source.problem(0, limit, kind=ProblemKind.LIMIT)])
        self._tokens = tokenize(source.text)
        self._index = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._index]

    @property
    def following(self) -> Token:
        """The token after the current one."""
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    @property
    def previous(self) -> Token:
        return self._tokens[self._index - 1]

    def advance(self) -> Token:
        """Returns the current token and goes to the next one; the end is never left."""
        token = self._tokens[self._index]
        if token.kind != "end":
            self._index += 1
        return token

    def expect(self, kind: str, expected: str) -> Token:
        if self.token.kind != kind:
            raise self.unexpected(expected)
        return self.advance()

    def fail(
        self, message: str, hint: str = "", at: int | None = None, kind: ProblemKind = ProblemKind.SYNTAX
    ) -> Wrong:
        """Records a problem, of the current token if no offset is given; the result may be raised."""
        if len(self.problems) < self.limits.problems:
            self.problems.append(self._source.problem(self.token.at if at is None else at, message, hint, kind))
        return Wrong()

    def unexpected(self, expected: str) -> Wrong:
        token = self.token
        self.swallowed = self.swallowed or (token.kind == "bad" and token.text[0] in "\"'")
        return self.fail(f"expected {expected}, found {hints.describe(token)}", self.hint(expected))

    def hint(self, expected: str) -> str:
        return hints.hint(self._tokens, self._index, expected)
