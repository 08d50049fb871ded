"""What was written is there for the next call, however far the mirror of the registry is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any, TypeAlias

import pytest
from eventrunner.storage.bucket_watch import BucketWatch
from support_api import api_function
from support_wasm import register_key, signed_component

from tests.unit.api.test_api import ALICE, CHARGES, OTHER, RULE, Caller

Held: TypeAlias = list[Callable[[], object]]


@contextmanager
def late() -> Iterator[Held]:
    """No mirror hears anything until the end of the block, or until `hear` is called with what is yielded."""
    held: Held = []
    _late.append(held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eventrunner.storage.mirror._SEEN_TIMEOUT", 0.01)
        yield held
    _late.clear()
    hear(held)


def hear(held: Held) -> None:
    while held:
        held.pop(0)()


_late: list[Held] = []
_receive = BucketWatch._receive


def _receive_or_hold(watch: BucketWatch, message: Any) -> None:
    """What is read for one call, of one tenant or as a whole, comes as always."""
    if not _late or not watch.loaded.is_set():
        _receive(watch, message)
        return
    loop = asyncio.get_running_loop()
    _late[0].append(lambda: loop.call_soon_threadsafe(_receive, watch, message))


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with pytest.MonkeyPatch.context() as patch:
        # Before there is a watch, which keeps what it hears with.
        patch.setattr(BucketWatch, "_receive", _receive_or_hold)
        with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
            caller = Caller(app.test_client(), registry)
            caller("PUT", "tenants/acme", {})
            yield caller


def test_a_tenant_and_its_rules(call: Caller) -> None:
    with late():
        call.json("PUT", "tenants/new", {"name": "New"}, status=201)
        assert call.json("PUT", "tenants/new", {"name": "Newer"})["name"] == "Newer"
        assert call.json("PUT", "rules/new/r", RULE, status=201)["newest"] == 1
        assert call.json("POST", "rules/new/r/activate", {})["active"] == 1
        assert call.json("GET", "rules/new/r")["active"] == 1
        call.json("POST", "rules/new/r/dry-run", {"events": []})
        call.json("POST", "tenants/new/keys", {}, status=201)


def test_a_version_that_a_replay_names(call: Caller) -> None:
    call("PUT", "rules/acme/r", RULE)
    body = {"from": "2026-01-01T00:00:00Z", "target": {"rules": "r", "version": 2}}
    with late():
        call("PUT", "rules/acme/r", OTHER)
        call.json("POST", "replays/acme", body, status=202)
        call("DELETE", "rules/acme/r")
        problem = call.problem(422, "POST", "replays/acme", body)
        assert [item["field"] for item in problem["errors"]] == ["target.rules"]


def test_a_consumer_that_a_replay_names(call: Caller) -> None:
    register_key(call.registry, "acme")
    with late():
        call("PUT", "consumers/acme/c", signed_component(), content_type="application/wasm")
        body = {"from": "2026-01-01T00:00:00Z", "target": {"consumer": "c"}}
        call.json("POST", "replays/acme", body, status=202, who=ALICE)


def test_a_plan_that_a_tenant_gets(call: Caller) -> None:
    with late():
        call.json("PUT", "plans/fresh", {"charges": CHARGES}, status=201)
        assert call.json("GET", "plans/fresh")["name"] == "fresh"
        assert call.json("PUT", "tenants/acme", {"plan": "fresh"})["plan"] == "fresh"


def test_a_key_that_is_deleted_at_once_is_waited_for(call: Caller) -> None:
    with late() as held:
        made = call.json("POST", "tenants/acme/keys", {}, status=201)["id"]
        timer = Timer(0.3, hear, (held,))
        timer.start()
        assert call("DELETE", f"tenants/acme/keys/{made}").status_code == 204
        timer.join()


def test_rule_sets_that_do_not_go_together_are_not_both_put_in_force(call: Caller) -> None:
    call("PUT", "tenants/twice", {})
    for name in ("a", "b"):
        call.json("PUT", f"rules/twice/{name}", RULE, status=201)
    with late():
        call.json("POST", "rules/twice/a/activate", {})
        call.problem(422, "POST", "rules/twice/b/activate", {})
    assert call.json("GET", "rules/twice/b")["active"] == 0
