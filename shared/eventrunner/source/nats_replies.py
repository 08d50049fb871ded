"""What a reply over NATS means. Its words are those with which JetStream's own consumers answer a message:
https://docs.nats.io/using-nats/developer/develop_jetstream/consumers

A WebAssembly component can set no headers, so the body alone has to do; services that can (NATS ADR-32) tell an error
in theirs.
"""

from __future__ import annotations

from http import HTTPStatus

from nats.aio.msg import Msg

from eventrunner.events.binary import BATCH_TYPE
from eventrunner.events.json_format import join_batch
from eventrunner.source.outcomes import Delivered, Failed, Outcome, Refused, Reply

__all__ = ["read_reply"]

_ACK, _NAK, _TERM = b"+ACK", b"-NAK", b"+TERM"
_ERROR, _CODE = "Nats-Service-Error", "Nats-Service-Error-Code"
_MARK = b'"specversion"'
_REASON_BYTES = 1024


def read_reply(reply: Msg) -> Outcome:
    """An empty body and `+ACK` settle the event, and so does a CloudEvent or a JSON batch, which is the result."""
    headers, body = reply.headers or {}, reply.data.strip()
    if _ERROR in headers or _CODE in headers:
        return _service_error(headers.get(_CODE, ""), headers.get(_ERROR, "") or _text(body))
    if not body or body == _ACK:
        return Delivered(None)
    if body.startswith(b"{") and _MARK in body:
        return Delivered(Reply(join_batch([body]), BATCH_TYPE))
    if body.startswith(b"["):
        return Delivered(Reply(body, BATCH_TYPE))
    if body.startswith(_NAK):
        return Failed(_text(body[len(_NAK) :]) or "not handled", HTTPStatus.INTERNAL_SERVER_ERROR)
    if body.startswith(_TERM):
        return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, _text(body[len(_TERM) :]) or "refused")
    return Failed(
        "the reply is neither empty nor +ACK, -NAK, +TERM or a CloudEvent: " + _text(body),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def _service_error(code: str, reason: str) -> Outcome:
    status = int(code) if code.isascii() and code.isdigit() else 0
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Refused(status, reason)
    return Failed(reason or f"error {code}", status or HTTPStatus.INTERNAL_SERVER_ERROR)


def _text(body: bytes) -> str:
    return body[:_REASON_BYTES].decode(errors="replace").strip()
