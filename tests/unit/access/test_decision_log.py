"""The log of decisions says who was refused what and why, is silent of what is allowed, and cannot fill a disk."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from eventrunner.access.decision_log import DecisionLog
from eventrunner.access.identity import Identity
from eventrunner.access.policy import Verdict, question
from eventrunner.errors import Unauthenticated
from prometheus_client import REGISTRY

ALICE = question(Identity("alice", "acme", ("user",)), "rules", "put", "globex")


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "eventrunner.decisions"]


def counted(answer: str) -> float:
    return REGISTRY.get_sample_value("eventrunner_decisions_total", {"answer": answer}) or 0.0


def test_a_refusal_says_who_what_whose_why_and_how_long(caplog):
    caplog.set_level(logging.INFO)
    DecisionLog().note(Verdict.DENIED, 0.00123, lambda: ALICE)
    assert lines(caplog) == [
        {
            "subject": "alice",
            "of": "acme",
            "roles": '["user"]',
            "resource": "rules",
            "action": "put",
            "tenant": "globex",
            "answer": "denied",
            "why": "the policy does not allow it",
            "ms": 1.23,
        }
    ]


def test_what_is_allowed_is_a_line_at_debug_only_and_counted_always(caplog):
    caplog.set_level(logging.INFO)
    before = counted("allowed"), counted("denied")
    DecisionLog().note(Verdict.ALLOWED, 0.0, pytest.fail)
    assert lines(caplog) == []
    caplog.set_level(logging.DEBUG)
    DecisionLog().note(Verdict.ALLOWED, 0.0, lambda: ALICE)
    assert [line["answer"] for line in lines(caplog)] == ["allowed"]
    assert (counted("allowed"), counted("denied")) == (before[0] + 2, before[1])


def test_who_is_refused_all_the_time_leaves_a_hundred_lines_a_second_and_how_many_more_there_were(caplog):
    caplog.set_level(logging.INFO)
    now = [5.0]
    log = DecisionLog(lambda: now[0])
    before = counted("denied")
    for _ in range(250):
        log.note(Verdict.DENIED, 0.0, lambda: ALICE)
    assert len(lines(caplog)) == 100
    now[0] = 6.0
    log.note(Verdict.FAILED, 0.0, lambda: ALICE)
    log.note(Verdict.FAILED, 0.0, lambda: ALICE)
    assert [line.get("left_out") for line in lines(caplog)[100:]] == [150, None]
    assert counted("denied") == before + 252


def test_who_is_not_known_is_a_line_and_no_decision(caplog):
    caplog.set_level(logging.INFO)
    now, before = [5.0], counted("denied")
    log = DecisionLog(lambda: now[0])
    for _ in range(101):
        log.note_unknown(Unauthenticated("The API key was rotated.", "k1"), 0.001)
    now[0] = 6.0
    log.note_unknown(Unauthenticated("x" * 9_000), 0.0)
    found = lines(caplog)
    assert (len(found), counted("denied")) == (101, before)
    assert found[0] == {"key": "k1", "answer": "denied", "why": "The API key was rotated.", "ms": 1.0}
    assert (found[-1]["left_out"], len(found[-1]["why"])) == (1, 200)


def test_who_is_not_known_crowds_no_decision_out(caplog):
    caplog.set_level(logging.INFO)
    log = DecisionLog(lambda: 5.0)
    for _ in range(200):
        log.note_unknown(Unauthenticated("The API key is not known."), 0.0)
    log.note(Verdict.DENIED, 0.0, lambda: ALICE)
    assert (len(lines(caplog)), lines(caplog)[-1]["subject"]) == (101, "alice")


@pytest.mark.parametrize("asked", [{}, {"subject": 5}, {"subject": {"id": "x" * 9_000, "roles": ["y" * 9_000]}}])
def test_a_question_of_any_form_is_a_line_of_bounded_length(asked, caplog):
    caplog.set_level(logging.INFO)
    DecisionLog().note(Verdict.MALFORMED, 0.0, lambda: asked)
    assert len(json.dumps(lines(caplog)[0])) < 2_000
