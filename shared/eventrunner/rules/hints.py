"""Guesses what the writer of a rule meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from eventrunner.rules.lexer import Token

__all__ = ["STATEMENTS", "describe", "did_you_mean", "function_hint", "hint", "method_hint", "name_hint"]

_WORDS = {
    "and": "write &&",
    "or": "write ||",
    "not": "write !",
    "in": 'write value.In("a", "b")',
    "matches": 'write value.MatchString("…")',
    "contains": 'write value.Contains("…")',
    "null": "write nil; but a comparison with nil always fails",
    "none": "write nil; but a comparison with nil always fails",
    "undefined": "a missing field makes its condition fail: there is no value for it",
}
STATEMENTS = {
    "if": "GRL has no if: make it a rule of its own",
    "else": "GRL has no else: make it a rule of its own",
    "for": "GRL has no loops: a rule fires again as long as its condition holds",
    "while": "GRL has no loops: a rule fires again as long as its condition holds",
    "return": "write Complete() to end the rules",
    "let": "variables are not declared: write name = value",
    "var": "variables are not declared: write name = value",
    "const": "variables are not declared: write name = value",
}
"""Words with which statements of other languages begin."""
_METHODS = {
    "startswith": "HasPrefix",
    "endswith": "HasSuffix",
    "length": "Len",
    "size": "Len",
    "count": "Count",
    "includes": "Contains",
    "indexof": "Index",
    "lower": "ToLower",
    "tolowercase": "ToLower",
    "upper": "ToUpper",
    "touppercase": "ToUpper",
    "strip": "Trim",
    "matches": "MatchString",
    "match": "MatchString",
    "push": "Append",
    "add": "Append",
}
_FUNCTIONS = {"print": "Log", "println": "Log", "delete": "Retract", "stop": "Complete", "halt": "Complete"}
_KEYWORDS = ("rule", "when", "then", "salience")
_PAIRS = {
    ("=", ">"): "write >=",
    ("=", "<"): "write <=",
    ("<", ">"): "unequal is !=",
    ("==", "="): "comparison is ==",
    ("!=", "="): "unequal is !=",
    ("=", "+"): "write +=",
    ("=", "*"): "write *=",
    ("=", "/"): "write /=",
    ("&", "&"): "write && without a blank",
    ("|", "|"): "write || without a blank",
    (";", ";"): "one ';' is enough",
    ("}", ";"): "no ';' follows the '}' of a rule",
}
"""Two tokens of which one is wrong."""
_STARTS = {
    "[": "GRL has no list literals: start from a list of the event, or from Split",
    "{": "GRL has no map literals: assign the members of Out or of Event.data one by one",
    "-": "a minus sign stands only before a number: write 0 - x",
    "+": "a number has no plus sign",
}
"""Where an expression is expected."""
_CHARACTERS = {
    "?": "GRL has no ?: make it two rules",
    ":": "assignment is =",
    "#": "comments are // or /* */",
    "`": "strings stand in \" or '",
    "^": "GRL has no ^",
    "~": "GRL has no ~",
    **dict.fromkeys("\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb", "strings stand in \" or '"),
}
_NAMES = "names start with a letter and hold letters, digits and '_'"


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


def method_hint(name: str, known: Iterable[str]) -> str:
    meant = _METHODS.get(name.lower().replace("_", ""))
    return f"did you mean {meant}?" if meant else did_you_mean(name, known)


def function_hint(name: str, known: Iterable[str], methods: Iterable[str]) -> str:
    """For a function that is not there; it may be a method of values."""
    meant = _FUNCTIONS.get(name.lower())
    guess = f"did you mean {meant}?" if meant else STATEMENTS.get(name.lower(), "") or did_you_mean(name, known)
    if guess:
        return guess
    if name.lower() in ("isempty", "empty"):
        return "write value.Len() == 0"
    method = {item.lower(): item for item in methods}.get(name.lower()) or _METHODS.get(name.lower())
    return f"write value.{method}(…)" if method else ""


def name_hint(name: str) -> str:
    """For a name that is no fact."""
    return _WORDS.get(name.lower(), "")


def hint(tokens: Sequence[Token], index: int, expected: str) -> str:
    """What may help where `expected` was wanted and the token at `index` found; empty if nothing comes to mind."""
    token = tokens[index]
    before = [tokens[index - back] if index >= back else Token("", "", 0) for back in (1, 2)]
    return (
        _number_hint(token, before)
        or _PAIRS.get((token.kind, tokens[min(index + 1, len(tokens) - 1)].kind), "")
        or _pair_hint(token, before[0], expected)
        or _header_hint(token, before[0], expected)
        or _token_hint(token, before[0], expected)
    )


def _number_hint(token: Token, before: Sequence[Token]) -> str:
    if before[0].kind == "." and before[1].kind == "int":
        return f"write {before[1].text}.0"
    if before[0].kind == "int":
        if token.kind == "int" and before[0].text == "0":
            return "a number that starts with 0 is octal: leave the 0 out"
        if token.kind == ",":
            return "numbers are written without separators"
    if token.kind == "float" and token.text[0] == "." and before[0].kind in ("name", "]"):
        return f'a field that starts with a digit is written ["{token.text[1:]}…"]'
    if token.kind == "exponent":
        return f"'{token.text}' is read as an exponent: put blanks around the operator"
    return ""


def _pair_hint(token: Token, previous: Token, expected: str) -> str:
    if previous.kind == "name" and previous.text.lower() == "not":
        return _WORDS["not"]
    if token.kind == "=" and expected != "'='" and previous.kind not in ("==", "!="):
        return "comparison is =="
    if token.kind == "==" and expected == "';'":
        return "assignment is ="
    if token.kind == "," and expected == "'then'":
        return "write &&"
    return _PAIRS.get((previous.kind, token.kind), "")


def _header_hint(token: Token, previous: Token, expected: str) -> str:
    if expected == "the name of the rule" and token.kind == "string":
        return "the name stands without quotes"
    if expected == "'{'" and previous.kind == "int" and token.kind == "string":
        return "the description stands before salience"
    if expected == "'{'" and previous.kind == "name" and token.kind in ("-", "."):
        return _NAMES
    if expected == "'when'" and token.kind == "then":
        return "a rule without a condition: when true"
    return ""


def _token_hint(token: Token, previous: Token, expected: str) -> str:
    if token.kind == "name":
        return _misspelt_keyword(token.text, expected)
    if token.kind in ("+", "-") and expected == "';'":
        return f"GRL has no {token.kind * 2}: write {token.kind}= 1"
    if token.kind in _KEYWORDS and previous.kind == ".":
        return f"'{token.text}' is a keyword: write [\"{token.text}\"]"
    if expected == "an expression" and token.kind in _STARTS:
        return _STARTS[token.kind]
    if token.kind == "bad" and token.text[0] in "\"'":
        return f"close the string with {token.text[0]}"
    if token.kind == "bad":
        return _CHARACTERS.get(token.text, _NAMES if token.text in "$@_" else "")
    return ""


def _misspelt_keyword(name: str, expected: str) -> str:
    if name.lower() in _WORDS:
        return _WORDS[name.lower()]
    wanted = [word for word in _KEYWORDS if word in expected] or (_KEYWORDS if "{" in expected else [])
    return did_you_mean(name, wanted)
