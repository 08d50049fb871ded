"""Ingest over gRPC: the calls of `proto/ingest.proto`, with the rules, limits and errors of ingest over HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import grpc
from prometheus_client import Histogram

from eventrunner.access.access_rules import Credential, Permission, TenantFrom
from eventrunner.access.authorizer import Authorizer
from eventrunner.errors import EventRunnerError, MalformedBody
from eventrunner.ingest.door import Door, Visit
from eventrunner.ingest.inbox import FAST, Inbox
from eventrunner.ingest.intake import Intake, Request, read_events, read_payload
from eventrunner.ingest.one_core import OneCore
from eventrunner.ingest.proto import ingest_pb2 as pb
from eventrunner.ingest.protobuf import decode_event, event_id, split_batch
from eventrunner.telemetry import REQUEST_SECONDS

__all__ = ["SERVICE", "STAGE", "GrpcIngest"]

_log = logging.getLogger(__name__)

STAGE: Final = "ingest-grpc"
SERVICE: Final = pb.DESCRIPTOR.services_by_name["EventIngestService"].full_name

_CREDENTIALS: Final = (Credential.BEARER_KEY, Credential.HEADER_KEY, Credential.TOKEN)
_PERMISSION: Final = Permission("events", "publish", TenantFrom.CALLER)
_QUERY: Final[Sequence[str]] = ("type", "source", "subject", "id", "time", "adapter")
"""Metadata that say what the query parameters of the HTTP call say."""

_T = TypeVar("_T")
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_STATUS: Final = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.CONFLICT: grpc.StatusCode.ABORTED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}


class GrpcIngest:
    def __init__(self, door: Door, authorizer: Authorizer) -> None:
        self._door = door
        self._authorizer = authorizer
        self._core = OneCore()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Nothing is read before its sender is known: the library would read the message of a call that has one by
        itself, so it is told that there may be many. Batches and streams are not parsed event by event."""
        response = pb.IngestEventResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "IngestEvent": grpc.stream_unary_rpc_method_handler(
                    self._event, pb.IngestEventRequest.FromString, response
                ),
                "IngestBatch": grpc.stream_unary_rpc_method_handler(
                    self._batch, None, pb.IngestBatchResponse.SerializeToString
                ),
                "IngestStream": grpc.stream_stream_rpc_method_handler(
                    self._stream, None, pb.IngestStreamResponse.SerializeToString
                ),
            },
        )

    async def _event(self, messages: AsyncIterator[pb.IngestEventRequest], context: _Context) -> pb.IngestEventResponse:
        async def take(caller: _Caller) -> pb.IngestEventResponse:
            with await caller.visit() as visit:
                message = await _only(messages)
                visit.hold.add(len(message.event_data))
                intake = read_payload(caller.request(visit, message.event_data))
                await self._store(intake)
            (events,) = intake.accepted.values()
            return pb.IngestEventResponse(event_id=events[0].id, status="accepted")

        return await self._answer(context, take)

    async def _batch(self, messages: AsyncIterator[bytes], context: _Context) -> pb.IngestBatchResponse:
        async def take(caller: _Caller) -> pb.IngestBatchResponse:
            with await caller.visit() as visit:
                raw = await _only(messages)
                visit.hold.add(len(raw))
                intake = read_events(caller.request(visit, b""), split_batch(raw), decode_event, event_id)
                intake.may_be_empty = True
                await self._store(intake)
            return pb.IngestBatchResponse(accepted=intake.count, rejected=_rejected(intake, 0))

        return await self._answer(context, take)

    async def _stream(self, messages: AsyncIterator[bytes], context: _Context) -> None:
        async def take(caller: _Caller) -> None:
            settled = 0
            # Before anything is read, and not only with the first message, which may never come.
            with await caller.visit():
                pass
            async with Inbox(messages) as inbox:
                while batch := await inbox.take():
                    if len(batch) >= FAST:
                        self._core.keep()
                    # Who may not send any more finds out with the next batch, not at the end of the stream.
                    with await caller.visit() as visit:
                        visit.hold.add(sum(map(len, batch)))
                        intake = read_events(caller.request(visit, b""), batch, decode_event, event_id)
                        if intake.accepted:
                            await self._door.store(intake)
                    rejected = _rejected(intake, settled)
                    settled += len(batch)
                    await context.write(pb.IngestStreamResponse(settled=settled, rejected=rejected))

        await self._answer(context, take)

    async def _store(self, intake: Intake) -> None:
        await self._door.store(intake)
        if intake.is_refused:
            raise intake.refusal()

    async def _answer(self, context: _Context, take: Callable[[_Caller], Awaitable[_T]]) -> _T:
        started = time.perf_counter()
        status = grpc.StatusCode.OK
        try:
            await self._door.open()
            return await take(_Caller(self._door, self._authorizer, context))
        except EventRunnerError as error:
            status = _STATUS.get(HTTPStatus(error.status), grpc.StatusCode.INTERNAL)
            await _abort(context, status, error)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            status = grpc.StatusCode.CANCELLED
            raise
        except Exception:
            _log.exception("a call failed")
            status = grpc.StatusCode.INTERNAL
            await _abort(context, status, EventRunnerError("Ingest failed on this call; see its log."))
        finally:
            _seconds(status).observe(time.perf_counter() - started)


@cache
def _seconds(status: grpc.StatusCode) -> Histogram:
    return REQUEST_SECONDS.labels(STAGE, status.name)


class _Caller:
    """Who made a call, by its metadata."""

    def __init__(self, door: Door, authorizer: Authorizer, context: _Context) -> None:
        self._door = door
        self._authorizer = authorizer
        metadata = _metadata(context)
        self._secrets = {
            "Authorization": metadata.pop("authorization", ""),
            "X-Api-Key": metadata.pop("x-api-key", ""),
        }
        self._metadata = metadata
        self._query = {name: self._metadata[name] for name in _QUERY if name in self._metadata}

    async def visit(self) -> AbstractContextManager[Visit]:
        """Raises, when it is entered too, what says that they may not send now."""
        identity = await self._authorizer.authorize(self._secrets, _CREDENTIALS, _PERMISSION)
        return self._door.visit(identity, self._metadata.get("tenant"))

    def request(self, visit: Visit, body: bytes) -> Request:
        return self._door.request(visit, self._metadata, self._query, body, self._metadata.get("traceparent"))


async def _only(messages: AsyncIterator[_T]) -> _T:
    """The message of a call that has one. Raises MalformedBody."""
    async for message in messages:
        return message
    raise MalformedBody("The call has no message.")


def _metadata(context: _Context) -> dict[str, str]:
    """Metadata of one value each; the first one counts, as for HTTP headers."""
    found: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found.setdefault(name, value)
    return found


def _rejected(intake: Intake, offset: int) -> Sequence[pb.Rejection]:
    return [
        pb.Rejection(index=offset + item.index, id=item.id or "", error=item.error.detail) for item in intake.rejected
    ]


async def _abort(context: _Context, status: grpc.StatusCode, error: EventRunnerError) -> NoReturn:
    trailing = [("problem", json.dumps(error.problem()))]
    trailing += [(name.lower(), value) for name, value in error.retry_header().items()]
    await context.abort(status, error.detail, tuple(trailing))
    raise AssertionError("abort does not return")
