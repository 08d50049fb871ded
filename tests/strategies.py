"""Hypothesis strategies, all in one place."""

from __future__ import annotations

import base64

import msgspec
from eventrunner.events import Event
from eventrunner.events.validation import extension_name_problem
from hypothesis import strategies as st

__all__ = ["cursor_values", "events", "extension_names", "json_values", "plain_text"]

_FORBIDDEN = "\ufffe\uffff" + "".join(map(chr, range(0xFDD0, 0xFDF0)))
_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters=_FORBIDDEN)
_URI_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-._~/:?#@!$&'()*+,;="

plain_text = st.text(_CHARACTERS, min_size=1, max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(_CHARACTERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(_CHARACTERS), inner, max_size=4),
    max_leaves=10,
)
_edges = st.sampled_from(
    [sign * 2**power + more for sign in (1, -1) for power in (31, 63, 64, 80) for more in (-1, 0, 1)]
)
_places = st.integers(-2, 2) | st.integers() | _edges
cursor_values = st.lists(_places, min_size=1, max_size=2) | st.lists(_places | json_values, max_size=3)
"""What somebody may make up as a cursor's content; often of the form of a real one."""
extension_names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: extension_name_problem(name) is None
)
_times = st.datetimes().map(lambda moment: moment.isoformat() + "Z")


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Valid events of all shapes: with and without data, binary, with extension attributes."""
    event = Event(
        id=draw(plain_text),
        source=draw(st.text(_URI_CHARACTERS, min_size=1, max_size=20)),
        type=draw(plain_text.filter(lambda text: not text.startswith("eventrunner."))),
        subject=draw(st.none() | plain_text),
        time=draw(st.none() | _times),
        dataschema=draw(st.none() | st.just("https://example.com/schema.json")),
        extensions=draw(
            st.none()
            | st.dictionaries(
                extension_names, plain_text | st.booleans() | st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=4
            )
        ),
    )
    kind = draw(st.sampled_from(("none", "json", "text", "binary")))
    if kind == "json":
        event.datacontenttype = draw(st.sampled_from((None, "application/json", "application/geo+json")))
        event.data = msgspec.Raw(msgspec.json.encode(draw(json_values)))
    elif kind == "text":
        event.set_payload(draw(st.text(_CHARACTERS, min_size=1)).encode(), "text/plain")
    elif kind == "binary":
        event.datacontenttype = "application/octet-stream"
        event.data_base64 = base64.b64encode(draw(st.binary(min_size=1))).decode()
    return event
