"""`eventrunner consumer` over a real API, registry and object store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import (
    CONSUMER_STATUS,
    CONSUMERS,
    Consumer,
    ConsumerStatus,
    SkippedMessages,
    Tenant,
    skipped_key,
)
from eventrunner.storage.registry import Change
from support_api import served_api
from support_identity import sign
from support_wasm import register_key, signed_component


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    with served_api(tmp_path_factory.mktemp("api")) as (url, registry), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_URL", url)
        patch.setenv("EVENTRUNNER_KEY", sign(Identity("root", "", ("admin",))))
        registry.put("tenants", "acme", Tenant("acme").to_json())
        register_key(registry, "acme")
        follower = Mirror(os.environ["EVENTRUNNER_NATS_URL"], (CONSUMERS,))
        follower.on_change(lambda change: _taken_up(follower, change))
        follower.start()
        yield registry
        follower.close()


@pytest.fixture
def run(platform: Mirror) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(cli, ["consumer", *arguments])


def _taken_up(registry: Mirror, change: Change) -> None:
    """What runs consumers would say of some."""
    if change.value is None:
        return
    record = Consumer.from_json(change.value)
    if record.name in ("good", "bad"):
        state, replicas, detail = ("ready", 1, "") if record.name == "good" else ("failed", 0, "it does not compile")
        status = ConsumerStatus(state, replicas, detail, record.updated, record.updated)  # type: ignore[arg-type]
        registry.put_later(CONSUMER_STATUS, change.key, status.to_json())


@pytest.fixture
def wasm(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.wasm"
    path.write_bytes(signed_component("wasi:random/random@0.2.0", filling=3_000_000))
    return path


def test_a_consumer_is_deployed_shown_listed_and_removed(run: Callable[..., Result], wasm: Path) -> None:
    settings = ("--type", "order.*", "--type", "refund", "--fuel", "5000", "--instance", "reuse")
    deployed = run("deploy", "acme/alerts", str(wasm), "--wait", "0", *settings)
    assert (deployed.exit_code, deployed.exception) == (0, None)
    assert deployed.output.startswith("acme/alerts is stored: component of 3")
    assert "stored: Its WebAssembly is checked and stored, and nothing has taken it up yet." in deployed.output
    shown = run("show", "acme/alerts").output
    assert "order.*, refund" in shown
    assert "wasi:random/random@0.2.0" in shown
    assert "\n  instance       reuse\n" in shown
    document = json.loads(run("show", "acme/alerts", "--json").output)
    assert (document["limits"]["fuel"], document["limits"]["publishes"]) == (5000, 100)
    listed = run("list", "acme").output
    assert listed.startswith(f"alerts  component of {wasm.stat().st_size} bytes, stored, 0 replicas, ")
    assert run("remove", "acme/alerts").output == "acme/alerts is removed\n"
    assert run("list", "acme").output == "acme has no consumers\n"


def test_what_was_skipped_is_shown_with_its_time(platform: Mirror, run: Callable[..., Result], wasm: Path) -> None:
    assert run("deploy", "acme/slow", str(wasm), "--wait", "0").exit_code == 0
    assert "    skipped        none\n" in run("show", "acme/slow").output
    skipped = SkippedMessages(3, "2026-01-31T12:00:00Z", "2026-01-31T12:05:00Z")
    platform.put(CONSUMER_STATUS, skipped_key("acme", "slow"), skipped.to_json())
    told = "3 messages, 2026-01-31T12:00:00Z to 2026-01-31T12:05:00Z"
    assert f"    skipped        {told}\n" in run("show", "acme/slow").output
    assert run("remove", "acme/slow").exit_code == 0


def test_limits_that_are_not_given_come_from_the_plan(platform: Mirror, run: Callable[..., Result], wasm: Path) -> None:
    plan = {"name": "small", "charges": [], "consumers": {"ceilings": {"fuel": 70}, "defaults": {"publishes": 3}}}
    platform.put("plans", "small", json.dumps(plan).encode())
    platform.put("tenants", "tiny", Tenant("tiny", plan="small").to_json())
    register_key(platform, "tiny")
    assert run("deploy", "tiny/alerts", str(wasm), "--wait", "0").exit_code == 0
    limits = json.loads(run("show", "tiny/alerts", "--json").output)["limits"]
    assert (limits["fuel"], limits["publishes"], limits["milliseconds"]) == (70, 3, 1000)
    assert "fuel           70\n" in run("show", "tiny/alerts").output
    refused = str(run("deploy", "tiny/alerts", str(wasm), "--wait", "0", "--fuel", "71").exception)
    assert refused.startswith("The plan small allows fuel of at most 70. Ask for no more")
    assert refused.count("at most 70") == 1


def test_the_help_says_where_limits_come_from(run: Callable[..., Result]) -> None:
    shown = " ".join(run("deploy", "--help").output.split())
    assert shown.count("[default: (the plan's); 1<=x<=") == 6
    assert "--publishes INTEGER RANGE Limit of one call. [default: 100; 1<=x<=10000]" in " ".join(
        run("run", "--help").output.split()
    )


def test_deploying_waits_until_it_is_known_whether_it_runs(run: Callable[..., Result], wasm: Path) -> None:
    good = run("deploy", "acme/good", str(wasm))
    assert (good.exit_code, good.output.endswith("\nready: a process of it starts when events come\n")) == (0, True)
    bad = run("deploy", "acme/bad", str(wasm))
    assert (bad.exit_code, bad.output.endswith("\nfailed: it does not compile\n")) == (1, True)
    lines = run("list", "acme").output.splitlines()
    assert ["failed, 0 replicas" in lines[0], lines[0].endswith(": it does not compile")] == [True, True]
    assert "ready, 1 replica, " in lines[1]


def test_wrong_use_exits_with_2(run: Callable[..., Result], wasm: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wasm").write_text("(module)")
    wrong = run("deploy", "acme/alerts", str(tmp_path / "text.wasm"))
    assert (wrong.exit_code, "begins with 28 6d" in wrong.output) == (2, True)
    assert run("deploy", "acme", str(wasm)).exit_code == 2
    assert run("deploy", "acme/alerts", str(wasm), "--fuel", "0").exit_code == 2


def test_what_the_api_refuses_is_said(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "evil.wasm").write_bytes(signed_component("wasi:sockets/tcp@0.2.0"))
    problem = str(run("deploy", "acme/evil", str(tmp_path / "evil.wasm"), "--type", "order").exception)
    assert problem.startswith("The component imports what a consumer may not import: wasi:sockets/tcp@0.2.0. Build it")
    assert problem.splitlines()[0].endswith(" (PUT /api/v1/consumers/acme/evil: 422)")
    assert "fuel" not in problem
