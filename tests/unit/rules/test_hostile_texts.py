"""Texts that are made to hang, crash or bloat the compiler. The parser's fuzzing is in test_parser.py."""

from __future__ import annotations

import time

import pytest
from eventrunner.rules import Problem, RuleSyntaxError, compile_rules, json_to_grl
from hypothesis import HealthCheck, given, settings
from strategies_grl import requests, texts

SECONDS = 20
"""Of CPU: nothing of 1 MiB takes a fourth of it alone, and what looks at characters twice takes a minute."""

MANY = 200_000


def rule(condition: str, then: str = "") -> str:
    return f'rule A {{ when {condition} then {then} Retract("A"); }}'


def rules(count: int, condition: str) -> str:
    return "".join(f'rule A{n} {{ when {condition.format(n)} then Retract("A{n}"); }}\n' for n in range(count))


TEXTS = {
    "a hexadecimal number": rule("0x" + "f" * MANY + " == 1"),
    "a hexadecimal float": rule("0x" + "f" * MANY + "." + "f" * MANY + " == 1"),
    "an octal number": rule("0" + "7" * MANY + " == 1"),
    "a decimal number": rule("1" * MANY + " == 1"),
    "a float": rule("1." + "1" * MANY + "e == 1"),
    "an exponent": rule("0x1p" + "9" * 1000 + " == 1"),
    "a salience": "rule A salience " + "9" * MANY + " { when true then F.x(); }",
    "open comments": "/* " * MANY,
    "open comments of lines": "/*\n" * MANY,
    "quotes": '"' * MANY,
    "escaped quotes": rule('"' + '\\"' * MANY),
    "quotes on lines": "\"\n'\n" * (MANY // 2),
    "characters that are none": "@" * MANY,
    "keywords": "rule " * MANY,
    "braces": "{" * MANY,
    "semicolons": "rule A { when true then " + ";" * MANY + " }",
    "unknown facts": rule(" || ".join(f"X{n}.y" for n in range(2000)) + " || " + " || ".join(["Y"] * 1)),
    "unknown facts in statements": rule("true", "".join(f"X{n}.y.z = 1; " for n in range(40_000))),
    "parentheses": rule("(" * MANY + "true"),
    "negations": rule("!" * MANY + "true"),
    "selectors": rule("Event.data" + "[0]" * MANY + " == 1"),
    "members": rule("Event.data" + ".a" * MANY + " == 1"),
    "operators": rule(" + ".join(["1"] * MANY) + " == 1"),
    "arguments": rule('"x".In(' + ",".join(['"a"'] * MANY) + ")"),
    "statements": rule("true", "Event.data.x = 1;" * 40_000),
    "conditions that share nothing": rules(5000, "Event.data.f{0} == 1"),
    "conditions that share in pairs": rules(5000, "Event.data.a{0} == Event.data.b && Event.data.c.Len() == {0}"),
    "conditions on a range": rules(5000, "Event.data.a > {0}"),
    "long conditions that are shared": rules(20, " && ".join(f"Event.data.f{n}.Len() == 1" for n in range(300))),
    "a tree of shared parts": rules(1000, " && ".join(f"Event.data.f{n}.Len() == {{0}}" for n in range(10))),
    "everything reads what everything writes": "".join(
        f"rule A{n} {{ when Event.data.f > Event.data.g{n} then Event.data.f = 1; Event.data.h{n} = 1; }}\n"
        for n in range(5000)
    ),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TEXTS.items()])
def test_every_text_is_compiled_or_refused_in_time(text):
    assert len(text) <= 1 << 20
    started = time.thread_time()
    problems = problems_of(text)
    assert time.thread_time() - started < SECONDS
    assert problems is None or 0 < len(problems) <= 50


def problems_of(text: str) -> tuple[Problem, ...] | None:
    """None if the text is compiled. Anything but a syntax error is a crash."""
    try:
        compile_rules(text)
    except RuleSyntaxError as error:
        return error.problems
    return None


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(text=texts() | requests().map(lambda request: request["grl"]))
def test_a_broken_text_is_compiled_or_refused(text):
    problems = problems_of(text.replace("F.", "Event.data."))
    assert problems is None or all(str(problem) for problem in problems)


@pytest.mark.parametrize(
    "text",
    [
        "[" * MANY,
        '{"name":"A","then":[],"when":' + '{"and":[' * MANY,
        '{"name":"A","then":["x"],"when":' + "1" * MANY + "}",
    ],
)
def test_json_rules_that_nest_deep_are_refused(text):
    with pytest.raises(RuleSyntaxError):
        json_to_grl(text)


HOSTILE = [
    "__import__('os')",
    "Event.__class__",
    "\\n\\ndef x(): pass\\n",
    "k0",
    "ctx.program",
    "{0}",
    "%s",
    "\\u2028",
    '"""',
]


@pytest.mark.parametrize("word", HOSTILE)
def test_no_text_of_a_rule_becomes_code(word, monkeypatch):
    """Strings, names of fields and of rules stand in tables; the generated code holds none of them."""
    sources: list[str] = []
    compiled = compile

    def spy(source, *arguments, **options):
        sources.append(source)
        return compiled(source, *arguments, **options)

    monkeypatch.setattr("builtins.compile", spy)
    literal = word.replace('"', '\\"')
    name = "Marked" + "".join(filter(str.isalnum, word)) + "é"
    then = f'Out["{literal}"] = "{literal}"; Event.data.{name} = 1; {name} = 2; Tag("a", "{literal}");'
    text = f'rule {name} {{ when Event.data["{literal}"] == "{literal}" && Event.{name} == "{literal}" then {then} }}'
    compile_rules(text)
    (source,) = sources
    assert source.isascii()
    assert "Marked" not in source
    assert word == "k0" or word not in source
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_()[]{}:=|&.,<>+-! \n"
    assert set(source) <= set(allowed)
