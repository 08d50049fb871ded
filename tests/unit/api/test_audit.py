"""Every change is in the audit log, with who made it and between which revisions, and never with a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from eventrunner.access.identity import Identity
from eventrunner.api.tenants import TenantCalls
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi
from nats.aio.client import Client
from support_api import ROOT, api_function
from support_nats import eventually

from tests.unit.api.test_api import ALICE, BOB, CHARGES, RULE, Caller


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
        caller = Caller(app.test_client(), registry)
        caller("PUT", "tenants/acme", {})
        caller("PUT", "tenants/globex", {})
        yield caller


def entries(call: Caller, tenant: str = "acme") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call.json("GET", f"audit/{tenant}?limit=1000")["entries"]
    return found


def test_a_change_is_written_down_with_its_revisions(call: Caller) -> None:
    first = call("PUT", "rules/acme/one", RULE, who=ALICE).headers["ETag"].strip('"')
    second = call("PUT", "rules/acme/one", RULE + "\n", who=ALICE).headers["ETag"].strip('"')
    made, changed = entries(call)[-2:]
    assert made["writes"] == [{"bucket": "rules", "before": None, "after": int(first)}]
    assert changed["writes"] == [{"bucket": "rules", "before": int(first), "after": int(second)}]
    assert (changed["subject"], changed["caller_tenant"], changed["roles"]) == ("alice", "acme", ["user"])
    assert (changed["call"], changed["thing"]) == ("PUT /api/v1/rules/{tenant}/{name}", "/api/v1/rules/acme/one")
    assert (made["status"], changed["status"]) == (201, 201)


def test_a_caller_cannot_make_an_entry_long(call: Caller) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    call("PUT", "rules/acme/one", RULE, headers={"traceparent": trace})
    assert entries(call)[-1]["request"] == trace
    call("PUT", "rules/acme/one", RULE + "\n", headers={"traceparent": "00-" + "a" * 5000})
    assert not entries(call)[-1].get("request")


def test_the_longest_entry_fits_into_the_log(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    call("PUT", "tenants/initech", {})
    made = call.json("POST", "tenants/initech/keys", {}, status=201)["id"]

    def write_much(self: TenantCalls, *_: object) -> None:
        for number in range(50):
            self._backend.registry.put("plans", f"p{number}", b"{}")

    monkeypatch.setattr(TenantCalls, "_retire", write_much)
    wide, name = "\x01" * 257, "\x01" * 65
    who = Identity(wide, name, ("admin", *(f"{number}{name}" for number in range(4))))
    call.json("POST", f"tenants/initech/keys/{made}/rotate", {}, status=201, who=who)
    last = entries(call, "initech")[-1]
    assert (len(last["writes"]), last["more_writes"]) == (30, 21)
    # A path may be as wide as a subject.
    assert len(json.dumps(last)) + 256 * len("\\u0001") < 8192


def test_one_tenant_pushes_out_entries_of_its_own_only(call: Caller) -> None:
    before = entries(call, "_platform") + entries(call, "globex")
    most = 20_000

    async def fill(client: Client) -> int:
        for _ in range(most + 10):
            await client.publish("audit.greedy", b"{" + b" " * 4000 + b"}")
        await client.flush(60)
        api = JetStreamApi(client)
        await eventually(lambda: _has(api, most), 60)
        return int((await api.request("STREAM.INFO.AUDIT"))["state"]["bytes"])

    assert call.registry.run(fill, 150) > 64 * 2**20
    assert entries(call, "_platform") + entries(call, "globex") == before
    call.registry.purge_subject("AUDIT", "audit.greedy")


async def _has(api: JetStreamApi, count: int) -> bool:
    """Whether all have come, of which so many are left."""
    state = (await api.request("STREAM.INFO.AUDIT", {"subjects_filter": "audit.greedy"}))["state"]
    return state.get("subjects", {}).get("audit.greedy") == count and state["last_seq"] > count + 10


def test_what_was_refused_or_only_read_is_not_there(call: Caller) -> None:
    before = entries(call)
    call("PUT", "rules/acme/one", "no rule")
    call("PUT", "rules/acme/one", RULE, who=BOB)
    call("GET", "rules/acme/one")
    call("POST", "rules/acme/one/dry-run", {"events": []})
    assert entries(call) == before


def test_no_secret_is_there(call: Caller) -> None:
    made = call.json("POST", "tenants/acme/keys", {}, status=201, headers={"Idempotency-Key": "secret-1"})
    shown = str(entries(call)[-1])
    assert "keys" in shown
    assert made["key"] not in shown
    assert "secret-1" not in shown


def test_what_belongs_to_no_tenant_is_the_platforms(call: Caller) -> None:
    call("PUT", "plans/cheap", {"charges": CHARGES})
    assert entries(call, "_platform")[-1]["thing"] == "/api/v1/plans/cheap"
    call.problem(403, "GET", "audit/_platform", who=ALICE)


def test_a_user_sees_its_own_tenants_only(call: Caller) -> None:
    assert call("GET", "audit/acme", who=ALICE).status_code == 200
    call.problem(403, "GET", "audit/acme", who=BOB)
    assert {item["thing"] for item in entries(call, "globex")} == {"/api/v1/tenants/globex"}


def test_pages_join_to_the_whole_and_times_cut_it(call: Caller) -> None:
    whole = entries(call)
    assert len(whole) >= 3
    found, query = [], "?limit=1"
    while query:
        page = call.json("GET", "audit/acme" + query)
        found += page["entries"]
        query = page["next"] and f"?limit=1&cursor={page['next']}"
    assert found == whole
    assert call.json("GET", "audit/acme?from=2000-01-01T00:00:00Z")["entries"] == whole
    assert call.json("GET", "audit/acme?from=2200-01-01T00:00:00Z")["entries"] == []
    assert call.json("GET", "audit/acme?to=2000-01-01T00:00:00Z")["entries"] == []
    for wrong in ("cursor=x", "from=x", "of=1"):
        call.problem(422, "GET", f"audit/acme?{wrong}")


@contextmanager
def without_log(call: Caller) -> Iterator[None]:
    """While the stream is away; its entries are lost."""

    async def remove(client: Client) -> None:
        await client.jetstream().delete_stream("AUDIT")

    async def restore(client: Client) -> None:
        await apply_streams(JetStreamApi(client), read_streams([ROOT / "knative" / "base" / "streams.yaml"]))

    call.registry.run(remove)
    try:
        yield
    finally:
        call.registry.run(restore, 20)


def test_nothing_is_changed_that_cannot_be_written_down(call: Caller) -> None:
    with without_log(call):
        problem = call.problem(503, "PUT", "rules/acme/unseen", RULE, who=ALICE)
        assert "audit log" in problem["detail"]
        call.problem(503, "DELETE", "tenants/acme?confirm=acme")
        assert call("GET", "tenants/acme").status_code == 200
    call.problem(404, "GET", "rules/acme/unseen")
    assert call("PUT", "rules/acme/seen", RULE, who=ALICE).status_code == 201
    assert [item["thing"] for item in entries(call)] == ["/api/v1/rules/acme/seen"]


def test_of_a_change_that_nobody_could_follow_to_its_end_the_beginning_is_there(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise RuntimeError("in the middle of it")

    # What a call does after it has written the new key.
    monkeypatch.setattr(TenantCalls, "_retire", dies)
    key = call.json("POST", "tenants/acme/keys", {}, status=201)["id"]
    call.problem(500, "POST", f"tenants/acme/keys/{key}/rotate", {})
    last = entries(call)[-1]
    assert (last["subject"], last["status"], last["writes"]) == ("root", None, [])
    assert last["thing"] == f"/api/v1/tenants/acme/keys/{key}/rotate"


def test_a_call_leaves_one_entry(call: Caller) -> None:
    before = len(entries(call))
    call("PUT", "rules/acme/once", RULE, who=ALICE)
    assert len(entries(call)) == before + 1
