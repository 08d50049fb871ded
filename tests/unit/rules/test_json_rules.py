from __future__ import annotations

from typing import Any

import msgspec
import pytest
from eventrunner.rules import RuleSyntaxError, json_to_grl
from eventrunner.rules.parser import parse


def translate(when: Any, then: Any = ("Complete()",)) -> str:
    return json_to_grl(msgspec.json.encode({"name": "A", "when": when, "then": list(then)}))


def condition(when: Any) -> str:
    return translate(when).split("when\n        ")[1].split("\n    then")[0]


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("F.x > 1", "F.x > 1"),
        ({"gt": ["F.x", 1]}, "F.x > 1"),
        ({"eq": ["F.x", "F.y", True]}, "F.x == F.y == true"),
        ({"not": ["F.x", 10000000]}, "F.x != 1e+07"),
        ({"eq": [{"obj": "F.x"}, {"const": 10000000}]}, "F.x == 10000000"),
        ({"eq": ["F.s", {"const": 'a"\n'}]}, 'F.s == "a\\"\\n"'),
        ({"lt": [{"plus": ["F.x", 1]}, 2.5]}, "(F.x + 1) < 2.5"),
        ({"and": [{"or": [{"obj": "F.a"}, {"obj": "F.b"}]}, {"obj": "F.c"}]}, "(F.a || F.b) && F.c"),
        ({"call": ["F.s.In", {"const": "a"}, "F.t"]}, 'F.s.In("a", F.t)'),
    ],
)
def test_conditions_become_grl(when: Any, text: str) -> None:
    assert condition(when) == text


def test_a_rule_becomes_the_text_that_grule_makes() -> None:
    rule = {
        "name": "A",
        "desc": "d",
        "salience": 3,
        "when": "true",
        "then": ["F.x = 1", {"set": ["F.y", {"const": "v"}]}],
    }
    text = json_to_grl(msgspec.json.encode([rule]))
    assert text == (
        'rule A "d" salience 3 {\n    when\n        true\n    then\n        F.x = 1;\n        F.y = "v";\n}\n'
    )
    assert parse(text)[0].salience == 3


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ('[\n{"name": "A",}]', (2, 14), "JSON is malformed"),
        ('{"name": "A"', (1, 13), "truncated"),
        (
            '[{"name": "A", "when": "true", "then": []},\n  {"name": "B", "when": 1, "then": []}]',
            (2, 3),
            "rule B: when",
        ),
        ('[{"name": "A", "when": "true", "then": []}, 5]', (1, 45), "rule 2: a rule must be an object"),
        ('{"name": "Ä", "when": {"xor": [1]}, "then": []}', (1, 1), "rule Ä: unknown operator xor"),
    ],
)
def test_an_error_says_where_it_is(document: str, place: tuple[int, int], message: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        json_to_grl(document)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert problem.source_line == document.split("\n")[place[0] - 1]


@pytest.mark.parametrize(
    "document",
    [
        *(
            "",
            "7",
            "[7]",
            "{}",
            '{"name": "A"}',
            '{"name": "A", "when": "true"}',
            '{"name": "A", "when": 1, "then": []}',
        ),
        '{"name": "A", "salience": 1.5, "when": "true", "then": ["x()"]}',
        '{"name": "A", "when": {"and": [{"obj": "a"}]}, "then": ["x()"]}',
        '{"name": "A", "when": {"and": ["a", "b"]}, "then": ["x()"]}',
        '{"name": "A", "when": {"eq": []}, "then": ["x()"]}',
        '{"name": "A", "when": {"xor": [1]}, "then": ["x()"]}',
        '{"name": "A", "when": {"eq": [1], "gt": [1]}, "then": ["x()"]}',
        '{"name": "A", "when": {"const": null}, "then": ["x()"]}',
        '{"name": "A", "when": "true", "then": [{"set": ["F.x"]}]}',
        '{"name": "A", "when": ' + '{"and":[{"obj":"a"},' * 300 + '{"obj":"a"}' + "]}" * 300 + ', "then": ["x()"]}',
    ],
)
def test_a_malformed_json_rule_is_refused(document: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        json_to_grl(document)
    assert caught.value.problems[0].kind == "json_rule"
