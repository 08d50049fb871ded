"""The rule engine stands alone, and what it repeats of the platform's knowledge is the same."""

from __future__ import annotations

import ast
from pathlib import Path

import eventrunner.rules
import pytest
from eventrunner.events.event import Event
from eventrunner.events.validation import RESERVED_TYPES, extension_name_problem, validate
from eventrunner.rules.attributes import name_problem, text_problem
from hypothesis import given, settings
from hypothesis import strategies as st

MODULES = sorted(Path(eventrunner.rules.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_module_imports_from_the_rest_but_errors(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert not name.startswith("eventrunner") or name.startswith(("eventrunner.rules", "eventrunner.errors"))


@pytest.mark.parametrize(
    "name",
    [
        *Event.__struct_fields__,
        *("data", "data_base64", "a", "0", "size", "Size", "a-b", "a_b", "", "é", "causeid", "causerule", "derivedids"),
        *("originaldigest", "replayid", "route", "usage", "usagex", "knativeerrordata", "knative", "partitionkey"),
    ],
)
def test_rules_may_write_the_attributes_that_senders_may(name: str) -> None:
    assert (name_problem(name) is None) == (extension_name_problem(name) is None)


_DAY, _CLOCK = r"[0-9]{4}-[01][0-9]-[0-3][0-9]", r"[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,7})?"
_MOMENT = rf"{_DAY}[Tt ]{_CLOCK}(Z|[+-][0-2][0-9]:[0-9]{{2}})?\n?"
_TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "text/plain", "text/plain; a=b", "https://x/y", "x", "a b", "urn:a", "%zz", "\x85", "\ud800"]),
    st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01t00:00:00.1+01:00", "2026-01-01T00:00:00", "yesterday"]),
    st.from_regex(_MOMENT),
    st.from_regex(r"[a-z/:;=+. \"%]{1,12}"),
)


@settings(max_examples=600, derandomize=True, deadline=None)
@given(st.sampled_from(["type", "subject", "time", "datacontenttype", "dataschema", "zone"]), _TEXTS)
def test_rules_may_write_the_values_that_senders_may(name: str, text: str) -> None:
    event = Event(id="1", source="/s", type="t", tenantid="acme")
    if name == "zone":
        event.set_extension(name, text)
    else:
        setattr(event, name, text)
    assert (text_problem(name, text) is None) == (not validate(event))


def test_types_of_the_platform_are_reserved() -> None:
    assert text_problem("type", f"{RESERVED_TYPES}usage")
    assert text_problem("type", "usage") is None
