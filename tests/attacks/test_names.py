"""The names in a guest are its own: they cost nothing and say nothing that the engine has not said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eventrunner.access.rego import RegoRule
from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.storage.records import Limits
from eventrunner.wasm.outcomes import Call, Trapped

from tests.component_texts import run, written
from tests.unit.wasm.test_wapc_guest import run as run_wapc
from tests.unit.wasm.test_wapc_guest import written as written_wapc

POLICIES = Path(__file__).parents[2] / "policies"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RUST = "_ZN" + "5outer8closures" * 20 + "17h0123456789abcdefE"


def doubled(levels: int) -> str:
    """A name of C++ for a type that has the one before it twice: readable, it would have 2^levels words."""
    numbers = ["S_", *(f"S{digit}_" for digit in DIGITS)]
    parts = [f"S_I{numbers[level + 1]}{numbers[level + 1]}E" for level in range(levels)]
    return f"_Z1fI1AIiiE{''.join(parts)}Evv"


def trapping(name: str) -> list[Call]:
    """In a component and in a waPC module."""
    function = f'(func $"{name}" unreachable)'
    component = written("", f'(call $"{name}")', members=function)
    return [run(component), run_wapc(written_wapc(f'(call $"{name}") (i32.const 1)', function), Limits())]


@pytest.mark.parametrize("form", ["{}", "_{}", "___{}", "_ZN{}17h0123456789abcdefE"])
def test_a_name_that_is_made_to_be_long_when_readable_is_not_made_readable(form: str) -> None:
    """It took six seconds and 240 MiB, whatever the limits were."""
    name = form.format(doubled(30))
    for call in trapping(name):
        assert isinstance(call.outcome, Trapped)
        assert call.outcome.text.startswith("The guest broke off. Names in its call stack are too long")
        assert name[:60] in call.outcome.text
        assert call.spent.cpu_ns < 2 * 10**9


@pytest.mark.parametrize("name", ["a" * 5_000, "ü" * 90_000])
def test_long_names_are_cut(name: str) -> None:
    for call in trapping(name):
        assert isinstance(call.outcome, Trapped)
        assert len(call.outcome.text) <= 4_000
        assert name[:100] in call.outcome.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"),
        ("_ZN3foo3barEv", "foo::bar()"),
        (RUST, "outer::closures"),
        ("_Z", "_Z"),
    ],
)
def test_names_of_compilers_stay_readable(name: str, shown: str) -> None:
    for call in trapping(name):
        assert isinstance(call.outcome, Trapped)
        assert shown in call.outcome.text
        assert "unreachable" in call.outcome.text


def test_a_subject_that_is_too_long_is_not_remembered() -> None:
    """The policy's answers are kept by subject, twenty thousand of them."""
    data = json.loads((POLICIES / "data.json").read_text())
    policy = WasmPolicy(RegoRule((POLICIES / "wasm.rego").read_text(), json.dumps(data), "eventrunner/wasm/allow"))
    assert policy.may_publish("acme", "events.acme." + "x" * 1_000)
    assert not policy.may_publish("acme", "events.acme." + "x" * 1_100)
    assert policy._may_publish.cache_info().currsize == 1
