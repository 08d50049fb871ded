"""`rules/examples/<case>`: rules, a tenant with events, and what the rules make of each event."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from eventrunner.events import decode_event
from eventrunner.rules import compile_rules, verdict_document

EXAMPLES = sorted((Path(__file__).parents[3] / "rules" / "examples").iterdir())


def test_there_are_examples():
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_the_example_does_what_it_says(folder):
    given = json.loads((folder / "in.json").read_text())
    rules = compile_rules((folder / "rules.grl").read_text(), name=str(folder / "rules.grl"))
    found = []
    for document in given["events"]:
        event = decode_event(msgspec.json.encode(document))
        found.append(verdict_document(event.id, rules.evaluate(event, given["tenant"])))
    assert json.loads(msgspec.json.encode(found)) == json.loads((folder / "out.json").read_text())
