"""`eventrunner consumer` over a real API, registry and object store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from eventrunner.storage.records import Tenant
from support_api import served_api
from support_identity import sign
from support_wasm import register_key, signed_component


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Result]]:
    with served_api(tmp_path_factory.mktemp("api")) as (url, registry), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_URL", url)
        patch.setenv("EVENTRUNNER_KEY", sign(Identity("root", "", ("admin",))))
        registry.put("tenants", "acme", Tenant("acme").to_json())
        register_key(registry, "acme")
        yield lambda *arguments: CliRunner().invoke(cli, ["consumer", *arguments])


@pytest.fixture
def wasm(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.wasm"
    path.write_bytes(signed_component("wasi:random/random@0.2.0", filling=3_000_000))
    return path


def test_a_consumer_is_deployed_shown_listed_and_removed(run: Callable[..., Result], wasm: Path) -> None:
    deployed = run("deploy", "acme/alerts", str(wasm), "--type", "order.*", "--type", "refund", "--fuel", "5000")
    assert (deployed.exit_code, deployed.exception) == (0, None)
    assert deployed.output.startswith("acme/alerts is stored: component of 3")
    assert "does not run consumers" in deployed.output
    shown = run("show", "acme/alerts").output
    assert "order.*, refund" in shown
    assert "wasi:random/random@0.2.0" in shown
    document = json.loads(run("show", "acme/alerts", "--json").output)
    assert (document["limits"]["fuel"], document["limits"]["publishes"]) == (5000, 100)
    assert run("list", "acme").output == f"alerts  component of {wasm.stat().st_size} bytes, stored, 0 replicas\n"
    assert "does not run them" in str(run("logs", "acme/alerts").exception)
    assert run("remove", "acme/alerts").output == "acme/alerts is removed\n"
    assert run("list", "acme").output == "acme has no consumers\n"


def test_wrong_use_exits_with_2(run: Callable[..., Result], wasm: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wasm").write_text("(module)")
    wrong = run("deploy", "acme/alerts", str(tmp_path / "text.wasm"))
    assert (wrong.exit_code, "begins with 28 6d" in wrong.output) == (2, True)
    assert run("deploy", "acme", str(wasm)).exit_code == 2
    assert run("deploy", "acme/alerts", str(wasm), "--fuel", "0").exit_code == 2


def test_what_the_api_refuses_is_said(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "evil.wasm").write_bytes(signed_component("wasi:sockets/tcp@0.2.0"))
    assert "wasi:sockets/tcp@0.2.0" in str(run("deploy", "acme/evil", str(tmp_path / "evil.wasm")).exception)
