"""What schemathesis checks beside its own: what fits the schema is refused only for what no schema can say."""

from __future__ import annotations

import re
from typing import Any, Final

import schemathesis
from eventrunner.billing.consumer_limits import OverPlan
from eventrunner.wasm.signing import SecretKey, sign
from hypothesis import strategies as st

__all__ = ["a_stream_begins_at_once", "refused_for_a_reason"]

# Fields by call: the order of two times, a cursor from nowhere, what must be there or be alike, texts with a grammar.
_TIMES: Final = "from|to"
BEYOND_SCHEMA: Final = {
    "consumers-list": "cursor",
    "consumers-logs": "since|limit|follow",
    "consumers-put": "body|imports.*|exports",
    "signing-keys-list": "cursor",
    "signing-keys-create": "public_key",
    "events-publish": ".*",
    "events-list": rf"cursor|type|{_TIMES}|order|limit",
    "dead-letters-list": "cursor",
    "dead-letters-replay-all": "cursor",
    "dead-letters-delete-all": "cursor|all",
    "replays-list": "cursor",
    "rules-list": "cursor",
    "invoices-list": "cursor",
    "keys-list": "cursor",
    "audit-list": "cursor",
    "keys-rotate": "Idempotency-Key",
    "keys-create": "Idempotency-Key",
    "replays-create": rf"Idempotency-Key|{_TIMES}|filters.*|target.*",
    "rules-put": ".*",
    "rules-dry-run": rf"{_TIMES}|cursor|events.*|text|tenant|.*:\d+:\d+",
    "rules-explain": r"event.*|text|.*:\d+:\d+",
    "rules-explain-all": "event.*",
    "tenants-put": "id|plan|adapters.*|routes.*|",
    "tenants-delete": "confirm",
    "plans-put": r"name|charges\[\d+\]\.tiers.*|consumers\.defaults\..*",
    "usage-get": f"{_TIMES}|tz|window",
    "billing-close": "period",
    "analytics-rebuild": "tenant|cursor",
}

# JSON Schema calls 2.0 an integer; we want it written without a point.
_WHOLE: Final = re.compile(r'^Expected `int[^`]*`, got `float`|^write "[0-9]+\.0" as a string$')


# A module and a component that may be stored, where the key that has signed them is registered.
SIGNER: Final = SecretKey(bytes(range(32)))
_UNSIGNED: Final = (
    b"\0asm\x01\0\0\0\x01\x04\x01`\0\0\x03\x02\x01\0\x07\x10\x01\x0c__guest_call\0\0\n\x04\x01\x02\0\x0b",
    b"\0asm\x0d\0\x01\0\x0b\x27\x01\0\x21wasmcloud:messaging/handler@0.2.0\x05\0\0",
)
schemathesis.openapi.media_type("application/wasm", st.sampled_from([sign(code, SIGNER) for code in _UNSIGNED]))


@schemathesis.check
def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> None:
    if response.status_code not in (400, 413, 415, 422) or not _fits(case):
        return
    allowed = BEYOND_SCHEMA.get(case.operation.definition.raw["operationId"])
    problem = response.json()
    errors = problem.get("errors", [])
    # What a tenant's plan allows is no part of the description.
    over_plan = problem["type"] == f"urn:eventrunner:error:{OverPlan.code}"
    if over_plan or (errors and all(_WHOLE.search(item["message"]) for item in errors)):
        return
    fields = [item["field"] for item in errors]
    reasons = [field for field in fields if allowed is not None and re.fullmatch(allowed, field)]
    if response.status_code != 422 or allowed is None or (fields and not reasons):
        raise AssertionError(f"it fits the schema, yet is refused for {fields or response.text}")


def _fits(case: Any) -> bool:
    """Whether schemathesis made it to fit. Its coverage phase also sends numbers in headers that are texts with a
    pattern, in cases that it calls positive."""
    meta = case.meta
    if meta is None or not all(item.mode.is_positive for item in (meta.generation, *meta.components.values())):
        return False
    headers = next((value for place, value in meta.raw_containers.items() if place.value == "header"), None) or {}
    return all(isinstance(value, str) for value in headers.values())


@schemathesis.check
def a_stream_begins_at_once(ctx: Any, response: Any, case: Any) -> None:
    is_stream = case.operation.definition.raw["operationId"] == "events-stream"
    if is_stream and response.status_code == 200 and not response.content.startswith(b"retry: "):
        raise AssertionError(f"no beginning of a stream: {response.content[:100]!r}")
