"""Rules mean what they mean in the real Grule engine: files of cases, and generated programs on generated facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventrunner.rules.protocol import answer
from hypothesis import HealthCheck, Phase, given, settings
from strategies_grl import chains, json_requests, requests, resources, texts
from support_grule import Oracle, comparable, oracle_process

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1500)]

CASES = sorted((Path(__file__).parent / "grule" / "cases").glob("*.jsonl"))
DEVIATIONS = [
    msgspec.json.decode(line)
    for line in (Path(__file__).parent / "grule" / "deviations.jsonl").read_bytes().splitlines()
]
"""In the order of the tables in docs/grl.md."""
PROGRAMS, CHAINS, RESOURCES, JSON_RULES, TEXTS = 5_600, 1_000, 500, 1_000, 2_000
DISTINCT = 5_000
"""Programs of the first kind; hypothesis makes some of them twice."""
# The seed is fixed: derandomize makes examples of the test's source, and no database of examples is kept.
FIXED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)


@pytest.fixture(scope="module")
def grule() -> Any:
    with oracle_process() as oracle:
        yield oracle


def both(grule: Oracle, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    strict = bool(request.get("err_on_eval"))
    ours = msgspec.json.decode(answer(msgspec.json.encode(request)))
    return comparable(ours, strict), comparable(grule.answer(request), strict)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_each_case_means_what_it_means_in_grule(grule, path):
    for line in path.read_bytes().splitlines():
        request = msgspec.json.decode(line)
        ours, theirs = both(grule, request)
        assert ours == theirs, line


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation["name"])
def test_a_deviation_is_what_the_guide_says(grule, deviation):
    ours = msgspec.json.decode(answer(msgspec.json.encode(deviation["request"])))
    theirs = grule.answer(deviation["request"])
    assert {name: ours[name] for name in deviation["ours"]} == deviation["ours"]
    assert {name: theirs[name] for name in deviation["grule"]} == deviation["grule"]


def test_generated_programs_mean_what_they_mean_in_grule(grule):
    seen = set()

    @settings(FIXED, max_examples=PROGRAMS)
    @given(request=requests())
    def compare(request):
        ours, theirs = both(grule, request)
        assert ours == theirs
        seen.add(msgspec.json.encode(request))

    compare()
    assert len(seen) >= DISTINCT


@settings(FIXED, max_examples=CHAINS)
@given(request=chains())
def test_rules_that_make_each_other_match_mean_what_they_mean_in_grule(grule, request):
    ours, theirs = both(grule, request)
    assert ours == theirs


@settings(FIXED, max_examples=RESOURCES)
@given(request=resources())
def test_several_resources_without_removed_rules_mean_what_they_mean_in_grule(grule, request):
    ours, theirs = both(grule, request)
    assert ours == theirs


@settings(FIXED, max_examples=JSON_RULES)
@given(request=json_requests())
def test_generated_json_rules_mean_what_they_mean_in_grule(grule, request):
    ours, theirs = both(grule, request)
    assert ours == theirs


@settings(FIXED, max_examples=TEXTS)
@given(text=texts())
def test_the_same_texts_are_syntax_errors(grule, text):
    ours, theirs = both(grule, {"grl": text, "facts": {"F": {}}, "mode": "match"})
    assert ours["error"] == theirs["error"]
