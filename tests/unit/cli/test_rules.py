from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eventrunner.cli.rules import command


def invoke(*arguments: str, requests: list[Any] | None = None) -> Result:
    lines = None if requests is None else "\n".join(json.dumps(item) for item in requests)
    return CliRunner().invoke(command, arguments, input=lines)


def test_check_counts_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "a.grl"
    path.write_text('rule A { when true then Retract("A"); }')
    result = invoke("check", str(path))
    assert result.exit_code == 0
    assert result.stdout == f"{path}: 1 rule, no errors\n"


def test_check_shows_errors_and_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "a.grl"
    path.write_text("rule A { when Event.type = 1 then Complete(); }")
    result = invoke("check", str(path))
    assert result.exit_code == 1
    assert f"{path}:1:26: expected 'then', found '='" in result.stderr
    report = json.loads(invoke("check", "--json", str(path)).stdout)
    assert (report["ok"], report["problems"][0]["line"], report["problems"][0]["column"]) == (False, 1, 26)


def test_check_reads_json_rules(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"name": "A", "when": "true", "then": ["Complete()"]}')
    assert invoke("check", str(path)).exit_code == 0


def test_check_warns_of_what_cannot_work_and_exits_0(tmp_path: Path) -> None:
    path = tmp_path / "a.grl"
    path.write_text('rule A { when Event.type == 5 then Retract("A"); }')
    result = invoke("check", str(path))
    assert result.exit_code == 0
    assert result.stdout == (
        f"{path}:1:26: warning: a string == an integer is never true: they are of different kinds\n"
        '    rule A { when Event.type == 5 then Retract("A"); }\n'
        "                             ^\n"
        f"{path}: 1 rule, no errors, 1 warning\n"
    )
    report = json.loads(invoke("check", "--json", str(path)).stdout)
    assert (report["ok"], report["problems"]) == (True, [])
    assert report["warnings"][0] == {
        "line": 1,
        "column": 26,
        "message": "a string == an integer is never true: they are of different kinds",
        "hint": "",
    }


def test_an_error_in_the_grl_of_json_rules_says_where_that_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"name": "A", "when": "Event.tpye = 1", "then": ["Complete()"]}')
    assert f"{path} (as GRL):3:20: expected 'then', found '='" in invoke("check", str(path)).stderr


def test_run_answers_each_request_on_a_line() -> None:
    result = invoke(
        "run",
        requests=[
            {"id": 1, "grl": "rule A { when F.n > 0 then F.n -= 1; }", "facts": {"F": {"n": 2}}, "mode": "execute"},
            {"id": "m", "grl": "rule A { when F.n > 0 then F.n -= 1; }", "facts": {"F": {"n": 2}}, "mode": "match"},
        ],
    )
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == {
        "id": 1,
        "facts": {"F": {"n": 0}},
        "fired": ["A", "A"],
        "cycles": 2,
        "matched": [],
        "logs": [],
        "eval_failed": [],
        "grl_out": None,
        "error": None,
    }
    assert second["matched"] == ["A"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"grl": "rule A {"}, "syntax"),
        (
            {"grl": "rule A { when true then Complete(); }", "grls": ["rule A { when true then F(); }"]},
            "duplicate_rule",
        ),
        ({"grl_json": {"name": "A"}}, "json_rule"),
        ({"grl": "rule A { when F.x then Complete(); }", "err_on_eval": True}, "eval"),
        ({"grl": "rule A { when true then F.x = 1; }"}, "exec"),
        ({"grl": "rule A { when true then X = 1; }", "max_cycle": 3}, "max_cycle"),
        ({"grl": "rule A { when true then F.o = F; Complete(); }", "facts": {"F": {}}}, "facts"),
    ],
)
def test_run_names_the_error(request_: dict[str, Any], error: str) -> None:
    answer = json.loads(invoke("run", requests=[{"id": 1, "facts": {}, **request_}]).stdout)
    assert answer["error"] == error


def test_run_goes_on_with_the_same_facts() -> None:
    request = {"id": 1, "grl": "rule A { when true then F.n += 1; Complete(); }", "facts": {"F": {"n": 0}}, "runs": 3}
    answer = json.loads(invoke("run", requests=[request]).stdout)
    assert answer["facts"] == {"F": {"n": 3}}


def test_run_removes_rules() -> None:
    request = {"id": 1, "grl": "rule A { when true then F.n += 1; }", "remove": ["A"], "facts": {"F": {"n": 0}}}
    assert json.loads(invoke("run", requests=[request]).stdout)["fired"] == []


def test_run_refuses_what_is_no_request() -> None:
    assert CliRunner().invoke(command, ["run"], input="nonsense\n").exit_code == 2
