"""Errors and firing, on plain facts."""

from __future__ import annotations

from typing import Any

import pytest
from eventrunner.rules import KnowledgeBase, RuleSyntaxError

from tests.unit.rules.support import execute


def test_the_highest_salience_fires_first_and_equal_ones_in_order_of_definition() -> None:
    rules = "".join(
        f'rule {name} salience {salience} {{ when true then Retract("{name}"); }}'
        for name, salience in [("A", 0), ("B", 5), ("C", 0), ("D", -1)]
    )
    assert execute(rules, {}).fired == ["B", "A", "C", "D"]


def test_a_rule_fires_again_while_its_condition_holds() -> None:
    facts = {"F": {"n": 3}}
    outcome = execute("rule A { when F.n > 0 then F.n -= 1; }", facts)
    assert (outcome.fired, outcome.cycles, facts) == (["A"] * 3, 3, {"F": {"n": 0}})


def test_a_write_is_seen_by_other_conditions_in_any_spelling() -> None:
    rules = 'rule A { when F.x == 1 then F["x"] = 2; } rule B { when F["x"] == 2 then F.y = F.x; Retract("B"); }'
    facts: dict[str, Any] = {"F": {"x": 1}}
    assert execute(rules, facts).fired == ["A", "B"]
    assert facts["F"]["y"] == 2


@pytest.mark.parametrize(
    ("action", "condition"),
    [
        ("F.o.y = 1;", "F.o.Len() == 2"),
        ("F.o = F.p;", "F.o.z == 1"),
        ("F.p = F.o; F.p.x = 5;", "F.o.x == 5"),
        ("X = 1;", "X == 1"),
        ("F.a[F.s.Len()] = 9;", "F.a[1] == 9"),
    ],
)
def test_conditions_are_never_stale(action: str, condition: str) -> None:
    facts: dict[str, Any] = {"F": {"o": {"x": 0}, "p": {"z": 1}, "a": [0, 0], "s": "x"}, "X": 0}
    first = f'rule A salience 1 {{ when true then {action} Retract("A"); }}'
    rules = f'{first} rule B {{ when {condition} then Retract("B"); }}'
    assert execute(rules, facts).fired == ["A", "B"]


def test_retract_lasts_to_the_end_and_may_name_any_rule() -> None:
    first = 'rule A salience 1 { when true then Retract("B"); Retract("A"); Retract("Z"); }'
    rules = f"{first} rule B {{ when true then F.x = 1; }}"
    assert execute(rules, {"F": {}}).fired == ["A"]


def test_complete_ends_after_the_block() -> None:
    facts: dict[str, Any] = {"F": {}}
    assert execute("rule A { when true then Complete(); F.x = 1; }", facts).fired == ["A"]
    assert facts == {"F": {"x": 1}}


@pytest.mark.parametrize(("limit", "error"), [(3, None), (2, "max_cycle"), (0, "max_cycle")])
def test_max_cycle_counts_cycles_in_which_a_rule_matches(limit: int, error: str | None) -> None:
    outcome = execute("rule A { when F.n > 0 then F.n -= 1; }", {"F": {"n": 3}}, max_cycle=limit)
    assert outcome.error == error
    assert len(outcome.fired) == min(limit, 3)


def test_a_failing_condition_does_not_match() -> None:
    outcome = execute('rule A { when F.x > 1 then F.y = 1; } rule B { when true then Retract("B"); }', {"F": {}})
    assert (outcome.fired, outcome.eval_failed, outcome.error) == (["B"], ["A"], None)


def test_a_strict_execution_ends_with_a_failing_condition() -> None:
    assert execute("rule A { when F.x > 1 then F.y = 1; }", {"F": {}}, strict=True).error == "eval"


def test_a_condition_that_is_no_boolean_does_not_match() -> None:
    assert execute("rule A { when F.n then F.y = 1; }", {"F": {"n": 1}}).eval_failed == ["A"]


def test_a_failing_action_stops_and_what_was_done_stays() -> None:
    facts: dict[str, Any] = {"F": {}}
    outcome = execute("rule A { when true then F.x = 1; F.y = F.missing; F.z = 1; }", facts)
    assert (outcome.error, facts) == ("exec", {"F": {"x": 1}})


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("F.new = 1;", {"s": "a", "nul": None, "a": [1], "new": 1}),
        ('F["k"] = "v";', {"s": "a", "nul": None, "a": [1], "k": "v"}),
        ("F.s = F.nul;", {"nul": None, "a": [1]}),
        ("F.a[0] += 2;", {"s": "a", "nul": None, "a": [3]}),
        ("F.a = F.a.Append(2);", {"s": "a", "nul": None, "a": [1, 2]}),
        ("F.a.Append(2);", {"s": "a", "nul": None, "a": [1]}),
        ("F.a[0] = F.nul;", None),
        ("F.a[1] = 1;", None),
        ("F.zz.y = 1;", None),
        ("F.s.y = 1;", None),
        ("F.zz += 1;", None),
        ("F.s = nil;", None),
        ("F.a[0.0] = 1;", None),
    ],
)
def test_assignments_need_a_place(statement: str, expected: dict[str, Any] | None) -> None:
    facts: dict[str, Any] = {"F": {"s": "a", "nul": None, "a": [1]}}
    outcome = execute(f'rule A {{ when true then {statement} Retract("A"); }}', facts)
    assert (None if outcome.error else facts["F"]) == expected


def test_a_top_level_assignment_makes_a_fact_of_a_scalar_and_null_of_the_rest() -> None:
    facts: dict[str, Any] = {"F": {"o": {}}}
    execute('rule A { when true then X = 5; Y = F.o; Retract("A"); }', facts)
    assert facts == {"F": {"o": {}}, "X": 5, "Y": None}


def test_matching_only_lists_rules_by_salience() -> None:
    base = KnowledgeBase()
    base.add("rule A { when F.n > 0 then F.n = 0; } rule B salience 3 { when true then F.n = 0; }")
    base.add("rule C { when F.n > 1 then F.n = 0; }", "second.grl")
    facts = {"F": {"n": 1}}
    assert base.match(facts).matched == ["B", "A"]
    assert facts == {"F": {"n": 1}}


def test_a_removed_rule_frees_its_name() -> None:
    base = KnowledgeBase()
    base.add("rule A { when true then F.n = 0; }")
    with pytest.raises(RuleSyntaxError, match="defined twice"):
        base.add("rule A { when true then F.n = 1; } rule B { when true then F.n = 1; }")
    assert base.match({}).matched == ["A"]
    base.remove("A")
    base.add('rule A { when true then F.n = 2; Retract("A"); }')
    facts: dict[str, Any] = {"F": {}}
    base.execute(facts)
    assert facts == {"F": {"n": 2}}


def test_logs_are_collected() -> None:
    outcome = execute('rule A { when true then Log("a"); LogFormat("%v %%", 1.5); Retract("A"); }', {})
    assert outcome.logs == ["a", "1.5 %"]
