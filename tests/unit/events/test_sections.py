from __future__ import annotations

import pytest
from eventrunner.errors import MalformedBody
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.packing import bracket, unpack
from eventrunner.events.sections import by_tenant, read_sections, write_sections
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 10_000_000


def event(tenant: str, number: int, size: int = 0) -> Event:
    return Event(id=str(number), source="/s", type="t", tenantid=tenant, subject="x" * size)


@given(
    st.lists(st.sampled_from(["acme", "globex", "UA"]), min_size=1, max_size=30), st.integers(0, 3000), st.booleans()
)
def test_each_section_holds_its_tenants_events_in_order(tenants: list[str], size: int, packs: bool) -> None:
    events = [event(tenant, number, size) for number, tenant in enumerate(tenants)]
    groups = by_tenant(events)
    body, header, packed = write_sections(groups, packs=packs)
    assert decode_batch(unpack(body, LIMIT) if packed else body) == [
        item for group in groups.values() for item in group
    ]
    sections = read_sections(header, body, packed=packed)
    assert [(section.tenant, section.events) for section in sections] == [(t, len(g)) for t, g in groups.items()]
    for section in sections:
        text = unpack(bracket(section.members), LIMIT) if packed else b"[" + section.members + b"]"
        assert text == encode_batch(groups[section.tenant])


def test_small_sections_are_not_packed() -> None:
    assert not write_sections(by_tenant([event("a", 1)]), packs=True).packed
    assert write_sections(by_tenant([event("a", 1, 5000)]), packs=True).packed


def test_too_many_tenants_for_a_header_are_not_named() -> None:
    body, header, packed = write_sections(by_tenant([event(f"tenant{n}", n) for n in range(500)]), packs=True)
    assert (header, packed, len(decode_batch(body))) == ("", False, 500)


@pytest.mark.parametrize("header", ["a", "a;1", "a;1;x", "a;1;2,b;1;3", "a;1;-4", ""])
def test_a_header_that_does_not_fit_is_malformed(header: str) -> None:
    body = b'[{"id":"1"}]'
    assert read_sections("a;1;10", body, packed=False)[0].members == body[1:-1]
    with pytest.raises(MalformedBody):
        read_sections(header, body, packed=False)
