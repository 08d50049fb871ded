from __future__ import annotations

import pytest
from eventrunner.rules.lexer import tokenize
from hypothesis import given

from tests.unit.rules.strategies import arbitrary, wordy


def kinds(text: str) -> list[str]:
    return [token.kind for token in tokenize(text)][:-1]


def texts(text: str) -> list[str]:
    return [token.text for token in tokenize(text)][:-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e+1", ["e+1"]),
        ("p-2", ["p-2"]),
        ("e + 1", ["e", "+", "1"]),
        ("e1+1", ["e1", "+", "1"]),
        ("x+1", ["x", "+", "1"]),
        ("F.5", ["F", ".5"]),
        ("F.a", ["F", ".", "a"]),
        ("5.", ["5", "."]),
        ("08", ["0", "8"]),
        ("017", ["017"]),
        ("072.40", ["072", ".40"]),
        ("0x1p-2", ["0x1p-2"]),
        ("0X.8p0", ["0X.8p0"]),
        ("1e3x", ["1e3", "x"]),
        ("a<=b", ["a", "<=", "b"]),
        ("a-=-1", ["a", "-=", "-", "1"]),
        ("a&b&&c", ["a", "&", "b", "&&", "c"]),
        ('"a""b"', ['"a""b"']),
        ('"a\\"b"', ['"a\\"b"']),
        ("/* a */1// b\n2", ["1", "2"]),
        ("/* a /* b */ c", ["c"]),
    ],
)
def test_the_longest_token_wins(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


@pytest.mark.parametrize("word", ["rule", "RULE", "When", "tHeN", "Salience", "TRUE", "fAlSe", "NIL"])
def test_keywords_are_read_in_any_case(word: str) -> None:
    assert kinds(word) == [word.lower()]


@pytest.mark.parametrize("word", ["rules", "éa", "Ωmega", "имя", "名前", "a_b", "a\u00b7"])
def test_names_may_hold_letters_of_many_scripts(word: str) -> None:
    assert kinds(word) == ["name"]


@pytest.mark.parametrize("text", ["_a", "$", "@", "#", "\\", "😀", '"open', "'open"])
def test_what_no_token_starts_with_is_bad(text: str) -> None:
    assert kinds(text)[0] == "bad"


@given(arbitrary | wordy)
def test_every_text_is_split_without_loss(text: str) -> None:
    tokens = tokenize(text)
    assert tokens[-1].kind == "end"
    assert all(text[token.at : token.end] == token.text for token in tokens)
    assert [token.at for token in tokens] == sorted(token.at for token in tokens)
