"""Splits GRL text into tokens, with the longest-match rules of Grule's ANTLR grammar.

`e+1` and `p-2` are ONE token (an exponent), `.5` after a name is a float and not a member, `08` is two tokens.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Token", "tokenize"]

# Grule's name ranges (ISC, IC) hold no character outside the Basic Multilingual Plane.
_START = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c-\u200d\u2070-\u218f"
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd"
)
_NAME = f"[{_START}][{_START}0-9_\u00b7\u0300-\u036f\u203f-\u2040]*"

# Alternatives are ordered so that the first that matches is also the longest. None may look at a character twice, as
# the text is a tenant's: hence the possessive quantifiers, and a comment that is not closed takes all that follows.
_TOKEN = re.compile(
    rf"""
      (?P<blank>(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)+)
    | (?P<bad>/\*.*)
    | (?P<exponent>[eEpP][+-][0-9]+)
    | (?P<name>{_NAME})
    | (?P<float>0[xX](?:[0-9a-fA-F]++(?:\.[0-9a-fA-F]*+)?|\.[0-9a-fA-F]++)[pP][+-]?[0-9]+
        |(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][+-]?[0-9]+)?
        |(?:0|[1-9][0-9]*)[eE][+-]?[0-9]+
        |\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<int>0[xX][0-9a-fA-F]+|0[0-7]+|0|[1-9][0-9]*)
    | (?P<string>"(?:\\.|""|[^"\\])*"|'(?:\\.|''|[^'\\])*')
    | (?P<op>&&|\|\||[=!<>]=|[-+*/]=|[-+*/%=<>!&|.;,(){{}}\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)

_KEYWORDS = frozenset({"rule", "when", "then", "salience", "true", "false", "nil"})


class Token(NamedTuple):
    kind: str
    """`name`, `int`, `float`, `string`, `exponent`, `end`, `bad`, or the operator or (lower case) keyword."""
    text: str
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.text)


def tokenize(text: str) -> list[Token]:
    """All tokens and a final `end`. What no token can start with becomes a `bad` token of one character."""
    tokens: list[Token] = []
    match = _TOKEN.match
    at, size = 0, len(text)
    while at < size:
        found = match(text, at)
        if found is None:
            tokens.append(Token("bad", _bad(text, at), at))
            at += len(tokens[-1].text)
            continue
        kind, part = found.lastgroup or "", found.group()
        at = found.end()
        if kind == "op":
            kind = part
        elif kind == "name" and part.lower() in _KEYWORDS and part.isascii():
            kind = part.lower()
        if kind != "blank":
            tokens.append(Token(kind, part, found.start()))
    tokens.append(Token("end", "", size))
    return tokens


def _bad(text: str, at: int) -> str:
    """An unclosed string swallows the rest of its line, so that one mistake is reported once."""
    if text[at] in "\"'":
        return text[at:].split("\n", 1)[0] or text[at]
    return text[at]
