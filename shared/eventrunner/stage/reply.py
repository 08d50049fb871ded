"""A stage's answer, written so that the source can cut it by tenant without looking inside."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response

from eventrunner.events import Event, encode_batch
from eventrunner.events.binary import BATCH_TYPE
from eventrunner.events.costs import Cost, charge
from eventrunner.events.headers import COUNT_HEADER, HANDLED_HEADER
from eventrunner.events.packing import ENCODING, WORTH, join_packed, pack
from eventrunner.events.sections import SECTIONS_HEADER, Section, by_tenant, write_sections
from eventrunner.stage.outcomes import Outcomes

__all__ = ["write_reply"]


def write_reply(outcomes: Outcomes, stage: str, cost: Cost, *, packs: bool) -> Response:
    """204 or a JSON batch; `packs`: the reply may be in zstd."""
    response = _written(outcomes, stage, cost, packs=packs)
    if outcomes.handled is not None:
        response.headers[HANDLED_HEADER] = str(outcomes.handled)
    return response


def _written(outcomes: Outcomes, stage: str, cost: Cost, *, packs: bool) -> Response:
    if packs and outcomes.all_go_on and (response := _packed(outcomes, cost)):
        return response
    events = outcomes.to_events(stage, cost)
    if not events:
        return Response(status=204)
    if outcomes.all_go_on and (response := _in_sections(_sections(events), packed=False)):
        return response
    return _answer(encode_batch(events), len(events), {})


def _packed(outcomes: Outcomes, cost: Cost) -> Response | None:
    """None when packing does not pay."""
    results = outcomes.written + _sections(outcomes.results)
    derived = outcomes.written_derived + _sections(outcomes.derived)
    texts = [*results, *derived]
    if not outcomes.passed and sum(len(text.members) for text in texts) < WORTH * max(1, len(texts)):
        return None
    parts = [(tenant, events, charge(members, cost)) for tenant, events, members in outcomes.passed]
    parts += [(tenant, events, charge(pack(members), cost)) for tenant, events, members in results]
    parts += [(tenant, events, pack(members)) for tenant, events, members in derived]
    frames: dict[str, list[bytes]] = {}
    counts: dict[str, int] = {}
    for tenant, events, members in parts:
        frames.setdefault(tenant, []).append(members)
        counts[tenant] = counts.get(tenant, 0) + events
    sections = [Section(tenant, counts[tenant], join_packed(members)) for tenant, members in frames.items()]
    return _in_sections(sections, packed=True)


def _sections(events: Sequence[Event]) -> list[Section]:
    groups = by_tenant(events).items()
    return [Section(tenant, len(group), encode_batch(group)[1:-1]) for tenant, group in groups]


def _in_sections(sections: Sequence[Section], *, packed: bool) -> Response | None:
    """None when there are too many tenants to name."""
    text = write_sections(sections, packed=packed)
    if text is None:
        return None
    body, header = text
    headers = {SECTIONS_HEADER: header}
    if packed:
        headers["Content-Encoding"] = ENCODING
    return _answer(body, sum(section.events for section in sections), headers)


def _answer(body: bytes, count: int, headers: dict[str, str]) -> Response:
    return Response(body, headers={COUNT_HEADER: str(count), **headers}, content_type=BATCH_TYPE)
