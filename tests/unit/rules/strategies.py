"""GRL texts for property tests: arbitrary ones, and ones made of its own words."""

from __future__ import annotations

from hypothesis import strategies as st

_WORDS = [
    *("rule", "when", "then", "salience", "true", "FALSE", "nil", "F", "Event.data.x", "Out", "é", "_", "$"),
    *(".5", "0", "017", "08", "0x1f", "1.5e3", "e+1", "E1", "p-2", "5.", '"a"', "'b'", '"\\n"', '"\\q"', '"', '""'),
    *("&&", "||", "==", "!=", "<", "<=", ">", ">=", "=", "+=", "-=", "+", "-", "*", "/", "%", "&", "|", "!"),
    *("(", ")", "[", "]", "{", "}", ".", ",", ";", "//", "/*", "*/", 'Retract("A")', "F.s.Len()"),
]

arbitrary = st.text(max_size=200)
wordy = st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join)


def rule_around(expression: str) -> str:
    return f'rule A {{ when {expression} then Out.x = 1; Retract("A"); }}'
