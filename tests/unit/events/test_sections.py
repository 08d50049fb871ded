from __future__ import annotations

import pytest
from eventrunner.errors import MalformedBody
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.packing import pack, unpack
from eventrunner.events.sections import Section, by_tenant, read_sections, write_sections
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 10_000_000


def event(tenant: str, number: int, size: int = 0) -> Event:
    return Event(id=str(number), source="/s", type="t", tenantid=tenant, subject="x" * size)


def sections_of(events: list[Event], *, packed: bool = False) -> list[Section]:
    texts = {tenant: (len(group), encode_batch(group)[1:-1]) for tenant, group in by_tenant(events).items()}
    return [Section(tenant, count, pack(text) if packed else text) for tenant, (count, text) in texts.items()]


@given(
    st.lists(st.sampled_from(["acme", "globex", "UA"]), min_size=1, max_size=30), st.integers(0, 3000), st.booleans()
)
def test_each_section_holds_its_tenants_events_in_order(tenants: list[str], size: int, packed: bool) -> None:
    events = [event(tenant, number, size) for number, tenant in enumerate(tenants)]
    sections = sections_of(events, packed=packed)
    written = write_sections(sections, packed=packed)
    assert written is not None
    body, header = written
    whole = decode_batch(unpack(body, LIMIT) if packed else body)
    assert whole == [item for group in by_tenant(events).values() for item in group]
    assert read_sections(header, body, packed=packed) == sections


def test_too_many_tenants_for_a_header_are_not_named() -> None:
    assert write_sections(sections_of([event(f"tenant{n}", n) for n in range(500)]), packed=False) is None


@pytest.mark.parametrize("header", ["a", "a;1", "a;1;x", "a;1;2,b;1;3", "a;1;-4", ""])
def test_a_header_that_does_not_fit_is_malformed(header: str) -> None:
    body = b'[{"id":"1"}]'
    assert read_sections("a;1;10", body, packed=False)[0].members == body[1:-1]
    with pytest.raises(MalformedBody):
        read_sections(header, body, packed=False)
