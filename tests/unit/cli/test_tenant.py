"""The command line manages tenants through the real API, as whoever the key says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.access.keys import hash_key
from eventrunner.cli.main import cli
from eventrunner.storage.mirror import Mirror
from support_api import served_api
from support_identity import sign


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Mirror]]:
    with served_api(tmp_path_factory.mktemp("tenant")) as served:
        yield served


@pytest.fixture
def run(served: tuple[str, Mirror], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("EVENTRUNNER_URL", served[0])
    # There is no gateway in between, so the key is the identity that one would sign.
    monkeypatch.setenv("EVENTRUNNER_KEY", sign(Identity("root", "", ("admin",))))
    return lambda *arguments: CliRunner().invoke(cli, ["tenant", *arguments])


def test_a_tenant_gets_a_key_that_the_platform_knows_by_its_hash(run, served):
    assert run("create", "acme", "--name", "Acme").output == "acme is a tenant on plan standard\n"
    text = run("key", "acme").output.strip()
    entry = served[1].entry("keys", hash_key(text))
    assert entry is not None
    assert json.loads(entry[0])["roles"] == ["user", "event_publisher"]


def test_keys_are_listed_and_deleted_by_id(run):
    run("create", "keyed")
    made = json.loads(run("key", "keyed", "--role", "user", "--subject", "bob", "--json").output)
    assert made["id"] in run("key", "keyed", "--list").output
    assert made["key"] not in run("key", "keyed", "--list", "--json").output
    assert run("key", "keyed", "--delete", made["id"]).exit_code == 0
    assert run("key", "keyed", "--list").output == "keyed has no keys\n"


def test_a_key_is_rotated(run, served):
    run("create", "rotated")
    made = json.loads(run("key", "rotated", "--subject", "bob", "--json").output)
    text = run("key", "rotated", "--rotate", made["id"], "--grace", "60").output.strip()
    assert served[1].entry("keys", hash_key(text)) is not None
    listed = {key["id"]: key for key in json.loads(run("key", "rotated", "--list", "--json").output)}
    assert listed.pop(made["id"])["expires"]
    assert [key["subject"] for key in listed.values()] == ["bob"]
    run("key", "rotated", "--rotate", made["id"], "--grace", "0")
    assert made["id"] not in run("key", "rotated", "--list").output


@pytest.mark.parametrize("options", [("--list", "--rotate", "x"), ("--grace", "5")])
def test_options_of_keys_that_do_not_go_together_are_wrong_use(run, options):
    assert run("key", "acme", *options).exit_code == 2


def test_a_quota_is_set_changed_and_taken_away(run):
    run("create", "limited")
    assert run("quota", "limited").output == "no limit\n"
    run("quota", "limited", "--events-per-second", "5", "--bytes-per-second", "1000")
    changed = json.loads(run("quota", "limited", "--burst", "4", "--json").output)
    assert changed == {"events_per_second": 5, "bytes_per_second": 1000, "burst": 4.0}
    assert run("quota", "limited", "--none").output == "no limit\n"


def test_a_file_says_what_the_tenant_is(run, tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "tenants.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    file = tmp_path / "acme.yaml"
    file.write_text(example)
    made = json.loads(run("create", "filed", "--file", str(file), "--name", "Other", "--json").output)
    assert made["name"] == "Other"
    assert made["quota"]["events_per_second"] == 5000
    assert [adapter["name"] for adapter in made["adapters"]] == ["orders", "gitlab"]
    assert [route["name"] for route in made["routes"]] == ["pings", "orders", "others"]


def test_what_is_wrong_in_the_file_is_told_by_its_place(run, tmp_path):
    file = tmp_path / "tenant.yaml"
    file.write_text("adapters: [{name: a, type: t, source: /s}, {name: b}]")
    assert "adapters[1]" in str(run("create", "filed", "--file", str(file)).exception)
    file.write_text("adaptors: []")
    assert "adaptors" in str(run("create", "filed", "--file", str(file)).exception)


@pytest.mark.parametrize("text", ["a: [", "- a list", "just text", "\x00"])
def test_a_file_that_is_no_yaml_mapping_is_wrong_use(run, tmp_path, text):
    file = tmp_path / "tenant.yaml"
    file.write_text(text)
    result = run("create", "filed", "--file", str(file))
    assert (result.exit_code, "--file" in result.output) == (2, True)


def test_what_the_api_refuses_is_told(run):
    result = run("create", "acme", "--plan", "golden")
    assert "golden" in str(result.exception)
    run("create", "half")
    assert "bytes_per_second" in str(run("quota", "half", "--events-per-second", "5").exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "acme", "--role", "root"),
        ("key", "acme", "--list", "--delete", "x"),
        ("quota", "acme", "--none", "--burst", "1"),
    ],
)
def test_wrong_use_exits_2(run, arguments):
    assert run(*arguments).exit_code == 2
