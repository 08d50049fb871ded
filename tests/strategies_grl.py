"""Programs in GRL with facts, for comparing with Grule.

What docs/grl.md lists as a deviation, and what Grule leaves to chance, is left out here, by construction:
- equal saliences: each rule has its own;
- float constants that are equal as %f: the constants differ in their first digits;
- `Append` but as `F.a = F.a.Append(…)`, as Grule changes what it remembers of `F.a` otherwise;
- `Log`, `Retract`, `Complete` … within an expression;
- strings that grow from cycle to cycle up to our limits: what `+` makes goes into fields that no string is made of;
- years before 1 and after 9999;
- functions whose last digit Go computes differently: they are cases in files.
Stale memory is not left out: the requests say `fresh`, which makes the oracle forget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st

__all__ = ["chains", "json_requests", "requests", "resources", "texts"]

_NUMBERS = (0, 1, 2, 3, 7, -1, -4, 0.5, 2.5, -1.25, 100, 1e15, 9007199254740993, 1e300, 123456.789)
_STRINGS = ("", "a", "b", "ab", "abc", "Abc", " a ", "a,b,c", "ß", "Ünï", "x\ny", "日本語", "0", "1")
_ARRAYS: tuple[Any, ...] = ([], [1], [1, 2, 3], ["a", "b"], [None, 1], [[1], {"k": 1}], [True])
_INTS = ("0", "1", "2", "3", "-1", "10", "017", "0x1F", "9223372036854775807", "-9223372036854775808")
_FLOATS = ("0.0", "1.0", "2.5", "-1.5", ".25", "1e3", "1e300", "100.5", "0x1p-2")
_LITERALS = ('""', '"a"', "'b'", '"ab"', '"abc"', '"ß"', '","', '"\\n"', '"\\u00e9"', "' '", '"A"', '"1"')
_PATTERNS = (
    '"a"',
    '"^a.*c$"',
    '"[[:alpha:]]+"',
    '"(?i)ABC"',
    '"\\\\d"',
    '"\\\\bn"',
    '"(a"',
    '"a(?=b)"',
    '""',
    '"b|^$"',
)
_FIELDS = {
    "number": ("F.n", "F.m", "F.o.x", 'F["n"]', 'F.o["x"]', "F.a[0]", "F.a[1]", "N", "L[0]", "X"),
    "string": ("F.s", "F.t", "F.o.s", 'F["t"]', "S", "F.o.d.s"),
    "bool": ("F.b", "F.o.b", "F.c", 'F["b"]'),
    "other": ("F.nul", "F.zz", "F.a", "F.o", "F", "F.o.d", "F.s.x", "F.a[9]", "F.a[F.n]", "Y", "nil", "L", "F.r"),
}
_ANY = sum(_FIELDS.values(), ())
_MEASURED = ("F.s", "F.a", "F.o", "F", "L", "F.t", '"äb"')
_TARGETS = {
    "number": ("F.n", "F.m", "F.o.x", 'F["n"]', "F.a[0]", "F.a[F.s.Len()]", "N", "X", "F.new", "F.o.d.x"),
    "string": ("F.r", "F.o.r", 'F["r"]', "Y"),
    "bool": ("F.b", "F.o.b", "F.c", "X"),
    "other": ("F.p", "F.o.d", "F.zz.x", "F.a", "F.s.x", "F.nul", "F.a[1]", "Z"),
}
_UNARY = ("Abs", "Ceil", "Floor", "Round", "Trunc", "Sqrt", "RoundToEven")
_DEPTH = 3

Draw = Callable[[Any], Any]


_choices: dict[str, st.SearchStrategy[Any]] = {}


def _choice(options: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Strategies are dear to make. The key tells 1, 1.0 and True apart."""
    key = repr(options)
    if key not in _choices:
        _choices[key] = st.sampled_from(options)
    return _choices[key]


@cache
def _below(limit: int) -> st.SearchStrategy[int]:
    return st.integers(0, limit - 1)


class _Writer:
    """Writes expressions of a kind; one in some twenty operands is of another kind."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def one(self, options: Sequence[Any]) -> Any:
        return self.draw(_choice(options))

    def chance(self, of: int) -> bool:
        return self.draw(_below(of)) == of - 1

    def expression(self, kind: str, depth: int) -> str:
        if self.chance(24):
            kind = self.one(("number", "string", "bool", "int", "other"))
        text: str = getattr(self, f"_{kind}")(depth)
        return text

    def operand(self, kind: str, depth: int) -> str:
        text = self.expression(kind, depth)
        return f"({text})" if self.chance(4) and text[0] != "(" else text

    def _other(self, depth: int) -> str:
        return str(self.one(_FIELDS["other"]))

    def _number(self, depth: int) -> str:
        form = self.draw(_below(12 if depth > 0 else 4))
        if form < 3:
            return str(self.one(_FIELDS["number"]))
        if form == 3:
            return str(self.one(_FLOATS))
        if form < 9:
            kinds = (self.one(("number", "int", "number")), self.one(("number", "int")))
            left, right = (self.operand(kind, depth - 1) for kind in kinds)
            return f"{left} {self.one('+-*/')} {right}"
        if form == 9:
            return f"{self.one(_UNARY)}({self.expression('number', depth - 1)})"
        if form == 10:
            pair = ", ".join(self.expression("number", depth - 1) for _ in range(2))
            return f"{self.one(('Max', 'Min', 'Mod', 'Dim'))}({pair})"
        return self._int(depth)

    def _int(self, depth: int) -> str:
        form = self.draw(_below(9 if depth > 0 else 3))
        if form < 3:
            return str(self.one(_INTS))
        if form < 6:
            return f"{self.operand('int', depth - 1)} {self.one('%&|+-*')} {self.operand('int', depth - 1)}"
        if form == 6:
            return f"{self.one(_MEASURED)}.Len()"
        if form == 7:
            method = self.one(("Index", "LastIndex", "Count", "Compare"))
            return f"{self._subject()}.{method}({self.expression('string', depth - 1)})"
        time = f"MakeTime(2024, {', '.join(self.one(('13', '32', '0', '1', '-3')) for _ in range(5))})"
        return str(self.one((f"GetTimeMonth({time})", f"{time}.Day()", f"GetTimeHour({time})")))

    def _subject(self) -> str:
        """What a method may follow."""
        return str(self.one((*_FIELDS["string"], *_LITERALS)))

    def _string(self, depth: int) -> str:
        form = self.draw(_below(10 if depth > 0 else 5))
        if form < 3:
            return str(self.one(_FIELDS["string"]))
        if form < 5:
            return str(self.one(_LITERALS))
        if form < 7:
            kinds = self.one((("string", "string"), ("string", "number"), ("int", "string"), ("string", "bool")))
            left, right = (self.operand(kind, depth - 1) for kind in kinds)
            return f"{left} + {right}"
        subject = self._subject()
        if form == 7:
            return f"{subject}.{self.one(('ToUpper', 'ToLower', 'Trim'))}()"
        if form == 8:
            first, second = (self.expression("string", depth - 1) for _ in range(2))
            return f"{subject}.Replace({first}, {second})"
        if self.chance(3):
            return f"{self.one(_LITERALS)}.Split({self.one(_LITERALS)})[{self.one(('0', '1', '5'))}]"
        return f"{subject}.Repeat({self.one(('2', '0', '1.9', '-1', 'F.s.Len()'))})"

    def _bool(self, depth: int) -> str:
        form = self.draw(_below(14 if depth > 0 else 3))
        if form < 2:
            return str(self.one(_FIELDS["bool"]))
        if form == 2:
            return str(self.one(("true", "false", "TRUE")))
        if form < 6:
            left, right = (self.operand("bool", depth - 1) for _ in range(2))
            return f"{left} {self.one(('&&', '||', '==', '!='))} {right}"
        if form < 10:
            kind, other = self.one((("number", "number"), ("number", "int"), ("int", "number"), ("string", "string")))
            left, right = self.operand(kind, depth - 1), self.operand(other, depth - 1)
            return f"{left} {self.one(('==', '!=', '<', '<=', '>', '>='))} {right}"
        if form == 10:
            return f"!({self.expression('bool', depth - 1)})"
        if form == 11:
            return f"!{self.one(_FIELDS['bool'])}"
        return self._test(depth)

    def _test(self, depth: int) -> str:
        subject = self._subject()
        form = self.draw(_below(6))
        if form == 0:
            return f"{subject}.MatchString({self.one(_PATTERNS)})"
        if form == 1:
            return (
                f"{subject}.In({', '.join(self.expression('string', depth - 1) for _ in range(self.draw(_below(3))))})"
            )
        if form == 2:
            return f"{self.one(('IsZero', 'IsNil'))}({self.one(_ANY)})"
        if form == 3:
            return f"ContainsStr({self.one(('F.s', 'F.t'))}.Split({self.one(_LITERALS)}), {self.one(_LITERALS)})"
        if form == 4:
            return f"StringContains({subject}, {self.expression('string', depth - 1)})"
        return f"{subject}.{self.one(('Contains', 'HasPrefix', 'HasSuffix'))}({self.expression('string', depth - 1)})"

    def statement(self, rules: Sequence[str]) -> str:
        form = self.draw(_below(16))
        if form < 9:
            kind = self.one(("number", "number", "string", "bool", "other"))
            value = self.expression(self.one(("number", "int")) if kind == "number" else kind, _DEPTH - 1)
            operator = self.one(("=", "=", "=", "+=", "-=", "*=", "/=")) if kind == "number" else "="
            return f"{self.one(_TARGETS[kind])} {operator} {value};"
        if form < 12:
            return f'Retract("{self.one((*rules, "Nobody"))}");'
        if form == 12:
            return f"F.a = F.a.Append({self.expression(self.one(('number', 'string', 'int')), 1)});"
        if form == 13:
            return f"Log({self.expression('string', 1)});"
        if form == 14 and self.chance(3):
            return "Complete();"
        path = self.one(("F.n", "F", "X", ""))
        return f'Changed("{path}");'

    def rule(self, name: str, salience: int, rules: Sequence[str]) -> str:
        statements = [self.statement(rules) for _ in range(1 + self.draw(_below(3)))]
        if not self.chance(4):
            statements.append(f'Retract("{name}");')
        return (
            f"rule {name} salience {salience} {{ when {self.expression('bool', _DEPTH)} then {' '.join(statements)} }}"
        )

    def facts(self) -> dict[str, Any]:
        members = {
            "x": self.one(_NUMBERS),
            "s": self.one(_STRINGS),
            "b": self.one((True, False)),
            "d": {"x": 1, "s": "a"},
        }
        fact: dict[str, Any] = {
            "n": self.one(_NUMBERS), "m": self.one(_NUMBERS), "s": self.one(_STRINGS), "t": self.one(_STRINGS),
            "b": self.one((True, False)), "c": self.one((True, False)), "a": list(self.one(_ARRAYS)), "o": members,
            "nul": None, "r": "",
        }  # fmt: skip
        return {"F": fact, "N": self.one(_NUMBERS), "S": self.one(_STRINGS), "L": self.one(_ARRAYS)}


@st.composite
def requests(draw: Draw) -> dict[str, Any]:
    writer = _Writer(draw)
    names = "ABCD"[: 1 + draw(_below(4))]
    # Definition order is not the order of firing.
    saliences = draw(st.permutations(range(-1, len(names) - 1)))
    text = "\n".join(writer.rule(name, salience, names) for name, salience in zip(names, saliences, strict=True))
    return {
        "id": 1,
        "grl": text,
        "facts": writer.facts(),
        "mode": "match" if writer.chance(12) else "execute",
        "max_cycle": writer.one((6, 6, 3, 0)),
        "err_on_eval": writer.chance(10),
        "runs": writer.one((1, 1, 1, 1, 2)),
        "fresh": True,
    }


@st.composite
def resources(draw: Draw) -> dict[str, Any]:
    """The rules of a program in several texts, some of them removed, and now and then one that is there already."""
    request = draw(requests())
    rules = request.pop("grl").split("\n")
    one = _Writer(draw).one
    texts: list[list[str]] = [[], [], []]
    for rule in [*rules, *(rules[:1] if not draw(_below(12)) else ())]:
        texts[draw(_below(3))].append(rule)
    names = ("A", "B", "C", "D", "a", "")
    remove = [one(names) for _ in range(draw(_below(3)))]
    first, *others = map("\n".join, texts)
    return request | {"grl": first, "grls": others, "remove": remove}


class _JsonWriter(_Writer):
    """Rules in Grule's JSON format; one in some forty parts is malformed."""

    def condition(self, depth: int) -> Any:
        if depth == 0 or self.chance(5):
            return {"obj": self.expression("bool", 1)} if depth < 3 else self.expression("bool", 2)
        if self.chance(3):
            parts = [self.condition(depth - 1) for _ in range(1 if self.chance(40) else 2 + self.draw(_below(2)))]
            return {self.one(("and", "or")): [{"obj": part} if isinstance(part, str) else part for part in parts]}
        return self.join(self.one(("eq", "not", "gt", "gte", "lt", "lte", "plus", "bor", "xor", "eq")), depth)

    def join(self, operator: str, depth: int) -> dict[str, Any]:
        return {operator: [self.json_operand(depth - 1) for _ in range(self.one((2, 2, 2, 2, 3, 1)))]}

    def json_operand(self, depth: int) -> Any:
        form = self.draw(_below(9 if depth > 0 else 6))
        if form == 0:
            return self.one((0, 1, -1, 2.5, 3, 1e6, 1e20, 123456.75, 1e-5, True, False))
        if form == 1:
            return {"const": self.one((0, 1, -1, 2.5, 1e6, 1e20, 1e-7, True, "a", 'q"\\\n', "ß\u2028", "", None))}
        if form == 2:
            return {"obj": self.one(_ANY)}
        if form == 3:
            return {"call": [self.one(("Max", "Min")), self.one(("F.n", 1.5, {"const": 2.5})), {"obj": "F.m"}]}
        if form < 6:
            return self.one((*_FIELDS["number"], *_FIELDS["string"], *_LITERALS))
        return self.join(self.one(("plus", "minus", "mul", "div", "mod", "band", "bor", "eq")), depth)

    def json_action(self) -> Any:
        if self.chance(2):
            return self.statement("AB").removesuffix(";") + self.one(("", ";"))
        target = self.one(_TARGETS["number"])
        return {"set": [self.one((target, {"obj": target})), self.json_operand(2)]}

    def json_rule(self, name: str, salience: int) -> dict[str, Any]:
        when = self.condition(3)
        then = [self.json_action() for _ in range(1 + self.draw(_below(2)))]
        then.append(self.one(({"call": ["Retract", {"const": name}]}, f'Retract("{name}")')))
        rule = {"name": name, "desc": self.one(("", 'd"', "é")), "salience": salience, "when": when, "then": then}
        if self.chance(40):
            del rule[self.one(("name", "desc", "salience", "when", "then"))]
        return rule


@st.composite
def json_requests(draw: Draw) -> dict[str, Any]:
    writer = _JsonWriter(draw)
    rules = [writer.json_rule(name, -number) for number, name in enumerate("AB"[: 1 + draw(_below(2))])]
    given = rules[0] if len(rules) == 1 and writer.chance(2) else rules
    return {"grl_json": given, "facts": writer.facts(), "max_cycle": writer.one((6, 3)), "fresh": True}


_WORDS = (
    *("rule", "RULE", "when", "then", "salience", "true", "nil", "A", "F", "F.x", "F.a[0]", "é", "_x", "x_1", "$"),
    *("0", "7", "017", "08", "0x1f", "0x", "1.5", ".5", "5.", "1e3", "1.e+0", "e+1", "E1", "p-2", "0x1p2", "072.40"),
    *('"a"', "'b'", '"\\n"', '"\\q"', '""', "\"\\'\"", '"a""b"', "'\\x41'", '"\\0"', '"\\ud800"', '"', "//"),
    *("/* */", "/*"),
    *("&&", "||", "==", "!=", "<", "<=", ">", ">=", "=", "+=", "-=", "*=", "/=", "%=", "+", "-", "*", "/"),
    *("%", "&", "|", "!", "(", ")", "[", "]", "{", "}", ".", ",", ";", "f()", "F.s.Len()", 'Retract("A")', "-1"),
    *("--1", "\n", "#", "@"),
)  # fmt: skip


@st.composite
def texts(draw: Draw) -> str:
    """Rule texts with up to three words too many, too few or changed."""
    writer = _Writer(draw)
    text = (
        writer.rule("A", 1, "A")
        if writer.chance(2)
        else f"rule A {{ when {writer.expression('bool', 2)} then F.x = 1; }}"
    )
    words = text.split(" ")
    for _ in range(draw(_below(4))):
        place = draw(_below(len(words)))
        words[place : place + draw(_below(2))] = [writer.one(_WORDS) for _ in range(draw(_below(3)))]
    return writer.one((" ", " ", "")).join(words) if writer.chance(3) else " ".join(words)


@st.composite
def chains(draw: Draw) -> dict[str, Any]:
    """Many small rules that write what others compare: what indexes, tables and bisection are for."""
    one = _Writer(draw).one
    fields = ("F.n", "F.m", 'F["n"]', "F.o.x", "F.s", "F.b", "F.new")
    constants = ("0", "1", "2", "3", "1.0", "2.5", '"a"', '"b"', '"1"', "true", "-1")
    forms = (*["{0} == {1}"] * 3, "{1} == {0}", "{0} > {1}", "{0} <= {1}", "{0} != {1}")
    rules = []
    for number in range(draw(st.integers(4, 14))):
        parts = [one(forms).format(one(fields), one(constants)) for _ in range(1 + draw(_below(3)))]
        values = (*constants, *constants, "F.n", "F.m + 1", "F.nul", "F.o", "F.s.Len()", "F.a")
        then = [f"{one((*fields, 'F.o'))} = {one(values)};" for _ in range(1 + draw(_below(2)))]
        then += [f'Retract("r{one((number, number, 0, 1, 2))}");'] if draw(_below(3)) else []
        when = one((" && ", " && ", " && ", " || ")).join(parts)
        rules.append(f"rule r{number} salience {-number} {{ when {when} then {' '.join(then)} }}")
    numbers, strings = (0, 1, 2, 3, 2.5, -1, True), ("a", "b", "1", "")
    facts = {"n": one(numbers), "m": one(numbers), "s": one(strings), "b": one((True, False)), "a": [1], "nul": None}
    facts["o"] = {"x": one(numbers)}
    return {"grl": "\n".join(rules), "facts": {"F": facts}, "max_cycle": 12, "fresh": True}
