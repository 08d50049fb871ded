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
        ('rule "A" { when true then Complete(); }', "the name stands without quotes"),
        ("rule My-Rule { when true then Complete(); }", "names start with a letter"),
        ('rule A "desc { when true then Complete(); }', 'close the string with "'),
        ('rule A salience 1 "desc" { when true then Complete(); }', "the description stands before salience"),
        ("rule A { then Complete(); }", "when true"),
        ('rule A { when Event.type in ("a", "b") then Complete(); }', 'write value.In("a", "b")'),
        ('rule A { when Event.type matches "a" then Complete(); }', "write value.MatchString"),
        ("rule A { when Event.data.a => 1 then Complete(); }", "write >="),
        ("rule A { when Event.data.a === 1 then Complete(); }", "comparison is =="),
        ("rule A { when Event.data.a <> 1 then Complete(); }", "unequal is !="),
        ("rule A { when not Event.data.a then Complete(); }", "write !"),
        ("rule A { when Event.data.a & & Event.data.b then Complete(); }", "write && without a blank"),
        ("rule A { when true, false then Complete(); }", "write &&"),
        ("rule A { when Event.data.a > 1,000 then Complete(); }", "numbers are written without separators"),
        ("rule A { when Event.data.a > 08 then Complete(); }", "octal"),
        ("rule A { when Event.data.a > 5. then Complete(); }", "write 5.0"),
        ("rule A { when Event.data.1st > 1 then Complete(); }", 'written ["1'),
        ("rule A { when Event.data.a == null then Complete(); }", "write nil"),
        ("rule A { when “a” == Event.type then Complete(); }", "strings stand in"),
        ("# comment\nrule A { when true then Complete(); }", "comments are //"),
        ("rule A { when true then if (Event.data.a > 1) { Complete(); } }", "GRL has no if"),
        ("rule A { when true then let x = 1; }", "variables are not declared"),
        ("rule A { when true then Out.x = [1, 2]; }", "GRL has no list literals"),
        ('rule A { when true then Out.x = {"a": 1}; }', "GRL has no map literals"),
        ("rule A { when true then Out.x = Event.data.a ? 1 : 2; }", "GRL has no ?:"),
        ("rule A { when true then Out.x == 1; }", "assignment is ="),
        ("rule A { when true then Out.x := 1; }", "assignment is ="),
        ("rule A { when true then Out.x =+ 1; }", "write +="),
        ("rule A { when true then Complete(); };", "no ';' follows"),
        ("rule A { when true then Retract(A); }", 'a string: "A"'),
        ("rule A { when true then Emit(); }", 'write Emit("type")'),
        ('rule A { when true then Tag("a"); }', 'write Tag("key", value)'),
        ('rule A { when true then print("a"); }', "did you mean Log?"),
        ("rule A { when IsEmpty(Event.data.a) then Complete(); }", "write value.Len() == 0"),
        ("rule A { when len(Event.data.a) > 1 then Complete(); }", "write value.Len("),
        ('rule A { when Event.type.startsWith("x") then Complete(); }', "did you mean HasPrefix?"),
        ('rule A { when Event.type.MatchString("(?=x)") then Complete(); }', "RE2 knows no look-around"),
        ("rule A { when Event.type.Length() > 1 then Complete(); }", "did you mean Len?"),
    ],
)
def test_a_hint_says_what_was_meant(text: str, hint: str) -> None:
    assert any(hint in problem.hint for problem in problems(text).problems)


@pytest.mark.parametrize(
    "text",
    [
        "rule My-Rule { when true then Complete(); }",
        'rule A { when Event.data["a] == 1 then Complete(); }',
        'rule A "desc { when true then Complete(); }',
        'rule A { when true then if (Event.data.a > 1) { Complete(); Drop("x"); } Complete(); }',
        'rule A { when true then Out.x = {"a": {"b": 1}}; Complete(); }',
        "rule A when true then Complete(); }",
        "rule A { when true then Retract(A); }",
    ],
)
def test_one_mistake_is_reported_once(text: str) -> None:
    assert len(problems(text).problems) == 1
    assert [item.line for item in problems(f"{text}\nrule B {{ when x then Complete(); }}").problems][:1] == [1]


def test_the_rules_behind_a_mistake_are_read_too() -> None:
    error = problems(
        "rule My-Rule { when true then Complete(); }\n"
        "rule A { when true then if (true) { Complete(); } }\n"
        "rule B salience high { when true then Complete(); }\n"
        "rule C { when Event.data.a + then Complete(); }"
    )
    assert [problem.line for problem in error.problems] == [1, 2, 3, 4]


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
