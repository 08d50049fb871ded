"""The JSON-lines protocol of `eventrunner rules run`: one request in, one answer out."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from eventrunner.errors import MalformedBody
from eventrunner.rules.errors import RuleSyntaxError
from eventrunner.rules.json_rules import json_to_grl
from eventrunner.rules.knowledge import KnowledgeBase, Outcome
from eventrunner.rules.values import UNREADABLE, encode

__all__ = ["Answer", "Request", "answer"]


class Request(msgspec.Struct):
    id: Any = None
    grl: str | None = None
    grl_json: Any = None
    """Grule's JSON rules, as a text or as the JSON itself."""
    grls: list[str] = []
    """Further resources of the same knowledge base."""
    remove: list[str] = []
    """Rules removed after all resources are built."""
    facts: dict[str, msgspec.Raw] = {}
    mode: Literal["execute", "match"] = "execute"
    max_cycle: int | None = None
    err_on_eval: bool = False
    runs: int = 1
    """How often the same knowledge base and facts are executed. After a `Complete()` each stops after one firing."""


class Answer(msgspec.Struct):
    id: Any
    facts: Any = {}
    fired: list[str] = []
    cycles: int = 0
    matched: list[str] = []
    logs: list[str] = []
    eval_failed: list[str] = []
    grl_out: str | None = None
    """The GRL that JSON rules were translated to."""
    error: str | None = None


def answer(line: bytes) -> bytes:
    """Raises MalformedBody if the line is no request."""
    try:
        request = msgspec.json.decode(line, type=Request)
    except UNREADABLE as error:
        raise MalformedBody(f"not a request: {error}") from None
    reply = Answer(request.id)
    _process(request, reply)
    try:
        return encode(reply)
    except RecursionError:
        # A fact that holds itself has no JSON form.
        reply.facts, reply.error = {}, "facts"
        return encode(reply)


def _process(request: Request, reply: Answer) -> None:
    base = KnowledgeBase()
    try:
        for number, text in enumerate(_resources(request, reply)):
            base.add(text, f"resource {number + 1}")
    except RuleSyntaxError as error:
        reply.error = str(error.problems[0].kind)
        reply.error = "syntax" if reply.error == "limit" else reply.error
        return
    for name in request.remove:
        base.remove(name)
    try:
        facts = {name: msgspec.json.decode(value) for name, value in request.facts.items()}
    except UNREADABLE:
        reply.error = "facts"
        return
    _run(base, request, facts, reply)


def _resources(request: Request, reply: Answer) -> list[str]:
    found = [] if request.grl is None else [request.grl]
    if request.grl_json is not None:
        text = request.grl_json if isinstance(request.grl_json, str) else msgspec.json.encode(request.grl_json)
        reply.grl_out = json_to_grl(text)
        found.append(reply.grl_out)
    return found + request.grls


def _run(base: KnowledgeBase, request: Request, facts: dict[str, Any], reply: Answer) -> None:
    complete = False
    for _ in range(max(request.runs, 1)):
        if request.mode == "match":
            outcome = base.match(facts, strict=request.err_on_eval)
        else:
            outcome = base.execute(facts, max_cycle=request.max_cycle, strict=request.err_on_eval, complete=complete)
        complete = complete or outcome.complete
        _add(outcome, reply)
        if outcome.error is not None:
            break
    reply.facts = facts


def _add(outcome: Outcome, reply: Answer) -> None:
    reply.fired += outcome.fired
    reply.cycles += outcome.cycles
    reply.matched = outcome.matched
    reply.logs += outcome.logs
    reply.eval_failed += [name for name in outcome.eval_failed if name not in reply.eval_failed]
    reply.error = outcome.error
