"""A rule text with its name."""

from __future__ import annotations

from eventrunner.rules.errors import Problem, ProblemKind

__all__ = ["Source"]


class Source:
    """Makes problems out of offsets."""

    __slots__ = ("name", "text")

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def problem(self, at: int, message: str, hint: str = "", kind: ProblemKind = ProblemKind.SYNTAX) -> Problem:
        line = self.text.count("\n", 0, at) + 1
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        shown = self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")
        return Problem(self.name, line, at - start + 1, message, shown, hint, kind)
