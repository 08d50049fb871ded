"""Replays of history: created here, done by the function `replayer`."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

import msgspec
from flask import Request, Response
from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_json, read_time
from eventrunner.api.idempotency import HEADER, Idempotency, Place
from eventrunner.api.pages import read_page
from eventrunner.api.texts import EventText, ShortText, Time, VersionNumber
from eventrunner.clock import Clock
from eventrunner.errors import Conflict, EventRunnerError, FieldError, InvalidInput, NotFound, Unavailable
from eventrunner.events import encode_event
from eventrunner.events.binary import STRUCTURED_TYPE
from eventrunner.events.event import micros
from eventrunner.ids import new_id
from eventrunner.replay.ledger import ReplayLedger
from eventrunner.replay.record import Replay, State, Target, task_event
from eventrunner.replay.worker import check_filters, event_time
from eventrunner.stage.answers import json_response
from eventrunner.storage import records
from eventrunner.storage.records import RuleSet, rule_key, tenant_key
from eventrunner.storage.registry import Registry
from eventrunner.tenancy import REPLAYS_STREAM, check_tenant, subject

__all__ = ["ReplayBody", "ReplayCalls"]

_MAX_RATE = 100_000
_MAX_FILTERS = 50
_MAX_FILTER_BYTES = 8192
_TIMEOUT = 5.0
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ReplayTarget(msgspec.Struct, forbid_unknown_fields=True):
    consumer: ShortText = ""
    rules: ShortText = ""
    version: VersionNumber = 0
    """0: the version in force, else the newest."""


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}):
    since: Time
    target: ReplayTarget
    until: Time | None = None
    """None: now."""
    type: EventText | None = None
    source: EventText | None = None
    filters: Annotated[
        list[Any],
        msgspec.Meta(
            description=f"At most {_MAX_FILTER_BYTES} bytes as JSON", extra_json_schema={"maxItems": _MAX_FILTERS}
        ),
    ] = msgspec.field(default_factory=list)
    rate: Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 0.1, "maximum": _MAX_RATE})] = 1000
    """Events a second."""
    dry_run: bool = False


class ReplayCalls:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._idempotency = Idempotency(backend, clock)

    @property
    def _ledger(self) -> ReplayLedger:
        return ReplayLedger(self._backend.registry, self._clock)

    def create(self, request: Request, identity: Identity, tenant: str) -> Response:
        """Answers 202 once the replay is recorded and asked for."""
        check_own(identity, tenant)
        self._backend.tenant(tenant)
        body = read_json(request, ReplayBody)
        identifier, may_come_again = new_id(), HEADER in request.headers

        def make() -> Response:
            replay = self._ledger.create(self._replay(tenant, body, identifier))
            try:
                return self._asked_for(replay)
            except EventRunnerError:
                if not may_come_again:
                    self._ledger.delete(replay)
                raise

        def found(value: bytes) -> Response:
            return self._asked_for(Replay.from_json(value))

        place = Place(records.REPLAYS, tenant_key(tenant, identifier), identifier, tenant)
        return self._idempotency.once(request, identity, place, make, found)

    def _asked_for(self, replay: Replay) -> Response:
        self._ask(replay)
        return json_response(replay.document(), 202)

    def get(self, _: Request, identity: Identity, tenant: str, replay: str) -> Response:
        check_own(identity, check_tenant(tenant))
        return json_response(self._ledger.get(tenant, _check_id(replay)).document())

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        """The newest first."""
        check_own(identity, check_tenant(tenant))

        async def read(client: Client) -> dict[str, bytes]:
            return await Registry(client).items(records.REPLAYS)

        found = self._backend.registry.run(read, 2 * _TIMEOUT)
        own = [Replay.from_json(value) for key, value in found.items() if key.startswith(f"{tenant}.")]
        page, following = read_page(request, own, lambda item: f"{item.created} {item.id}", newest_first=True)
        return json_response({"replays": [replay.document() for replay in page], "next": following})

    def cancel(self, _: Request, identity: Identity, tenant: str, replay: str) -> Response:
        """What was sent stays sent."""
        check_own(identity, check_tenant(tenant))

        def end(record: Replay) -> None:
            if record.state.is_final:
                raise Conflict(f"Replay {replay} is {record.state.value} already.")
            record.state, record.lease = State.CANCELLED, None

        return json_response(self._ledger.change(tenant, _check_id(replay), end).document())

    def _replay(self, tenant: str, body: ReplayBody, identifier: str) -> Replay:
        """Raises InvalidInput that names every wrong field."""
        problems: list[FieldError] = []
        now = micros(self._clock().isoformat())
        since, until = _time("from", body.since, problems), _time("to", body.until, problems)
        # Not beyond now: else a replay would never end where events keep coming.
        until = now if until is None else min(until, now)
        if since is not None and since >= until:
            problems.append(FieldError("from", "must be before `to` and before now"))
        if not (math.isfinite(body.rate) and 0.1 <= body.rate <= _MAX_RATE):
            problems.append(FieldError("rate", f"events a second, from 0.1 to {_MAX_RATE}"))
        if len(body.filters) > _MAX_FILTERS:
            problems.append(FieldError("filters", f"at most {_MAX_FILTERS}"))
        if len(msgspec.json.encode(body.filters)) > _MAX_FILTER_BYTES:
            problems.append(FieldError("filters", f"at most {_MAX_FILTER_BYTES} bytes as JSON"))
        problems += check_filters(body.filters)[1]
        target = self._target(tenant, body.target, problems)
        if problems:
            reasons = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
            raise InvalidInput(f"This cannot be replayed: {reasons}.", tuple(problems))
        assert since is not None
        replay = Replay(
            tenant,
            identifier,
            since,
            until,
            target,
            type=body.type,
            source=body.source,
            filters=body.filters,
            dry_run=body.dry_run,
            rate=body.rate,
        )
        replay.first, replay.last = self._bound(replay, newest=False), self._bound(replay, newest=True)
        return replay

    def _target(self, tenant: str, wanted: ReplayTarget, problems: list[FieldError]) -> Target:
        if bool(wanted.consumer) == bool(wanted.rules):
            problems.append(FieldError("target", 'name one: {"consumer": …} or {"rules": …, "version": …}'))
        elif wanted.consumer:
            if wanted.version:
                problems.append(FieldError("target.version", "only of a rule set"))
            if self._record(records.CONSUMERS, tenant_key(tenant, wanted.consumer)) is None:
                problems.append(FieldError("target.consumer", self._backend.no_consumer(tenant, wanted.consumer)))
        else:
            return Target(rules=wanted.rules, version=self._version(tenant, wanted, problems))
        return Target(consumer=wanted.consumer)

    def _version(self, tenant: str, wanted: ReplayTarget, problems: list[FieldError]) -> int:
        record = self._record(records.RULES, rule_key(tenant, wanted.rules))
        if record is None:
            problems.append(FieldError("target.rules", f"tenant {tenant} has no rule set {wanted.rules}"))
            return 0
        rules = RuleSet.from_json(record)
        if not wanted.version:
            return (rules.in_force or rules.versions[-1]).version
        if wanted.version not in {item.version for item in rules.versions}:
            problems.append(FieldError("target.version", f"rule set {wanted.rules} has no version {wanted.version}"))
        return wanted.version

    def _record(self, bucket: str, key: str) -> bytes | None:
        entry = self._backend.entry(bucket, key)
        return None if entry is None else entry[0]

    def _bound(self, replay: Replay, *, newest: bool) -> int:
        """Time of the first or the last event of the range; 0 when it is empty."""
        page = self._backend.store.list(
            replay.tenant,
            type=replay.type,
            source=replay.source,
            since=replay.since,
            until=replay.until,
            newest_first=newest,
            limit=1,
        )
        return event_time(page.bodies[0]) if page.bodies else 0

    def _ask(self, replay: Replay) -> None:
        headers = {"Content-Type": STRUCTURED_TYPE, "Nats-Msg-Id": f"replay.{replay.id}"}
        body = encode_event(task_event(replay.tenant, replay.id))

        async def publish(client: Client) -> None:
            await client.jetstream().publish(
                subject(REPLAYS_STREAM, replay.tenant), body, timeout=_TIMEOUT, headers=headers
            )

        try:
            self._backend.registry.run(publish, 2 * _TIMEOUT)
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"The replay cannot be asked for: {error or type(error).__name__}.") from error


def _check_id(replay: str) -> str:
    """Raises NotFound for what can be no replay's id, nor a key of the registry."""
    if _ID.fullmatch(replay) is None:
        raise NotFound(f"There is no replay {replay}.")
    return replay


def _time(name: str, text: str | None, problems: list[FieldError]) -> int | None:
    try:
        return read_time(name, text)
    except InvalidInput as error:
        problems += error.fields
        return None
