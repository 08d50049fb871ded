"""From a request to the access rule that governs it: exact paths only, nothing is tidied up.

A path that could be read in two ways is refused rather than normalised, because the policy must decide about the very
path that the function sees (compare https://cwe.mitre.org/data/definitions/647.html).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from eventrunner.access.access_rules import AccessRule
from eventrunner.errors import EventRunnerError, MalformedPath, NotFound

__all__ = ["MethodNotAllowed", "Router", "check_path"]


@dataclass(eq=False)
class MethodNotAllowed(EventRunnerError):
    allow: tuple[str, ...]
    """Methods that the path does have."""

    code = "method-not-allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED


_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)*/?")
_ESCAPED: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*/?")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_DOTS: Final = re.compile(r"/\.{1,2}(?:/|$)")
# Unreserved characters need no escape; the rest of these mean something to a server behind us once decoded.
_NEVER_ESCAPED: Final = re.compile(rb"[A-Za-z0-9._~/\\\x00-\x1f\x7f-]")


def check_path(path: str) -> None:
    """Raises MalformedPath unless the path has one reading only: no empty, `.` or `..` segment, no needless escape."""
    if path and _PLAIN.fullmatch(path):
        return
    if not path or not _ESCAPED.fullmatch(path):
        raise MalformedPath("The path has an empty segment or a character that must be percent-encoded.")
    if _DOTS.search(path):
        raise MalformedPath("The path has a '.' or '..' segment.")
    for escape in _ESCAPE.findall(path):
        if _NEVER_ESCAPED.fullmatch(unquote_to_bytes(escape)):
            raise MalformedPath(
                f"The path has {escape}, which stands for a character that is not escaped here. An id that has it goes "
                "into the query: GET /api/v1/events/<tenant>?id=…, GET /api/v1/traces/<tenant>?id=…."
            )


class Router:
    """Literal paths are looked up; the others are tried within the rules of the same first three segments."""

    def __init__(self, rules: Sequence[AccessRule]) -> None:
        self._literal: dict[tuple[str, str], AccessRule] = {}
        self._variable: dict[str, list[AccessRule]] = defaultdict(list)
        for rule in rules:
            if rule.literal is not None:
                self._literal.update({(method, rule.literal): rule for method in rule.methods})
            else:
                self._variable[_family(rule.pattern.pattern.replace("\\", ""))].append(rule)
        self._rules = tuple(rules)

    def find(self, method: str, path: str) -> tuple[AccessRule, str]:
        """The rule, and what the first variable part of its path matched (empty if nothing varies).

        Raises MalformedPath, NotFound and MethodNotAllowed.
        """
        rule = self._literal.get((method, path))
        if rule is not None:
            return rule, ""
        check_path(path)
        for rule in self._variable.get(_family(path), ()):
            if method in rule.methods and (match := rule.pattern.fullmatch(path)):
                return rule, match[1]
        raise self._missing(path)

    def _missing(self, path: str) -> EventRunnerError:
        methods = sorted({method for rule in self._rules if rule.pattern.fullmatch(path) for method in rule.methods})
        if methods:
            return MethodNotAllowed(f"{path} answers {', '.join(methods)} only.", tuple(methods))
        return NotFound(f"Nothing is served at {path}.")


def _family(path: str) -> str:
    """`/api/v1/events/acme` belongs to `events`."""
    segments = path.split("/", 4)
    return segments[3] if len(segments) > 3 else ""
