from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from eventrunner.errors import MalformedBody
from eventrunner.events import Event, encode_batch
from eventrunner.events.packing import bracket, pack
from eventrunner.events.sections import Section, write_sections
from eventrunner.source.buffer import Buffer
from eventrunner.source.message import Message, Parcel, Part, read_message
from eventrunner.source.outcomes import Reply
from eventrunner.source.publication import Publication
from eventrunner.source.routing import Unroutable, route
from eventrunner.source.spec import BatchLimits, Ordering, SourceSpec, parse_source
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from support_source import BATCH, event, manifest

SPEC = parse_source(manifest("http://sink/", batch={"maxEvents": 10}))
LIMIT = 1_000_000


def message(*events: dict[str, Any], tenant: str = "acme", sequence: int = 1, stored: int = 1) -> Message:
    body = json.dumps(list(events)).encode()
    reply = f"$JS.ACK.RAW.stage.1.{sequence}.{sequence}.{stored}.0"
    headers = {"Content-Type": BATCH, "Eventrunner-Count": str(len(events))}
    return read_message(Msg(None, f"raw.{tenant}", reply, body, headers))  # type: ignore[arg-type]


def parcel(*messages: Message) -> Parcel:
    return Parcel([Part.of(item) for item in messages])


def reply(*events: dict[str, Any], count: int | None = -1) -> Reply:
    number = len(events) if count == -1 else count
    return Reply(json.dumps(list(events)).encode(), BATCH, number)


def routed(answer: Reply, sent: Parcel, spec: SourceSpec = SPEC) -> list[Publication]:
    return route(answer, sent, spec, LIMIT)


def test_the_id_of_a_reply_follows_from_the_messages_alone() -> None:
    one, other = message(event(1)), message(event(1))
    (first,) = routed(reply(event("a")), parcel(one))
    (second,) = routed(reply(event("b")), parcel(other))
    assert first.message_id == second.message_id


@pytest.mark.parametrize("changed", [{"sequence": 2}, {"stored": 2}])
def test_another_message_makes_another_id_even_in_a_stream_made_again(changed: dict[str, int]) -> None:
    (first,) = routed(reply(event("a")), parcel(message(event(1))))
    (second,) = routed(reply(event("a")), parcel(message(event(1), **changed)))
    assert first.message_id != second.message_id


def test_halves_and_regrouped_messages_make_other_ids() -> None:
    messages = [message(event(1), event(2), sequence=number) for number in range(1, 4)]
    parcels = [parcel(*messages), parcel(*messages[:2]), parcel(messages[0]), *parcel(messages[0]).halves()]
    ids = {routed(reply(event("a")), item)[0].message_id for item in parcels}
    assert len(ids) == 5


def test_a_reply_that_is_cut_elsewhere_never_passes_for_what_was_stored_before() -> None:
    sent = parcel(message(event(1)))
    events = [event(number) for number in range(30)]
    before = routed(reply(*events), sent)
    after = routed(reply(*events[:5], event("new"), *events[5:]), sent)
    assert [item.count for item in before] == [10, 10, 10]
    known = {item.message_id: item.body for item in before}
    assert all(known.get(item.message_id, item.body) == item.body for item in after)


def test_the_same_failure_is_the_same_dead_letter_in_any_company() -> None:
    failed = event(1) | {"knativeerrorcode": 422}
    first = routed(reply(failed), parcel(message(event(1))))
    second = routed(reply(failed, event(2)), parcel(message(event(1)), message(event(2), sequence=2)))
    assert first[0].message_id == second[1].message_id
    assert first[0].failure


def test_without_a_count_the_reply_is_checked() -> None:
    sent = parcel(message(event(1)))
    with pytest.raises(MalformedBody):
        routed(Reply(b"[oops]", BATCH), sent)
    (publication,) = routed(reply(event(1), event(2), count=None), sent)
    assert publication.count == 2


@pytest.mark.parametrize("tenant", ["", "a.b", "*", ">", "a b"])
def test_a_tenant_that_cannot_be_one_is_not_routed(tenant: str) -> None:
    spec = parse_source(manifest("http://sink/"))
    two = parcel(message(event(1)), message(event(2), tenant="other", sequence=2))
    with pytest.raises(Unroutable):
        routed(reply(event(1, tenant)), two, spec)


def _of_a_consumer(*events: dict[str, Any], form: str) -> Reply:
    """`form`: how the reply is written, each of which another part of the source takes care of."""
    names = ("id", "source", "type", "tenantid")
    read = [Event(**{name: item[name] for name in names}) for item in events]
    match form:
        case "batch":
            return reply(*events)
        case "uncounted":
            return reply(*events, count=None)
        case "packed":
            return Reply(bracket(pack(encode_batch(read)[1:-1])), BATCH, len(read), packed=True)
    # All in one section, of the tenant that it may be of.
    packed = form == "packed section"
    members = encode_batch(read)[1:-1]
    sections = [Section("acme", len(read), pack(members) if packed else members)]
    written = write_sections(sections, packed=packed)
    assert written is not None
    return Reply(written[0], BATCH, len(read), written[1], packed)


_FORMS = ["batch", "uncounted", "packed", "section", "packed section"]


@pytest.mark.parametrize("form", _FORMS)
def test_a_tenants_consumer_answers_with_events_of_its_tenant_only(form: str) -> None:
    spec = replace(SPEC, consumer="acme=alerts")
    sent = parcel(message(event(1)))
    foreign = event(2, "globex")
    with pytest.raises(Unroutable, match="globex"):
        routed(_of_a_consumer(event(1), foreign, form=form), sent, spec)
    (publication,) = routed(_of_a_consumer(event(1), event(2), form=form), sent, spec)
    assert (publication.subject, publication.count) == ("events.acme", 2)


@pytest.mark.parametrize("more", [{"type": "eventrunner.usage"}, {"knativeerrorcode": 422}])
def test_nor_does_it_meter_or_fail_another_tenants(more: dict[str, Any]) -> None:
    spec = replace(SPEC, consumer="acme=alerts")
    with pytest.raises(Unroutable, match="globex"):
        routed(reply(event(2, "globex") | more), parcel(message(event(1))), spec)


def test_nor_has_it_a_section_of_another_tenant() -> None:
    spec = replace(SPEC, consumer="acme=alerts")
    written = write_sections([Section("globex", 1, json.dumps(event(1)).encode())], packed=False)
    assert written is not None
    with pytest.raises(Unroutable, match="globex"):
        routed(Reply(written[0], BATCH, 1, written[1]), parcel(message(event(1))), spec)


def test_a_source_without_reply_still_passes_on_failures_and_usage() -> None:
    spec = parse_source(manifest("http://sink/", reply=None))
    sent = parcel(message(event(1)))
    assert routed(reply(event(1)), sent, spec) == []
    assert route(Reply(b"ok", "text/plain"), sent, spec, LIMIT) == []
    usage = event("u", type="eventrunner.usage")
    found = routed(reply(event(1), usage, event(2) | {"knativeerrorcode": 409}), sent, spec)
    assert [item.subject for item in found] == ["usage.acme", "deadletter.stage.acme"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=40), st.integers(1, 6), st.booleans())
def test_the_buffer_gives_everything_once_in_order_and_within_limits(
    items: list[tuple[str, int]], max_events: int, mixed: bool
) -> None:
    buffer = Buffer(BatchLimits(max_events, 10_000), Ordering.UNORDERED, mixed=mixed)
    for number, (tenant, count) in enumerate(items):
        events = [event(f"{number}.{index}", tenant) for index in range(count)]
        buffer.add(Part.of(message(*events, tenant=tenant, sequence=number)))
    taken: list[Part] = []
    while buffer.ready:
        parts = buffer.take()
        assert parts
        assert len(parts) == 1 or sum(part.count for part in parts) <= max_events
        taken += parts
    assert len(taken) == len(items)
    for tenant in "abc":
        numbers = [int(part.message.sequence) for part in taken if part.message.tenant == tenant]
        assert numbers == sorted(numbers)


def test_the_buffer_serves_tenants_in_turn() -> None:
    buffer = Buffer(BatchLimits(2, 10_000), Ordering.UNORDERED, mixed=False)
    for number in range(10):
        buffer.add(Part.of(message(event(number), tenant="loud", sequence=number)))
    buffer.add(Part.of(message(event("q"), tenant="quiet", sequence=99)))
    taken = [buffer.take() for _ in range(2)]
    assert "quiet" in {part.message.tenant for parts in taken for part in parts}


@pytest.mark.parametrize("mixed", [True, False])
def test_who_had_nothing_waiting_is_served_before_many_with_a_backlog(mixed: bool) -> None:
    buffer = Buffer(BatchLimits(20, 10_000), Ordering.UNORDERED, mixed=mixed)
    for number in range(1000):
        buffer.add(Part.of(message(event(number), tenant=f"loud-{number % 20}", sequence=number)))
    for _ in range(50):
        buffer.take()
    buffer.add(Part.of(message(event("q"), tenant="quiet", sequence=2000)))
    assert buffer.take()[0].message.tenant == "quiet"


def test_who_sends_much_is_no_newcomer_with_each_message() -> None:
    """Else each request would hold messages of many equal tenants, and the reply would have to be taken apart."""
    buffer = Buffer(BatchLimits(40, 100_000), Ordering.UNORDERED, mixed=True)
    stream = (
        Part.of(message(*[event(f"{number}.{place}") for place in range(10)], tenant=f"t{number % 8}", sequence=number))
        for number in range(1000)
    )
    for part in islice(stream, 20):
        buffer.add(part)
    tenants = []
    for _ in range(40):
        taken = buffer.take()
        assert sum(part.count for part in taken) == 40
        tenants.append(len({part.message.tenant for part in taken}))
        for part in islice(stream, len(taken)):
            buffer.add(part)
    assert sum(tenants[10:]) <= 2 * len(tenants[10:])


def test_a_place_in_the_line_lasts_a_round() -> None:
    buffer = Buffer(BatchLimits(32, 100_000), Ordering.UNORDERED, mixed=True)
    large = [event(number) for number in range(32)]
    for number, tenant in enumerate(("one", "two", "two")):
        buffer.add(Part.of(message(*large, tenant=tenant, sequence=number)))
    assert [part.message.tenant for part in buffer.take()] == ["one"]
    assert [part.message.tenant for part in buffer.take()] == ["two"]
    # One has a place before two, two has one message more.
    buffer.add(Part.of(message(*large, tenant="one", sequence=3)))
    buffer.remove("one")
    assert [part.message.tenant for part in buffer.take()] == ["two"]
    assert not buffer.ready
    buffer.add(Part.of(message(*large, tenant="one", sequence=4)))
    assert [part.message.tenant for part in buffer.take_few()] == ["one"]


def test_newcomers_leave_half_of_a_request_to_those_that_wait() -> None:
    buffer = Buffer(BatchLimits(20, 10_000), Ordering.UNORDERED, mixed=True)
    for number in range(100):
        buffer.add(Part.of(message(event(number), tenant="loud", sequence=number)))
    buffer.take()
    for number in range(100):
        buffer.add(Part.of(message(event("q"), tenant=f"quiet-{number}", sequence=100 + number)))
    for _ in range(4):
        tenants = [part.message.tenant for part in buffer.take()]
        assert (len(tenants), tenants.count("loud")) == (20, 10)


@pytest.mark.parametrize(("max_events", "max_bytes"), [(1, 10_000), (1000, 1_000)])
def test_newcomers_do_not_starve_who_waits_when_one_fills_a_request(max_events: int, max_bytes: int) -> None:
    """As with replays, of which each step is a message that a new one follows, and with large messages."""
    buffer = Buffer(BatchLimits(max_events, max_bytes), Ordering.UNORDERED, mixed=True)
    for number in range(100):
        buffer.add(Part.of(message(event(number), tenant="waits", sequence=number)))
    buffer.take()
    served = []
    for number in range(100, 160):
        for tenant in ("new-1", "new-2"):
            if tenant in served[-1:] or number == 100:
                buffer.add(Part.of(message(event("n", data="x" * 900), tenant=tenant, sequence=number)))
        served += [part.message.tenant for part in buffer.take()]
    assert served.count("waits") >= 20
    assert served.count("new-1") + served.count("new-2") >= 20


def test_a_sink_that_is_away_is_tried_with_a_few_events_of_one_tenant() -> None:
    buffer = Buffer(BatchLimits(160, 100_000), Ordering.UNORDERED, mixed=True)
    for number in range(300):
        buffer.add(Part.of(message(event(number), tenant=f"t{number % 3}", sequence=number)))
    parts = buffer.take_few()
    assert (len(parts), len({part.message.tenant for part in parts})) == (10, 1)
    rest = []
    while buffer.ready:
        rest += buffer.take()
    assert len(rest) == 290


def test_newcomers_alone_fill_a_request() -> None:
    buffer = Buffer(BatchLimits(20, 10_000), Ordering.UNORDERED, mixed=True)
    for number in range(100):
        buffer.add(Part.of(message(event("q"), tenant=f"quiet-{number}", sequence=number)))
    assert [len(buffer.take()) for _ in range(5)] == [20] * 5


def test_what_does_not_fit_keeps_its_turn() -> None:
    buffer = Buffer(BatchLimits(10, 10_000), Ordering.UNORDERED, mixed=True)
    large = [event(number) for number in range(8)]
    buffer.add(Part.of(message(*large, tenant="large", sequence=1)))
    buffer.add(Part.of(message(*large, tenant="large", sequence=2)))
    for number in range(3, 6):
        buffer.add(Part.of(message(*large[:3], tenant="small", sequence=number)))
    taken = [[int(part.message.sequence) for part in buffer.take()] for _ in range(4)]
    assert taken == [[1], [3], [2], [4, 5]]


def test_an_ordered_tenant_waits_for_what_was_taken() -> None:
    buffer = Buffer(BatchLimits(1, 10_000), Ordering.BY_TENANT, mixed=False)
    for number in range(2):
        buffer.add(Part.of(message(event(number), sequence=number)))
    buffer.take()
    assert not buffer.ready
    buffer.done({"acme"})
    assert buffer.ready
