from __future__ import annotations

import pytest
from eventrunner.rules import ProblemKind, RuleSyntaxError, compile_rules


def problems(text: str) -> RuleSyntaxError:
    with pytest.raises(RuleSyntaxError) as caught:
        compile_rules(text, name="a.grl")
    return caught.value


def test_an_error_shows_file_line_column_and_a_caret() -> None:
    error = problems("rule A {\n\twhen Event.type = 1\n\tthen Complete();\n}")
    assert str(error) == (
        "a.grl:2:18: expected 'then', found '='\n"
        "    \twhen Event.type = 1\n"
        "    \t                ^\n"
        "    hint: comparison is =="
    )


def test_all_errors_of_a_text_come_at_once() -> None:
    error = problems(
        "rule A { when Event.x = 3 then Out.y = 1 }\n"
        "rul B { whn true then a.b(; }\n"
        'rule C { when true then -Out.x; Out.x++; Out.s = "\\c"; }\n'
    )
    assert [problem.line for problem in error.problems] == [1, 1, 2, 2, 2, 3, 3, 3]
    assert [item.field for item in error.fields][:2] == ["a.grl:1:23", "a.grl:1:40"]
    assert error.status == 422


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("rul A { when true then Complete(); }", "did you mean rule?"),
        ("rule A { wen true then Complete(); }", "did you mean when?"),
        ("rule A salence 1 { when true then Complete(); }", "did you mean salience?"),
        ("rule A { when true and true then Complete(); }", "write &&"),
        ("rule A { when Event.data.e+1 > 2 then Complete(); }", "'e+1' is read as an exponent"),
        ("rule A { when -Event.data.x > 2 then Complete(); }", "write 0 - x"),
        ("rule A { when true then Out.x++; }", "write += 1"),
        ("rule A { when Event.rule == 1 then Complete(); }", 'write ["rule"]'),
        ('rule A { when true then Retrat("A"); }', "did you mean Retract?"),
        ("rule A { when Evnt.type == 1 then Complete(); }", "did you mean Event?"),
        ("rule A { when Event.type.Length() > 1 then Complete(); }", "did you mean Len?"),
    ],
)
def test_a_hint_says_what_was_meant(text: str, hint: str) -> None:
    assert any(hint in problem.hint for problem in problems(text).problems)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("Tenant.plan = 1;", "Tenant cannot be changed"),
        ('Event.id = "x";', "Event.id cannot be changed"),
        ('Event["source"] = "x";', "Event.source cannot be changed"),
        ("Event = 1;", "Event cannot be replaced"),
        ("Out = 1;", "Out cannot be replaced"),
        ("Event[Out.x] = 1;", "an attribute of Event is assigned by its name"),
    ],
)
def test_what_is_fixed_cannot_be_assigned(statement: str, message: str) -> None:
    assert message in str(problems(f"rule A {{ when true then {statement} }}"))


def test_a_rule_defined_twice_is_named() -> None:
    error = problems("rule A { when true then Complete(); } rule A { when true then Complete(); }")
    assert error.problems[0].kind is ProblemKind.DUPLICATE_RULE
    assert "rule A is defined twice" in str(error)
