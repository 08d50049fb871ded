"""What is wrong with a rule text, said so that a person can act on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from eventrunner.errors import FieldError, InvalidInput

__all__ = ["Problem", "ProblemKind", "RuleSyntaxError"]


class ProblemKind(StrEnum):
    SYNTAX = "syntax"
    DUPLICATE_RULE = "duplicate_rule"
    UNKNOWN_NAME = "unknown_name"
    JSON_RULE = "json_rule"
    LIMIT = "limit"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    name: str
    """File or resource the text came from."""
    line: int
    column: int
    """Both count from 1; columns count characters."""
    message: str
    source_line: str
    hint: str = ""
    kind: ProblemKind = ProblemKind.SYNTAX

    @property
    def field(self) -> FieldError:
        """On one line, as answers over HTTP tell it."""
        message = f"{self.message} ({self.hint})" if self.hint else self.message
        return FieldError(f"{self.name}:{self.line}:{self.column}", message)

    def __str__(self) -> str:
        """Position and message, the line, a caret under the place, the hint."""
        warning = "warning: " if self.kind is ProblemKind.WARNING else ""
        text = f"{self.name}:{self.line}:{self.column}: {warning}{self.message}"
        if self.source_line.strip():
            blank = "".join("\t" if char == "\t" else " " for char in self.source_line[: self.column - 1])
            text += f"\n    {self.source_line}\n    {blank}^"
        if self.hint:
            text += f"\n    hint: {self.hint}"
        return text


@dataclass(eq=False)
class RuleSyntaxError(InvalidInput):
    problems: tuple[Problem, ...] = ()
    """Every problem of the text, in order of position."""

    code = "rule-syntax"

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> RuleSyntaxError:
        found = tuple(sorted(problems, key=lambda problem: (problem.name, problem.line, problem.column)))
        return cls("\n".join(map(str, found)), tuple(problem.field for problem in found), found)
