"""A Knative Broker on one machine: `POST /<namespace>/<name>` with a CloudEvent.

Follows the ingress part of Knative's data plane contract (https://knative.dev/docs/eventing/#data-plane): binary or
structured mode, 202 for an event that is taken, 404 for a broker that does not exist. It has no store of its own, so
202 is answered only after every subscriber whose Trigger matches has accepted the event; 503 means that one did not
within its retries, and a sender that tries again may hand an event to the others twice. What subscribers reply is
not sent on.

Producers behind a Broker belong to the platform: the event says with `tenantid` whose it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web

from eventrunner.access.identity import Identity, Signer
from eventrunner.errors import EventRunnerError, InvalidInput, NotFound, Unavailable, UnsupportedMedia
from eventrunner.events import Event, decode_event, encode_event
from eventrunner.events.binary import STRUCTURED_TYPE, is_binary, read_binary
from eventrunner.http_body import read_body
from eventrunner.http_server import Server, problem_response
from eventrunner.local.activator import Activator
from eventrunner.local.ports import HOST
from eventrunner.local.triggers import Broker, DeliverySpec, Trigger

__all__ = ["BrokerEndpoint"]

_log = logging.getLogger(__name__)
_IDENTITY: Final = Identity("broker", "", ("admin", "event_publisher"))
_RETRYABLE: Final = frozenset({404, 408, 409, 425, 429}) | frozenset(range(500, 600))
"""https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md#event-acknowledgement-and-delivery-retry"""


class BrokerEndpoint:
    def __init__(
        self,
        brokers: Iterable[Broker],
        triggers: Iterable[Trigger],
        activator: Activator,
        *,
        signer: Signer,
        max_body_bytes: int,
    ) -> None:
        self._brokers = {f"/{broker.namespace}/{broker.name}": broker for broker in brokers}
        self._triggers = tuple(triggers)
        self._activator = activator
        self._signer = signer
        self._max_body_bytes = max_body_bytes
        self._runner: web.ServerRunner | None = None

    async def start(self) -> str:
        """The URL below which the brokers are."""
        server = Server(self._handle, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=5)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        return f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            broker = self._brokers.get(request.path)
            if broker is None:
                raise NotFound(f"There is no Broker at {request.path}.")
            if request.method != "POST":
                return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
            event = _read_event(request.headers, await read_body(request, self._max_body_bytes))
            await self._deliver(broker, event)
        except EventRunnerError as error:
            return problem_response(error)
        return web.Response(status=HTTPStatus.ACCEPTED)

    async def _deliver(self, broker: Broker, event: Event) -> None:
        attributes = _attributes(event)
        body = encode_event(event)
        wanted = [
            trigger
            for trigger in self._triggers
            if (trigger.namespace, trigger.broker) == (broker.namespace, broker.name) and trigger.matches(attributes)
        ]
        await asyncio.gather(*(self._send(trigger, trigger.delivery or broker.delivery, body) for trigger in wanted))

    async def _send(self, trigger: Trigger, delivery: DeliverySpec, body: bytes) -> None:
        """Raises InvalidInput when the subscriber refuses the event, Unavailable when no try succeeds."""
        for attempt in range(delivery.retry + 1):
            status, text = await self._try(trigger, delivery, body)
            if status < 300:
                return
            if status not in _RETRYABLE:
                raise InvalidInput(f"{trigger.subscriber} refuses the event: {status} {text}")
            _log.warning("trigger %s, try %d: %s answered %d", trigger.name, attempt + 1, trigger.subscriber, status)
            if attempt < delivery.retry:
                await asyncio.sleep(delivery.wait(attempt))
        raise Unavailable(f"{trigger.subscriber} did not take the event; try again.")

    async def _try(self, trigger: Trigger, delivery: DeliverySpec, body: bytes) -> tuple[int, str]:
        headers = {"Content-Type": STRUCTURED_TYPE, "Authorization": f"Bearer {self._signer.sign(_IDENTITY)}"}
        try:
            async with asyncio.timeout(delivery.timeout):
                answer = await self._activator.send(trigger.subscriber, "POST", trigger.path, headers, body)
                async with answer:
                    return answer.status, (await answer.text(errors="replace"))[:500]
        except (EventRunnerError, aiohttp.ClientError, TimeoutError, OSError) as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, str(error)


def _read_event(headers: Mapping[str, str], body: bytes) -> Event:
    """Raises UnsupportedMedia or InvalidInput for anything but one CloudEvent."""
    media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media == STRUCTURED_TYPE:
        return decode_event(body)
    if is_binary(headers.keys()):
        return read_binary(headers, body)
    raise UnsupportedMedia("Send one CloudEvent in binary or structured mode.")


def _attributes(event: Event) -> dict[str, str]:
    """Names and values as a Trigger's filter sees them."""
    named = ("id", "source", "type", "specversion", "tenantid", "subject", "time", "datacontenttype", "dataschema")
    attributes = {name: value for name in named if (value := getattr(event, name))}
    return attributes | {name: str(value) for name, value in (event.extensions or {}).items()}
