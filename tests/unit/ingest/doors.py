"""The ways in, each as a client sees it, with answers in one form: a POST through the gateway, and the gRPC calls that
take several events. Each is a function in a process of its own over a real NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import grpc
from aiohttp import web
from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.authorizer import Authorizer
from eventrunner.access.credentials import Authenticator
from eventrunner.access.policy import Policy
from eventrunner.ingest.proto import cloudevents_pb2, ingest_pb2
from eventrunner.local.gateway import Gateway
from eventrunner.local.upstream import new_session
from eventrunner.storage.jetstream import connect
from eventrunner.storage.records import KEYS
from eventrunner.storage.registry import Registry
from support_grpc import GrpcClient, grpc_ingest
from support_identity import JWKS, SIGNER
from support_nats import NatsServer, eventually, free_port
from yarl import URL

__all__ = ["Answer", "Door", "GrpcBatchDoor", "GrpcStreamDoor", "HttpDoor", "Lab", "cloudevent"]

_ROOT = Path(__file__).parents[3]
_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


def cloudevent(id: str, **members: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": "/door", "type": "order.placed", **members}


@dataclass(frozen=True)
class Answer:
    status: int
    """As HTTP says it; gRPC's code has been compared with it."""
    accepted: int = 0
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    """Index, id and error."""
    detail: str = ""
    retry_after: int = 0


@dataclass
class Lab:
    """One function with what it needs, kept for several tests."""

    nats: NatsServer
    address: str
    process: subprocess.Popen[bytes]
    keys: Mapping[str, str]


class Door(Protocol):
    def serve(self, folder: Path, nats_url: str, **settings: str) -> contextlib.AbstractContextManager[Any]:
        """Yields the function's address and process."""
        ...

    def opened(self, lab: Lab) -> contextlib.AbstractAsyncContextManager[Send]: ...


class Send(Protocol):
    async def __call__(self, *events: Mapping[str, Any], holder: str, tenant: str = "", seconds: float = 20) -> Answer:
        """`holder` names one of the lab's keys, or is one. Raises TimeoutError when the caller's time is over."""
        ...


class HttpDoor:
    @contextlib.contextmanager
    def serve(self, folder: Path, nats_url: str, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        port = free_port()
        env = os.environ | {"EVENTRUNNER_NATS_URL": nats_url, "EVENTRUNNER_GATEWAY_JWKS": JWKS, "TMPDIR": str(folder)}
        command = [
            *(sys.executable, "-m", "eventrunner.local.function_process", "--target=main", "--asgi"),
            *(f"--source={_ROOT}/functions/ingest_http/main.py", "--host=127.0.0.1", f"--port={port}"),
        ]
        with (folder / "ingest-http.log").open("wb") as log:
            process = subprocess.Popen(command, env=env | settings, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()
            process.wait()

    @contextlib.asynccontextmanager
    async def opened(self, lab: Lab) -> AsyncIterator[Send]:
        async with new_session() as upstream, aiohttp.ClientSession() as session:
            gateway = await _gateway(lab, upstream)
            await eventually(lambda: _is_up(session, lab.address), 20)
            url = f"http://127.0.0.1:{gateway.addresses[0][1]}/api/v1/events"

            async def send(*events: Mapping[str, Any], holder: str, tenant: str = "", seconds: float = 20) -> Answer:
                headers = {
                    "Authorization": f"Bearer {lab.keys.get(holder, holder)}",
                    "Content-Type": "application/cloudevents-batch+json",
                }
                query = {"tenant": tenant} if tenant else {}
                async with asyncio.timeout(seconds):
                    async with session.post(url, params=query, data=json.dumps(events), headers=headers) as response:
                        return _of_http(response, await response.json(content_type=None))

            try:
                yield send
            finally:
                await gateway.cleanup()


async def _is_up(session: aiohttp.ClientSession, address: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(f"{address}/healthz") as response:
            return response.status == 200
    return False


def _of_http(response: aiohttp.ClientResponse, document: dict[str, Any]) -> Answer:
    if response.status == 202:
        rejected = [(item["index"], item["id"], item["error"]) for item in document["rejected"]]
        return Answer(202, document["accepted"], rejected)
    assert response.content_type == "application/problem+json"
    assert document["status"] == response.status
    return Answer(response.status, detail=document["detail"], retry_after=int(response.headers.get("Retry-After", "0")))


@dataclass
class _Upstream:
    session: aiohttp.ClientSession
    address: str

    async def send(
        self, service: str, method: str, path_qs: str, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        url = URL(self.address + path_qs, encoded=True)
        return await self.session.request(method, url, headers=headers, data=body, allow_redirects=False)


async def _gateway(lab: Lab, session: aiohttp.ClientSession) -> web.ServerRunner:
    """The local gateway before the function."""
    # A copy: the tests stop NATS, and the keys stay.
    client = await connect(lab.nats.url, name="test")
    records = await Registry(client).items(KEYS)
    await client.close()
    policies = _ROOT / "policies"
    gateway = Gateway(
        load_access_rules(policies / "access-rules.yaml"),
        Authorizer(Authenticator(records.get), Policy.from_folder(policies)),
        _Upstream(session, lab.address),
        signer=SIGNER,
        max_body_bytes=8 * 2**20,
        max_held_bytes=64 * 2**20,
    )
    runner = gateway.runner()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


class _GrpcDoor:
    @contextlib.contextmanager
    def serve(self, folder: Path, nats_url: str, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        with grpc_ingest(folder, nats_url, **settings) as server:
            yield server.address, server.process

    @contextlib.asynccontextmanager
    async def opened(self, lab: Lab) -> AsyncIterator[Send]:
        async with grpc.aio.insecure_channel(lab.address) as channel:

            async def send(*events: Mapping[str, Any], holder: str, tenant: str = "", seconds: float = 20) -> Answer:
                metadata = {"tenant": tenant} if tenant else {}
                client = GrpcClient(channel, lab.keys.get(holder, holder), metadata, seconds)
                return await _answered(lambda: self._call(client, [_protobuf(event) for event in events]))

            yield send

    async def _call(self, client: GrpcClient, events: Sequence[cloudevents_pb2.CloudEvent]) -> Answer:
        raise NotImplementedError


class GrpcBatchDoor(_GrpcDoor):
    async def _call(self, client: GrpcClient, events: Sequence[cloudevents_pb2.CloudEvent]) -> Answer:
        answer = await client.batch(*events)
        return Answer(202, answer.accepted, _rejections(answer.rejected))


class GrpcStreamDoor(_GrpcDoor):
    async def _call(self, client: GrpcClient, events: Sequence[cloudevents_pb2.CloudEvent]) -> Answer:
        async def all_of_them() -> AsyncIterator[cloudevents_pb2.CloudEvent]:
            for event in events:
                yield event

        settled, rejected = 0, list[tuple[int, str, str]]()
        async for answer in client.stream(all_of_them()):
            settled = answer.settled
            rejected += _rejections(answer.rejected)
        return Answer(202, settled - len(rejected), rejected)


def _rejections(rejected: Sequence[ingest_pb2.Rejection]) -> list[tuple[int, str, str]]:
    return [(item.index, item.id, item.error) for item in rejected]


async def _answered(call: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await call()
    except grpc.aio.AioRpcError as error:
        refusal = error
    if refusal.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise TimeoutError from refusal
    return _of_grpc(refusal)


def _of_grpc(error: grpc.aio.AioRpcError) -> Answer:
    detail, trailing = error.details() or "", dict(error.trailing_metadata() or ())
    if "problem" not in trailing:
        # The library itself refuses a message over its limit.
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
        return Answer(413, detail=detail)
    problem = json.loads(trailing["problem"])
    assert (error.code(), detail) == (_CODES[problem["status"]], problem["detail"])
    return Answer(problem["status"], detail=detail, retry_after=int(trailing.get("retry-after", "0")))


def _protobuf(event: Mapping[str, Any]) -> cloudevents_pb2.CloudEvent:
    members = dict(event)
    known = {name: members.pop(name) for name in ("id", "source", "type")}
    message = cloudevents_pb2.CloudEvent(spec_version=members.pop("specversion"), **known)
    if "data" in members:
        message.attributes["datacontenttype"].ce_string = "application/json"
        message.text_data = json.dumps(members.pop("data"))
    for name, value in members.items():
        message.attributes[name].ce_string = value
    return message
