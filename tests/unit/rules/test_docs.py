from __future__ import annotations

import re
from pathlib import Path

import pytest
from eventrunner.rules import compile_rules, json_to_grl

_GUIDE = (Path(__file__).parents[3] / "docs" / "grl.md").read_text()


@pytest.mark.parametrize("text", re.findall(r"```grl\n(.*?)```", _GUIDE, re.DOTALL))
def test_every_example_of_the_guide_compiles(text: str) -> None:
    assert compile_rules(text).conditions


@pytest.mark.parametrize("text", re.findall(r"```json\n(.*?)```", _GUIDE, re.DOTALL))
def test_every_json_rule_of_the_guide_compiles(text: str) -> None:
    assert compile_rules(json_to_grl(text)).conditions
