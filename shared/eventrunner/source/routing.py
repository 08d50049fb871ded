"""What a reply holds and where each part of it goes.

A reply in sections is cut by them, unopened. One of a single tenant without failures and usage records is published as
it came, undecoded. Any other is taken apart. Of a tenant's consumer nothing is believed: each event is looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import msgspec

from eventrunner.errors import EventRunnerError, InvalidInput, MalformedBody
from eventrunner.events import USAGE_TYPE
from eventrunner.events.binary import BATCH_TYPE
from eventrunner.events.costs import charged_batch, charged_text
from eventrunner.events.json_format import join_batch, split_batch
from eventrunner.events.packing import bracket
from eventrunner.events.sections import read_sections
from eventrunner.source.deadletter import Verdict, letter_of_failure, letter_of_reply
from eventrunner.source.message import UNPACK_LIMIT, Parcel, Part
from eventrunner.source.outcomes import Reply
from eventrunner.source.publication import HEADER_ROOM, TO_DESTINATION, Publication
from eventrunner.source.spec import SourceSpec, SubjectPattern
from eventrunner.source.tenant_consumers import is_tenants_durable
from eventrunner.tenancy import is_tenant

__all__ = ["Unroutable", "route"]

_FAILURE_MARK = b'"knativeerrorcode"'
_USAGE_MARK = f'"{USAGE_TYPE}"'.encode()
_OVERSIZE = 2
"""With derived events a reply may hold so many times the source's maxEvents before it is cut."""


@dataclass(eq=False)
class Unroutable(EventRunnerError):
    """The reply holds an event of which no tenant can be told, or one of a tenant that it must not be of."""

    code = "unroutable-reply"


class _Member(msgspec.Struct):
    id: str = ""
    source: str = ""
    type: str = ""
    tenantid: str = ""
    knativeerrorcode: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    knativeerrorattempts: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Of the stage, within the request."""


class _Owned(msgspec.Struct):
    tenantid: str = ""


_decoder = msgspec.json.Decoder(_Member)
_owned_decoder = msgspec.json.Decoder(list[_Owned])


@dataclass(slots=True)
class _Group:
    """Events for one subject."""

    bodies: list[bytes] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)


def route(reply: Reply, parcel: Parcel, spec: SourceSpec, max_payload: int) -> list[Publication]:
    """Raises MalformedBody or BodyTooLarge for a reply that is no batch, Unroutable."""
    if reply.content_type != BATCH_TYPE:
        if spec.reply is None:
            return []
        raise MalformedBody(f"The reply is of type {reply.content_type or 'unknown'}, not {BATCH_TYPE}.")
    if is_tenants_durable(spec.consumer):
        _check_owners(reply, parcel)
    if reply.sections:
        if spec.reply is None:
            return []
        if (publications := _by_sections(reply, parcel, spec, max_payload)) is not None:
            return publications
    reply = _unpacked(reply)
    if _FAILURE_MARK not in reply.body and _USAGE_MARK not in reply.body:
        if spec.reply is None:
            return []
        if (publication := _as_it_came(reply, parcel, spec, max_payload)) is not None:
            return [publication]
    return _Sorting(parcel, spec, max_payload).sort(reply)


def _check_owners(reply: Reply, parcel: Parcel) -> None:
    """Raises Unroutable for what is of another tenant than the parcel, MalformedBody or BodyTooLarge for no batch.

    Code that got out of its WebAssembly engine answers what it likes.
    """
    found: set[str] = set()
    batches = []
    if reply.sections:
        for section in read_sections(reply.sections, reply.body, packed=reply.packed):
            found.add(section.tenant)
            members = charged_text(section.members, UNPACK_LIMIT) if reply.packed else section.members
            batches.append(b"[" + members + b"]")
    else:
        batches.append(_unpacked(reply).body)
    try:
        for batch in batches:
            found.update(item.tenantid for item in _owned_decoder.decode(batch))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The reply holds something that is no event: {error}.") from error
    if strangers := found - parcel.tenants - {""}:
        raise Unroutable(f"A consumer's reply holds events of another tenant: {', '.join(sorted(strangers))[:200]!r}.")


def _by_sections(reply: Reply, parcel: Parcel, spec: SourceSpec, max_payload: int) -> list[Publication] | None:
    """A publication for each tenant, unopened. None when one would be too large, a tenant comes twice, or the
    destination is no stream."""
    if not isinstance(spec.reply, SubjectPattern):
        return None
    prefix = _prefix(parcel, spec)
    max_events, max_bytes = _OVERSIZE * spec.batch.max_events, max_payload - HEADER_ROOM
    sections = read_sections(reply.sections, reply.body, packed=reply.packed)
    if len({section.tenant for section in sections}) < len(sections):
        # Two publications would bear one message id.
        return None
    publications = []
    for section in sections:
        if not is_tenant(section.tenant):
            raise Unroutable(f"The reply has a section of {section.tenant!r}, which is no tenant.")
        body = bracket(section.members) if reply.packed else b"[" + section.members + b"]"
        if section.events > max_events or len(body) > max_bytes:
            return None
        message_id = f"{prefix}.{section.tenant}"
        subject = spec.reply.of(section.tenant)
        publications.append(Publication(subject, body, BATCH_TYPE, message_id, section.events, packed=reply.packed))
    return publications


def _unpacked(reply: Reply) -> Reply:
    return replace(reply, body=charged_batch(reply.body, UNPACK_LIMIT), packed=False) if reply.packed else reply


def _as_it_came(reply: Reply, parcel: Parcel, spec: SourceSpec, max_payload: int) -> Publication | None:
    """None when the reply must be decoded. Without a count nobody has vouched for the body, so it must."""
    tenants = parcel.tenants
    body = reply.body
    if (
        len(tenants) != 1
        or not reply.count
        or reply.count > _OVERSIZE * spec.batch.max_events
        or len(body) > max_payload - HEADER_ROOM
        or body[:1] != b"["
        or body[-1:] != b"]"
    ):
        return None
    return Publication(_results_subject(spec, tenants.pop()), body, BATCH_TYPE, _prefix(parcel, spec), reply.count)


class _Sorting:
    """One reply being taken apart."""

    def __init__(self, parcel: Parcel, spec: SourceSpec, max_payload: int) -> None:
        tenants = parcel.tenants
        self._home = tenants.pop() if len(tenants) == 1 else ""
        self._parcel = parcel
        self._spec = spec
        self._max_payload = max_payload
        self._prefix = _prefix(parcel, spec)
        self._groups: dict[str, _Group] = {}
        self._letters: list[Publication] = []

    def sort(self, reply: Reply) -> list[Publication]:
        for raw in split_batch(reply.body):
            self._add(bytes(raw))
        batches = [
            publication for subject, group in self._groups.items() for publication in self._publications(subject, group)
        ]
        return batches + self._letters

    def _add(self, raw: bytes) -> None:
        try:
            member = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedBody(f"The reply holds something that is no event: {error}.") from error
        tenant = member.tenantid or self._home
        if not is_tenant(tenant):
            raise Unroutable(f"The reply's event {member.id!r} has {tenant!r} for a tenant, so it cannot be routed.")
        if member.knativeerrorcode is not msgspec.UNSET:
            self._letters.append(self._failure(member, tenant, raw))
        elif len(raw) > self._max_payload - HEADER_ROOM:
            verdict = Verdict(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the result is too large to store", 0, "")
            self._letters.append(letter_of_reply(raw, tenant, verdict, self._spec, self._max_payload, self._prefix))
        elif member.type == USAGE_TYPE:
            self._put(self._spec.usage.of(tenant), member, raw)
        elif self._spec.reply is not None:
            self._put(_results_subject(self._spec, tenant), member, raw)

    def _put(self, subject: str, member: _Member, raw: bytes) -> None:
        group = self._groups.get(subject)
        if group is None:
            group = self._groups[subject] = _Group()
        group.bodies.append(raw)
        group.identities.append(f"{member.tenantid}\0{member.source}\0{member.id}")

    def _failure(self, member: _Member, tenant: str, raw: bytes) -> Publication:
        parts = [part for part in self._parcel.parts if part.message.tenant == tenant]
        origin = parts[0].message.subject if parts else ""
        past = next((part.message.past for part in parts if _is_replayed(part, member)), None)
        attempts = self._parcel.inherited + self._parcel.attempts + _more_attempts(member)
        return letter_of_failure(raw, tenant, origin, past, attempts, self._spec, self._max_payload)

    def _publications(self, subject: str, group: _Group) -> Iterable[Publication]:
        """Cut by number and size. The id of a piece follows from its events, never from its position: a reply that
        comes again may be cut elsewhere, and a piece must not pass for another one."""
        max_bytes = self._max_payload - HEADER_ROOM
        for piece in _pieces(group.bodies, self._spec.batch.max_events, max_bytes):
            bodies = group.bodies[piece]
            names = (subject.encode(), *(identity.encode() for identity in group.identities[piece]))
            yield Publication(subject, join_batch(bodies), BATCH_TYPE, f"{self._prefix}.{_digest(names)}", len(bodies))


def _more_attempts(failed: _Member) -> int:
    """Besides one for the request."""
    text = b"" if failed.knativeerrorattempts is msgspec.UNSET else bytes(failed.knativeerrorattempts)
    return int(text[:9]) - 1 if text.isdigit() and text != b"0" else 0


def _is_replayed(part: Part, failed: _Member) -> bool:
    """Whether the part is a replayed dead letter of the very event."""
    if part.message.past is None:
        return False
    try:
        event = _decoder.decode(part.text())
    except (InvalidInput, msgspec.DecodeError, UnicodeDecodeError):
        return False
    return (event.source, event.id) == (failed.source, failed.id)


def _results_subject(spec: SourceSpec, tenant: str) -> str:
    return spec.reply.of(tenant) if isinstance(spec.reply, SubjectPattern) else TO_DESTINATION


def _prefix(parcel: Parcel, spec: SourceSpec) -> str:
    return f"{spec.stream}.{spec.consumer}.{parcel.digest()}"


def _pieces(bodies: Sequence[bytes], max_events: int, max_bytes: int) -> Iterable[slice]:
    start, size = 0, 2
    for number, body in enumerate(bodies):
        if number > start and (number - start >= max_events or size + len(body) + 1 > max_bytes):
            yield slice(start, number)
            start, size = number, 2
        size += len(body) + 1
    yield slice(start, len(bodies))


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part)
        digest.update(b"\1")
    return digest.hexdigest()
