"""What a rule on events must not say although it parses: unknown facts and functions, changing what is fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from eventrunner.rules.attributes import FIXED
from eventrunner.rules.errors import Problem, ProblemKind
from eventrunner.rules.event_facts import EVENT_FACTS
from eventrunner.rules.functions import CONTROL, EVENT_CONTROL, FUNCTIONS
from eventrunner.rules.hints import did_you_mean, function_hint, method_hint, name_hint
from eventrunner.rules.methods import METHOD_NAMES, matches
from eventrunner.rules.nodes import Assign, Call, Const, Index, Member, Method, Node, Root, Rule, Statement, walk
from eventrunner.rules.source import Source
from eventrunner.rules.values import Failure

__all__ = ["check_event_rules"]

_FUNCTIONS = frozenset(FUNCTIONS) | CONTROL.keys() | EVENT_CONTROL.keys() | {"Now"}
_STATEMENTS = CONTROL | EVENT_CONTROL
_USES = {
    "Retract": '"rule"',
    "Complete": "",
    "Changed": '"Event.data.x"',
    "Forget": '"Event.data.x"',
    "Log": '"text"',
    "LogFormat": '"%v", value',
    "Emit": '"type"',
    "Drop": '"reason"',
    "Tag": '"key", value',
    "RouteTo": '"name"',
}


def check_event_rules(rules: Sequence[Rule], source: Source, most: int) -> list[Problem]:
    """At most so many problems: finding the place and a hint for each takes time."""
    return list(islice(_problems(rules, source), most))


def _problems(rules: Sequence[Rule], source: Source) -> Iterator[Problem]:
    own = {
        statement.target.name
        for rule in rules
        for statement in rule.then
        if isinstance(statement, Assign) and isinstance(statement.target, Root)
    }
    facts = own.union(EVENT_FACTS)
    hints = {rule.name: f'the name of a rule is a string: "{rule.name}"' for rule in rules}
    for rule in rules:
        for statement in (rule.when, *rule.then):
            for node in walk(statement):
                yield from _node_problems(node, facts, hints, source)


def _node_problems(node: Statement, facts: set[str], hints: Mapping[str, str], source: Source) -> Iterator[Problem]:
    match node:
        case Root(name=name) if name not in facts:
            hint = (
                hints.get(name)
                or name_hint(name)
                or did_you_mean(name, facts)
                or f"the facts are {', '.join(EVENT_FACTS)}"
            )
            yield source.problem(node.at, f"there is no fact {name}", hint, ProblemKind.UNKNOWN_NAME)
        case Call(name=name) if name not in _FUNCTIONS:
            hint = function_hint(name, _FUNCTIONS, METHOD_NAMES)
            yield source.problem(node.at, f"there is no function {name}", hint, ProblemKind.UNKNOWN_NAME)
        case Method(name=name) if name not in METHOD_NAMES:
            hint = method_hint(name, METHOD_NAMES)
            yield source.problem(node.at, f"no value has a method {name}", hint, ProblemKind.UNKNOWN_NAME)
        case Method(name="MatchString", args=(Const(value=str(pattern)),)):
            wrong = matches("", pattern)
            if type(wrong) is Failure:
                hint = "RE2 knows no look-around, back-references or possessive repetition"
                yield source.problem(node.args[0].at, wrong.message, hint)
        case Call(name=name, args=args) if name in _STATEMENTS and len(args) != len(_STATEMENTS[name]):
            yield source.problem(node.at, _wrong_count(name, len(args)), f"write {name}({_USES[name]})")
        case Assign(target=target):
            message = _fixed(target)
            if message:
                yield source.problem(node.at, message)


def _wrong_count(name: str, given: int) -> str:
    wanted = len(_STATEMENTS[name])
    return f"{name} takes {wanted or 'no'} argument{'' if wanted == 1 else 's'}, not {given}"


def _fixed(target: Node) -> str:
    """Why a target cannot be assigned to; empty if it can."""
    path = target
    while isinstance(path, Member | Index) and not isinstance(path.base, Root):
        path = path.base
    root = path.base if isinstance(path, Member | Index) else path
    name = root.name if isinstance(root, Root) else ""
    if name == "Tenant":
        return "Tenant cannot be changed"
    if name in EVENT_FACTS and root is target:
        return f"{name} cannot be replaced: assign its fields"
    if name != "Event":
        return ""
    key = path.name if isinstance(path, Member) else _constant(path)
    if key is None:
        return "an attribute of Event is assigned by its name"
    return f"Event.{key} cannot be changed: it identifies the event" if key in FIXED else ""


def _constant(node: Node) -> str | None:
    if isinstance(node, Index) and isinstance(node.index, Const) and type(node.index.value) is str:
        return node.index.value
    return None
