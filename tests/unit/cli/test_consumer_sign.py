"""Modules are signed and verified on this machine, by keys in files and by those that a tenant has registered."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from eventrunner.storage.records import Tenant
from eventrunner.wasm.signing import PublicKey, SecretKey, TamperedModule, UnknownSigningKey, UnsignedModule
from support_api import served_api
from support_identity import sign as identified
from support_wasm import component


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with served_api(tmp_path_factory.mktemp("api")) as (url, registry), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_URL", url)
        patch.setenv("EVENTRUNNER_KEY", identified(Identity("root", "", ("admin",))))
        registry.put("tenants", "acme", Tenant("acme").to_json())
        yield


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alerts.wasm").write_bytes(component())
    return lambda line: CliRunner().invoke(cli, line.split())


def test_a_pair_of_keys_signs_and_verifies(run: Callable[..., Result]) -> None:
    made = run("consumer keygen")
    key = PublicKey.from_file(Path("consumer-public.key"))
    assert made.output.startswith(f"{key.id}: consumer-secret.key signs")
    assert SecretKey.from_file(Path("consumer-secret.key")).public == key
    assert stat.S_IMODE(Path("consumer-secret.key").stat().st_mode) == 0o600
    signed = run("consumer sign alerts.wasm --key consumer-secret.key")
    assert signed.output == f"alerts.signed.wasm is signed by the key {key.id}\n"
    verified = run("consumer verify alerts.signed.wasm --key consumer-public.key --json")
    assert json.loads(verified.output) == {"file": "alerts.signed.wasm", "signed_by": key.id}


def test_a_detached_signature_is_one_file_more(run: Callable[..., Result]) -> None:
    run("consumer keygen")
    assert run("consumer sign alerts.wasm --key consumer-secret.key --detached").exit_code == 0
    assert Path("alerts.wasm").read_bytes() == component()
    done = run("consumer verify alerts.wasm --signature alerts.sig --key consumer-public.key")
    assert "is signed, as a whole" in done.output


def test_what_is_not_signed_so_is_said(run: Callable[..., Result]) -> None:
    run("consumer keygen")
    run("consumer keygen --secret other --public other.pub")
    run("consumer sign alerts.wasm --key other -o signed.wasm")
    verify = "consumer verify {} --key consumer-public.key"
    assert isinstance(run(verify.format("alerts.wasm")).exception, UnsignedModule)
    assert isinstance(run(verify.format("signed.wasm")).exception, UnknownSigningKey)
    assert run(verify.format("signed.wasm") + " --key other.pub").exit_code == 0
    changed = Path("signed.wasm").read_bytes()
    Path("signed.wasm").write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))
    assert isinstance(run(verify.format("signed.wasm")).exception, TamperedModule)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("consumer verify alerts.wasm", "--key FILE or --tenant"),
        ("consumer verify alerts.wasm --key alerts.wasm", "is not an Ed25519 public key"),
        ("consumer verify alerts.wasm --key consumer-secret.key", "keep it to yourself"),
        ("consumer verify alerts.wasm --key nothing", "No such file"),
        ("consumer sign alerts.wasm --key consumer-public.key", "is not an Ed25519 secret key"),
        ("consumer sign text --key consumer-secret.key", "begins with"),
        ("consumer sign text --key consumer-secret.key --detached", "begins with"),
        ("consumer sign alerts.wasm --key consumer-secret.key -o no/folder", "cannot be written"),
        ("consumer keygen", "is there already"),
        ("consumer keygen --secret new.key", "is there already"),
        ("tenant signing-key add acme consumer-secret.key", "keep it to yourself"),
    ],
)
def test_wrong_use_exits_with_2_and_says_why(run: Callable[..., Result], line: str, said: str) -> None:
    run("consumer keygen")
    Path("text").write_text("hello")
    wrong = run(line)
    assert (wrong.exit_code, said in wrong.output) == (2, True), wrong.output
    assert not Path("new.key").exists()


def test_a_registered_key_lets_a_consumer_in_until_it_is_revoked(platform: None, run: Callable[..., Result]) -> None:
    made = json.loads(run("consumer keygen --json").output)["id"]
    # Nothing runs it here, so there is nothing to wait for.
    deploy = "consumer deploy --wait 0 acme/alerts"
    assert "is not signed" in str(run(f"{deploy} alerts.wasm").exception)
    refused = str(run(f"{deploy} alerts.wasm --sign-key consumer-secret.key").exception)
    assert "eventrunner tenant signing-key add acme" in refused
    added = run("tenant signing-key add acme consumer-public.key --name ci")
    assert added.output == f"{made} may sign consumers of acme\n"
    listed = run("tenant signing-key list acme").output
    assert listed.startswith(made)
    assert listed.endswith("ci\n")
    assert json.loads(run("tenant signing-key list acme --json").output)["signing_keys"][0]["module_key_id"] in refused
    run("consumer sign alerts.wasm --key consumer-secret.key")
    assert made in run("consumer verify alerts.signed.wasm --tenant acme").output
    assert run(f"{deploy} alerts.wasm --sign-key consumer-secret.key").exit_code == 0
    assert run(f"{deploy} alerts.signed.wasm").exit_code == 0
    assert f"signed by      {made}" in run("consumer show acme/alerts").output
    assert "is revoked" in run(f"tenant signing-key remove acme {made}").output
    assert run("tenant signing-key list acme").output == "acme has no signing keys\n"
    assert isinstance(run("consumer verify alerts.signed.wasm --tenant acme").exception, UnknownSigningKey)
    assert "has registered no key" in str(run(f"{deploy} alerts.signed.wasm").exception)
