"""Guesses what the writer of a rule meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from eventrunner.rules.lexer import Token

__all__ = ["describe", "did_you_mean", "hint"]

_WORDS = {
    "and": "write &&",
    "or": "write ||",
    "not": "write !",
    "if": "GRL has no if: make it a rule of its own",
    "null": "write nil; but a comparison with nil always fails",
}
_KEYWORDS = ("rule", "when", "then", "salience")


def describe(token: Token) -> str:
    if token.kind == "end":
        return "the end of the text"
    shown = token.text if len(token.text) <= 30 else token.text[:27] + "..."
    if token.text[:2] == "/*":
        return "a comment that is not closed"
    if token.kind == "bad":
        return f"an unclosed string {shown}" if token.text[0] in "\"'" else f"the character {shown!r}"
    return f"'{shown}'"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    pool = {item.lower(): item for item in known}
    close = get_close_matches(name.lower(), pool, n=1, cutoff=0.6)
    return f"did you mean {pool[close[0]]}?" if close else ""


def hint(token: Token, previous: Token | None, expected: str) -> str:
    """What may help where `expected` was wanted and `token` found; empty if nothing comes to mind."""
    if token.kind == "name":
        return _name_hint(token.text, expected)
    if token.kind == "exponent":
        return f"'{token.text}' is read as an exponent: put blanks around the operator"
    if token.kind == "=" and expected != "'='":
        return "comparison is =="
    if token.kind in ("+", "-") and expected == "';'":
        return f"GRL has no {token.kind * 2}: write {token.kind}= 1"
    if token.kind == "-":
        return "a minus sign stands only before a number: write 0 - x"
    if token.kind in _KEYWORDS and previous is not None and previous.kind == ".":
        return f"'{token.text}' is a keyword: write [\"{token.text}\"]"
    if token.kind == ";" and previous is not None and previous.kind == ";":
        return "one ';' is enough"
    if token.kind == "bad" and token.text in "$@_#":
        return "names start with a letter and hold letters, digits and '_'"
    return ""


def _name_hint(name: str, expected: str) -> str:
    if name.lower() in _WORDS:
        return _WORDS[name.lower()]
    wanted = [word for word in _KEYWORDS if word in expected] or (_KEYWORDS if "{" in expected else [])
    return did_you_mean(name, wanted)
