"""The commands on rule sets, against the API over a real registry and event store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.rules import command
from eventrunner.events import Event, encode_event
from eventrunner.events.event import micros
from eventrunner.storage.event_store import Row
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import Tenant
from eventrunner.storage.stores import open_store
from support_api import served_api
from support_identity import sign

BIG = 'rule Big {{ when Event.data.amount > {} then Out.n = 1; Emit("alert"); Retract("Big"); }}'
EVENT = {"specversion": "1.0", "id": "7", "source": "/s", "type": "order", "data": {"amount": 95}}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    folder = tmp_path_factory.mktemp("api")
    store = open_store(f"sqlite:///{folder}/events.db")
    store.migrate()
    store.put([row(number) for number in range(100)])
    store.close()
    with served_api(folder) as (url, registry), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_URL", url)
        patch.setenv("EVENTRUNNER_KEY", sign(Identity("root", "", ("admin",))))
        registry.put("tenants", "acme", Tenant("acme", plan="gold").to_json())
        yield registry


def row(number: int) -> Row:
    time = f"2026-01-01T00:00:{number % 60:02}Z"
    event = Event(id=f"e{number}", source="/s", type="order", tenantid="acme", time=time, receivedtime=time)
    event.set_payload(b'{"amount":%d}' % number, None)
    return Row("acme", "/s", event.id, event.type, micros(time), micros(time), encode_event(event))


@pytest.fixture(autouse=True)
def _no_rules(registry: Mirror) -> None:
    for key in registry.items("rules"):
        registry.delete("rules", key)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "big.grl"
    path.write_text(BIG.format(90))
    return path


@pytest.fixture
def event(tmp_path: Path) -> Path:
    path = tmp_path / "event.json"
    path.write_text(json.dumps(EVENT))
    return path


def invoke(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def as_json(*arguments: object) -> Any:
    return json.loads(invoke(*arguments, "--json").stdout)


class TestVersions:
    def test_a_set_is_put_activated_rolled_back_and_taken_out_of_force(self, rules: Path) -> None:
        assert invoke("put", "acme/big", rules).stdout == "acme/big has version 1; none is in force\n"
        rules.write_text(BIG.format(50))
        assert invoke("put", "acme/big", rules).stdout == "acme/big has version 2; none is in force\n"
        assert invoke("activate", "acme/big").stdout == "acme/big: version 2 is in force\n"
        assert invoke("activate", "acme/big", "--version", 1).stdout == "acme/big: version 1 is in force\n"
        assert invoke("list", "acme").stdout == "big  newest version 2, version 1 is in force\n"
        assert [line[:6] for line in invoke("list", "acme/big").stdout.splitlines()[1:]] == ["*    1", "     2"]
        assert invoke("deactivate", "acme/big").stdout == "acme/big: none is in force\n"
        assert as_json("list", "acme")["rules"][0]["active"] == 0

    def test_a_set_may_be_put_in_force_at_once_and_json_rules_become_grl(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text('{"name": "A", "when": "true", "then": ["Complete()"]}')
        assert as_json("put", "acme/a", path, "--activate")["active"] == 1
        assert as_json("list", "acme/a")["text"].startswith("rule A")

    def test_the_platform_has_sets_of_its_own(self, rules: Path) -> None:
        invoke("put", "_platform/big", rules, "--activate")
        assert invoke("list", "_platform").stdout == "big  newest version 1, version 1 is in force\n"
        assert invoke("list", "acme").stdout == "acme has no rule sets\n"

    def test_a_file_with_errors_is_shown_as_check_shows_it_and_nothing_is_stored(self, rules: Path) -> None:
        rules.write_text("rule A { when Event.type = 1 then Complete(); }")
        shown = invoke("put", "acme/big", rules, status=1).stderr
        assert shown == invoke("check", rules, status=1).stderr
        assert f"{rules}:1:26: expected 'then', found '='" in shown
        assert json.loads(invoke("put", "acme/big", rules, "--json", status=1).stdout)["problems"][0]["column"] == 26
        assert invoke("list", "acme").stdout == "acme has no rule sets\n"

    @pytest.mark.parametrize("name", ["acme", "acme/", "/x", "a/b/c"])
    def test_a_name_that_is_no_rule_sets_is_wrong_use(self, name: str, rules: Path) -> None:
        assert "TENANT/NAME" in invoke("put", name, rules, status=2).stderr

    def test_a_set_or_version_that_is_not_there_is_said_with_those_that_are(self, rules: Path) -> None:
        invoke("put", "acme/big", rules)
        assert "has no rule set bg; it has big." in str(invoke("activate", "acme/bg", status=1).exception)
        assert "no version 9; it has 1." in str(invoke("activate", "acme/big", "--version", 9, status=1).exception)


class TestExplain:
    def test_a_file_is_explained_without_a_platform(
        self, rules: Path, event: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("EVENTRUNNER_URL")
        rules.write_text('rule A { when Tenant.plan == "gold" && Event.data.amount > 1 then Tag("x", 1); Complete(); }')
        text = invoke("explain", rules, "--event", event, "--tenant", "plan=gold").stdout
        lines = [" ".join(line.split()) for line in text.splitlines()]
        assert lines == [
            f"rule A ({rules}): holds",
            'Tenant.plan == "gold" && Event.data.amount > 1 true',
            'Tenant.plan == "gold" true',
            'Tenant.plan "gold"',
            "Event.data.amount > 1 true",
            "Event.data.amount 95",
            "cycle 1: A fires",
            'Tag("x", 1); → tags {"x": "1"}',
            "Complete(); → the rules end here",
            "end: Complete() ended the rules",
        ]

    def test_a_stored_set_is_explained_in_the_version_in_force_or_asked_for(self, rules: Path, event: Path) -> None:
        invoke("put", "acme/big", rules, "--activate")
        rules.write_text(BIG.format(99))
        invoke("put", "acme/big", rules)
        shown = as_json("explain", "acme/big", "--event", event)
        assert (shown["version"], shown["conditions"][0]["holds"], shown["result"]["fired"]) == (1, True, ["Big"])
        assert as_json("explain", "acme/big", "--event", event, "--version", 2)["result"]["fired"] == []
        stored = as_json("explain", "acme/big", "--id", "e95", "--source", "/s")
        assert stored["firings"][0]["statements"][1]["effect"]["emitted"] == {"type": "alert", "data": {"n": 1}}
        assert "has no event x" in str(invoke("explain", "acme/big", "--id", "x", status=1).exception)

    def test_what_is_no_event_is_named(self, rules: Path, event: Path) -> None:
        event.write_text('{"specversion": "1.0", "id": "1"}')
        assert "source" in str(invoke("explain", rules, "--event", event, status=1).exception)
        invoke("put", "acme/big", rules)
        assert "source" in str(invoke("explain", "acme/big", "--event", event, status=1).exception)
        event.write_text("nonsense")
        assert "is not JSON" in str(invoke("explain", "acme/big", "--event", event, status=1).exception)

    def test_wrong_use_is_told(self, rules: Path, event: Path) -> None:
        invoke("explain", rules, status=2)
        invoke("explain", rules, "--event", event, "--id", "1", status=2)
        invoke("explain", rules, "--id", "1", status=2)
        invoke("explain", rules, "--event", event, "--tenant", "plan", status=2)
        invoke("explain", "acme/big", "--event", event, "--tenant", "plan=gold", status=2)
        assert "is no file and neither" in invoke("explain", "none.grl", "--event", event, status=2).stderr


class TestWay:
    @pytest.fixture
    def in_force(self, rules: Path, tmp_path: Path) -> None:
        guard, other = tmp_path / "guard.grl", tmp_path / "other.grl"
        guard.write_text('rule Guard { when true then Tag("seen", "yes"); Retract("Guard"); }')
        other.write_text('rule Other { when Event.seen == "yes" then Tag("other", 1); Retract("Other"); }')
        invoke("put", "_platform/guard", guard, "--activate")
        invoke("put", "acme/big", rules, "--activate")
        invoke("put", "acme/other", other, "--activate")

    @pytest.mark.usefixtures("in_force")
    def test_all_that_an_event_goes_through_is_explained(self, event: Path) -> None:
        lines = invoke("explain", "acme", "--event", event).stdout.splitlines()
        assert [line for line in lines if line[0] not in " "] == [
            "== rules of the platform: guard",
            "rule Guard (guard): holds",
            "cycle 1: Guard fires",
            "end: no further rule matches",
            "== rules of acme: big, other",
            "rule Big (big): holds",
            "rule Other (other): holds",
            "cycle 1: Big fires; also matching: Other",
            "cycle 2: Other fires",
            "end: no further rule matches",
        ]
        assert as_json("explain", "acme", "--id", "e95")["result"]["fired"] == ["_platform.Guard", "Big", "Other"]

    @pytest.mark.usefixtures("in_force")
    def test_a_version_is_explained_among_what_is_in_force(self, rules: Path, event: Path) -> None:
        rules.write_text(BIG.format(99))
        invoke("put", "acme/big", rules)
        found = as_json("explain", "acme/big", "--event", event, "--version", 2, "--together")
        assert (found["version"], found["result"]["fired"]) == (2, ["_platform.Guard", "Other"])

    def test_where_nothing_is_in_force_that_is_said(self, event: Path) -> None:
        assert invoke("explain", "acme", "--event", event).stdout == "nothing is in force\n"

    def test_wrong_use_is_told(self, rules: Path, event: Path) -> None:
        invoke("explain", "acme", "--event", event, "--version", 1, status=2)
        invoke("explain", "acme", "--event", event, "--together", status=2)
        invoke("explain", rules, "--event", event, "--together", status=2)


class TestDryRun:
    RANGE = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z")

    def test_a_draft_is_compared_with_what_is_in_force(self, rules: Path) -> None:
        invoke("put", "acme/big", rules, "--activate")
        rules.write_text(
            'rule Big { when Event.data.amount > 89 then Out.n = 2; Emit("alert"); Retract("Big"); }'
            'rule Bad { when Event.data.amount == 3 then Out.n = Event.data.none; Retract("Bad"); }'
            'rule Low { when Event.data.amount < 2 then Drop("low"); Tag("low", 1); Retract("Low"); }'
        )
        found = as_json("dry-run", "acme/big", rules, *self.RANGE)
        assert (found["version"], found["in_force_version"], found["next"]) == (None, 1, None)
        assert (found["read"], found["evaluated"], found["matched"]) == (100, 100, 13)
        assert found["draft"] == {
            "fired": {"Big": 10, "Low": 2},
            "emitted": {"alert": 10},
            "changed": 2,
            "dropped": 2,
            "failed": 1,
        }
        assert found["in_force"]["fired"] == {"Big": 9}
        assert (found["gained"], found["lost"], found["different"]) == (4, 0, 9)
        assert sorted(found["samples"]) == ["changed", "derived", "different", "dropped", "failed", "gained"]
        assert {kind: len(found["samples"][kind]) for kind in ("dropped", "failed", "different")} == {
            "dropped": 2,
            "failed": 1,
            "different": 3,
        }
        text = invoke("dry-run", "acme/big", rules, *self.RANGE).stdout
        assert "100 events, 100 evaluated, 13 match" in text
        assert "fired Big                                       10         9" in text
        assert "failed: e3 of /s: Bad fails: there is no field none" in text

    def test_a_draft_is_tried_among_what_is_in_force(self, rules: Path, tmp_path: Path) -> None:
        guard = tmp_path / "guard.grl"
        guard.write_text('rule Half { when Event.data.amount > 50 then Event.data.amount /= 2; Retract("Half"); }')
        invoke("put", "_platform/guard", guard, "--activate")
        assert as_json("dry-run", "acme/big", rules, *self.RANGE)["matched"] == 9
        found = as_json("dry-run", "acme/big", rules, *self.RANGE, "--together")
        assert (found["matched"], found["draft"]["fired"]) == (49, {"_platform.Half": 49})

    def test_a_stored_version_is_tried_and_filters_hold(self, rules: Path) -> None:
        invoke("put", "acme/big", rules)
        assert as_json("dry-run", "acme/big", *self.RANGE)["matched"] == 9
        assert as_json("dry-run", "acme/big", *self.RANGE, "--type", "other")["read"] == 0
        assert as_json("dry-run", "acme/big", "--version", 1, *self.RANGE)["in_force_version"] == 0

    def test_the_platforms_rules_are_tried_over_a_tenants_events(self, rules: Path) -> None:
        invoke("put", "_platform/big", rules)
        assert as_json("dry-run", "_platform/big", *self.RANGE, "--over", "acme")["matched"] == 9
        assert "name a tenant" in str(invoke("dry-run", "_platform/big", *self.RANGE, status=1).exception)
        invoke("put", "acme/big", rules)
        assert "only for" in str(invoke("dry-run", "acme/big", *self.RANGE, "--over", "acm", status=1).exception)

    def test_wrong_use_and_a_bad_draft_are_told(self, rules: Path) -> None:
        invoke("dry-run", "acme/big", rules, "--version", 1, *self.RANGE, status=2)
        invoke("dry-run", "acme/big", rules, status=2)
        assert "RFC 3339" in str(invoke("dry-run", "acme/big", rules, "--from", "yesterday", status=1).exception)
        rules.write_text("rule")
        assert "expected the name of the rule" in invoke("dry-run", "acme/big", rules, *self.RANGE, status=1).stderr
