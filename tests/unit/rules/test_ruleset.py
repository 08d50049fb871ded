"""Rules on events: what they see and what comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from eventrunner.rules import Limits, RuleSyntaxError, combine, compile_rules

from tests.unit.rules.support import FakeEvent, evaluate, fire


def decoded(data: bytes | None) -> Any:
    assert data is not None
    return msgspec.json.decode(data)


def rule(condition: str, actions: str, name: str = "A", salience: int = 0) -> str:
    return f'rule {name} salience {salience} {{ when {condition} then {actions} Retract("{name}"); }}\n'


def test_an_event_that_no_rule_touches_gives_none() -> None:
    assert evaluate(rule('Event.type == "other"', "Complete();")) is None


@pytest.mark.parametrize(
    "condition",
    [
        'Event.type == "order.placed"',
        'Event.source.HasPrefix("/te")',
        'Event.subject == "cart"',
        'Event.tenantid == "acme"',
        'Event.region == "eu" && Event.level == 3',
        'Event["type"] == "order.placed"',
        "Event.data.amount > 99.5",
        "99.5 < Event.data.amount",
        "Event.data.amount == 100 && Event.data.amount != 99",
        'Event.data["amount"] >= 100 && Event["data"].amount <= 100',
        'Event.data.customer.country == "NL"',
        'Event.data.items[1].sku == "b"',
        'Event.data.Len() == 3 && Event.data.items.Len() == "ab".Len()',
        'Event.Len() > 5 && Event["da" + "ta"].amount == 100',
        'Tenant.plan == "gold" && Tenant.limits.rate >= 5',
        "Tenant.Len() == 2",
        "Out.Len() == 0",
    ],
)
def test_a_condition_reads_the_event_its_data_and_the_tenant(condition: str) -> None:
    data = {"amount": 100, "customer": {"country": "NL"}, "items": [{"sku": "a"}, {"sku": "b"}]}
    tenant = {"plan": "gold", "limits": {"rate": 5}}
    verdict = fire(
        rule(condition, "Complete();"), data, tenant, subject="cart", extensions={"region": "eu", "level": 3}
    )
    assert verdict.fired == ("A",)
    assert verdict.data is None


@pytest.mark.parametrize(
    "condition",
    [
        *('Event.subject == "x"', "Event.nothing == 1", "Event.data.missing > 1", "Event.data.missing != 1"),
        *("!(Event.data.missing > 1)", "Event.data.name > 1", "Event.data.none == 1", "Tenant.plan == 1", "Out.x == 1"),
        *("Event.data.flag == 1", "Event.data.name == 5 || true == Event.data.name", "Event.data.amount", "nil == nil"),
    ],
)
def test_a_condition_that_fails_does_not_match(condition: str) -> None:
    data = {"amount": 1, "name": "n", "none": None, "flag": True}
    assert evaluate(rule(condition, "Complete();"), data) is None


@pytest.mark.parametrize("data", [b"", b"not json", b"[1]", b"7", b'"text"', b"null", b'{"amount": "\xff"}'])
def test_data_that_is_no_object_has_no_fields(data: bytes) -> None:
    assert evaluate(rule("Event.data.amount > 1", "Complete();"), data) is None


# Deeper than what a process can read that reads events: another test may have raised the limit of this one.
@pytest.mark.parametrize("depth", [10_000, 100_000])
def test_data_that_nests_too_deep_has_no_fields(depth: int) -> None:
    data = b'{"amount": 2, "deep": ' + b"[" * depth + b"]" * depth + b"}"
    assert evaluate(rule("Event.data.amount > 1", "Complete();"), data) is None
    verdict = fire(rule('Event.type == "order.placed"', "Event.data.n = 1;"), data)
    assert verdict.error is not None
    assert "no JSON data" in verdict.error.message


def test_changed_data_is_written_back_and_the_rest_kept_as_it_was() -> None:
    verdict = fire(
        rule("Event.data.n > 1", 'Event.data.n += 1; Event.data.new.x = 1; Event.data.tag = "v";'),
        b'{"n": 7, "f": 1.0, "i": 12345678901234567890, "new": {}}',
    )
    assert verdict.data == b'{"n":8,"f":1.0,"i":12345678901234567890,"new":{"x":1},"tag":"v"}'


def test_rules_see_what_earlier_rules_wrote() -> None:
    text = (
        rule("Event.data.n == 1", "Event.data.n = 2; Out.seen = true;", "First")
        + rule("Event.data.n == 2", "Event.data.o.m = Event.data.n;", "Second")
        + rule("Event.data.o.m == 2 && Out.seen", 'Event.subject = "third"; X = 5;', "Third")
        + rule('Event.subject == "third" && X == 5', "Event.data = Event.data.o;", "Fourth")
        + rule("Event.data.m == 2", 'Tag("end", "yes");', "Fifth")
    )
    verdict = fire(text, {"n": 1, "o": {}})
    assert verdict.fired == ("First", "Second", "Third", "Fourth", "Fifth")
    assert decoded(verdict.data) == {"m": 2}
    assert verdict.attributes == {"subject": "third"}
    assert verdict.tags == {"end": "yes"}
    assert verdict.evaluated > 5


def test_a_shared_object_is_seen_through_both_paths() -> None:
    text = rule("Event.data.o.x == 1", "Event.data.p = Event.data.o; Event.data.p.x = 5;") + rule(
        "Event.data.o.x == 5", "Complete();", "B"
    )
    verdict = fire(text, {"o": {"x": 1}})
    assert verdict.fired == ("A", "B")
    assert decoded(verdict.data) == {"o": {"x": 5}, "p": {"x": 5}}


def test_emit_derives_an_event_of_out_and_empties_it() -> None:
    text = rule("true", 'Out.a = 1; Emit("x.first"); Out.b = Event.data.n / 2; Emit("x.second");') + rule(
        "true", 'Emit("x.other");', "B"
    )
    verdict = fire(text, {"n": 3})
    assert [(item.type, item.data, item.rule, item.position) for item in verdict.emitted] == [
        ("x.first", b'{"a":1}', "A", 0),
        ("x.second", b'{"b":1.5}', "A", 1),
        ("x.other", b"{}", "B", 0),
    ]


def test_a_rule_can_drop_tag_route_and_log() -> None:
    verdict = fire(rule("true", 'Drop("noise"); Tag("k", "v"); Tag("n", 3); RouteTo("audit"); Log("done");'))
    assert (verdict.dropped, verdict.route, verdict.tags) == ("noise", "audit", {"k": "v", "n": "3"})
    assert list(verdict.logs) == ["done"]


def test_attributes_are_changed_and_removed() -> None:
    text = rule(
        "true",
        'Event.type = "new"; Event.subject = Event.data.none; Event.level = 3.0; Event.hot = true; Event.x = "y";',
    )
    verdict = fire(text, {"none": None}, subject="old")
    assert verdict.attributes == {"type": "new", "subject": None, "level": 3, "hot": True, "x": "y"}


@pytest.mark.parametrize(
    "action",
    [
        *('Event.type = "";', "Event.type = 1;", "Event.x = 1.5;", "Event.x = Event.data;", 'Event.usagein = "1";'),
        *('Tag("tenantid", "other");', 'Tag("usagein", 0);', 'Tag("causeid", "1");', 'Tag("No Name", "x");'),
        *(
            'Event.causeid = "1";',
            'Event.replayid = "1";',
            'Event.type = "eventrunner.usage";',
            'Emit("eventrunner.usage");',
        ),
        *(
            'Event.time = "yesterday";',
            'Event.time = "2026-01-01T00:00:00";',
            'Event.subject = "";',
            "Event.time = Now();",
        ),
        *('Event.subject = "a\nb";', 'Event.dataschema = "x";', 'Event.datacontenttype = "x";', 'Event.x = "\\x00";'),
        *(
            'Event.type = "a\\r\\nb";',
            'Emit("a\\u0085");',
            'Tag("k", "a\\r\\nx: y");',
            'RouteTo("a\\n");',
            'Drop("a\\n");',
        ),
        *("Emit(1);", 'Emit("");', 'Tag(1, "x");', 'Tag("k", Event.data);', "Drop(Event.data.missing);"),
        *("Out.x = Event.data.missing;", "Event.data.missing.x = 1;", "Retract(1);", "Event.data.missing;"),
    ],
)
def test_an_action_that_fails_names_its_rule(action: str) -> None:
    verdict = fire(rule("true", f'Tag("before", "yes"); {action}'), {"n": 1})
    assert verdict.error is not None
    assert verdict.error.rule == "A"
    assert verdict.error.message
    assert verdict.tags == {"before": "yes"}
    assert verdict.fired == ()


def test_a_rule_that_never_ends_is_stopped() -> None:
    verdict = compile_rules("rule A { when true then Out.x = 1; }", limits=Limits(cycles=10)).evaluate(FakeEvent(), {})
    assert verdict is not None
    assert len(verdict.fired) == 10
    assert verdict.error is not None
    assert "does it retract itself" in verdict.error.message


def test_an_event_has_a_time_budget() -> None:
    limits = Limits(cycles=10_000_000, seconds=0.01)
    verdict = compile_rules("rule A { when true then Out.x = 1; }", limits=limits).evaluate(FakeEvent(), {})
    assert verdict is not None
    assert verdict.error is not None
    assert "time limit" in verdict.error.message


@pytest.mark.parametrize(
    "action",
    [
        "Event.data.s += Event.data.s;",
        "Event.data.a = Event.data.a.Append(Event.data.a);",
        "Event.data.o = Event.data;",
        'Event.data.s = "x".Repeat(1000000000);',
        "Out.o.o = 1; Out.o = Out;",
        'Out.a = Event.data.a.Append(Event.data.a); Event.data.a = Out.a; Emit("x");',
    ],
)
def test_what_rules_build_has_limits(action: str) -> None:
    text = f"rule A {{ when true then {action} }}"
    verdict = compile_rules(text, limits=Limits(cycles=60)).evaluate(FakeEvent(b'{"s": "xy", "a": [1]}'), {})
    assert verdict is not None
    assert verdict.error is not None


def test_now_is_the_clock_that_was_given() -> None:
    text = rule("GetTimeYear(Now()) == 1999", "Out.at = Now(); Event.data.at = Out.at;")
    rules = compile_rules(text, clock=lambda: datetime(1999, 12, 31, 23, 59, tzinfo=UTC))
    verdict = rules.evaluate(FakeEvent(b"{}"), {})
    assert verdict is not None
    assert verdict.data == b'{"at":"1999-12-31T23:59:00Z"}'


def test_combined_rule_sets_see_each_other() -> None:
    first = compile_rules(rule("Event.data.n == 1", "Event.data.n = 2;"), name="first.grl")
    second = compile_rules(rule("Event.data.n == 2", "Complete();", "B", 5), name="second.grl")
    both = combine([first, second])
    assert both.conditions == 2
    verdict = both.evaluate(FakeEvent(b'{"n": 1}'), {})
    assert verdict is not None
    assert verdict.fired == ("A", "B")
    with pytest.raises(RuleSyntaxError, match=r"rule A is defined in first.grl too"):
        combine([first, compile_rules(rule("true", "Complete();"), name="third.grl")])


def test_combined_rule_sets_are_limited_like_one() -> None:
    sets = [compile_rules(rule("true", "Complete();", name), limits=Limits(rules=2)) for name in "ABC"]
    assert combine(sets[:2]).conditions == 2
    with pytest.raises(RuleSyntaxError, match="more than 2 rules"):
        combine(sets)


def test_no_rules_do_nothing() -> None:
    assert combine([]).evaluate(FakeEvent(), {}) is None
    assert compile_rules("").evaluate(FakeEvent(), {}) is None


def test_the_event_is_not_changed() -> None:
    event = FakeEvent(b'{"n": 1}', extensions={"x": "1"})
    compile_rules(rule("true", 'Event.type = "t"; Event.x = "2"; Event.data.n = 2;')).evaluate(event, {})
    assert event == FakeEvent(b'{"n": 1}', extensions={"x": "1"})


@pytest.mark.parametrize("size", [3, 10, 40])
def test_the_screen_finds_the_same_rules_as_the_conditions_alone(size: int) -> None:
    """Equalities, ranges and shared tests are looked up in tables; each rule alone is the reference."""
    operators = (">", "<", ">=", "<=", "==", "!=")
    texts = []
    for number in range(size):
        parts = [
            f'Event.type == "t{number % 7}"' if number % 3 else "Event.data.ok",
            f'Event.data.country == "c{number % 5}"' if number % 2 else "Event.data.n >= 0",
            f"Event.data.n {operators[number % 6]} {number - size // 2}.5" if number % 4 else "true",
        ]
        texts.append(rule(" && ".join(parts), "", f"R{number}"))
    whole = compile_rules("".join(texts))
    alone = [compile_rules(text) for text in texts]
    for kind in range(8):
        for country in range(6):
            for value in (-3, 0, 2.5, 7, 10**18, "x", None):
                data = msgspec.json.encode({"ok": True, "country": f"c{country}", "n": value})
                event = FakeEvent(data, type=f"t{kind}")
                expected = tuple(f"R{number}" for number, item in enumerate(alone) if item.evaluate(event, {}))
                verdict = whole.evaluate(event, {})
                assert (verdict.fired if verdict else ()) == expected


def test_a_block_reads_the_attributes_that_it_wrote() -> None:
    verdict = fire(
        'rule A { when Event.type == "order.placed" then '
        'Event.subject = "x"; Event.zone = 7; Tag("s", Event.subject); Tag("z", Event.zone); Retract("A"); }'
    )
    assert verdict.error is None
    assert verdict.tags == {"s": "x", "z": "7"}


def test_a_rule_that_only_retracts_what_is_not_there_goes_on_matching() -> None:
    verdict = fire('rule A { when true then Retract("B"); }')
    assert verdict.error is not None
    assert "does it retract itself?" in verdict.error.message
