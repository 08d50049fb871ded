"""The figures of rules alone: both engines are given the same work."""

from __future__ import annotations

import pytest
from eventrunner.cli.bench_grule import bench_grule, grule_binary
from eventrunner.cli.bench_rules import counter_chain, field_chain, filters, orders, steps
from eventrunner.errors import Unavailable
from eventrunner.events import decode_event
from eventrunner.rules import compile_rules
from support import unavailable

CHAINS = [field_chain, counter_chain]


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_fires_each_rule_once_and_in_turn(chain):
    verdict = compile_rules(chain(30)).evaluate(decode_event(steps()), {})
    assert verdict is not None
    assert verdict.error is None
    assert verdict.fired == tuple(f"r{number}" for number in range(30))


def test_filters_fire_for_some_events_and_not_for_most():
    rules = compile_rules(filters(1000))
    verdicts = [rules.evaluate(decode_event(event), {}) for event in orders()]
    fired = sum(len(verdict.fired) for verdict in verdicts if verdict)
    assert 0.1 < fired / len(verdicts) < 0.5


def test_an_event_has_some_300_bytes():
    assert 250 < sum(map(len, orders())) / len(orders()) < 320


@pytest.mark.peer
def test_grule_fires_as_many_rules(tmp_path):
    try:
        binary = grule_binary()
    except Unavailable as error:
        unavailable(str(error))
    (tmp_path / "rules.grl").write_text(counter_chain(30))
    (tmp_path / "events").write_bytes(steps())
    figures = bench_grule(binary, tmp_path / "rules.grl", tmp_path / "events")
    assert figures.fired == 30 * figures.events
