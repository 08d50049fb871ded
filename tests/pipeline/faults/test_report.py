"""The report of a run, and the sum of several."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tests.pipeline.faults.checker import Findings
from tests.pipeline.faults.recovery import Struck
from tests.pipeline.faults.report import Report, kinds_of
from tests.pipeline.faults.summary import main


def _struck(kind: str, recovery: float, *, single: bool = True) -> Struck:
    return Struck(kind, "", 1.0, recovery, 15.0, single)


def _report(seed: int, store: str, struck: list[Struck], **more: object) -> Report:
    report = Report(
        seed=seed,
        store=store,
        rate=1000.0,
        planned=50.0,
        seconds=60.0,
        events=1_000_000,
        sent_again=4,
        answers={"202": 4000},
        replays=3,
        struck=struck,
        skipped={"kill -9 Cassandra": "the event store is SQLite"} if store == "sqlite" else {},
        way=0.5,
        cold=0.4,
        findings=Findings(repeated={"RESULTS": 10, "ClickHouse": 5}),
    )
    for name, value in more.items():
        setattr(report.findings, name, value)
    return report


def test_a_kind_has_its_median_its_worst_and_whether_the_figure_was_met() -> None:
    kinds = kinds_of([_struck("kill", 1.0), _struck("kill", 6.0), _struck("kill", 2.0), _struck("b", 9, single=False)])
    assert [(kind.name, kind.median, kind.worst, kind.met) for kind in kinds] == [
        ("b", 9, 9, ""),
        ("kill", 2.0, 6.0, "1 of 3 later"),
    ]


def test_the_figure_is_met_when_none_took_longer() -> None:
    assert kinds_of([_struck("kill", 5.0)])[0].met == "met"


def test_a_report_says_what_a_table_is_made_of(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    _report(1, "sqlite", [_struck("kill", 2.0)]).write(path)
    document = json.loads(path.read_text())
    assert (document["passed"], document["faults"], document["events"], document["replays"]) == (True, 1, 1_000_000, 3)
    assert document["kinds"] == {"kill": {"faults": 1, "median": 2.0, "worst": 2.0, "within 5 s": "met"}}
    assert document["skipped"] == {"kill -9 Cassandra": "the event store is SQLite"}
    assert document["findings"]["repeated"] == {"RESULTS": 10, "ClickHouse": 5}


def test_a_seed_that_failed_is_kept_with_all_that_is_needed_to_run_it_again() -> None:
    assert _report(17, "cassandra", []).again == "17 50 cassandra 1000"


def test_reports_are_summed(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    _report(1, "sqlite", [_struck("kill", 2.0), _struck("full", 1.0, single=False)]).write(paths[0])
    _report(2, "cassandra", [_struck("kill", 4.0), _struck("kill -9 Cassandra", 3.0)], lost=0).write(paths[1])
    done = CliRunner().invoke(main, [str(path) for path in paths])
    assert done.exit_code == 0
    assert "| sqlite | 1 | 60 | 1 000 000 | 2 | 3 | 0 | 0 | 0 | 0 | 15 |" in done.output
    assert "| all | 2 | 120 | 2 000 000 | 4 | 6 | 0 | 0 | 0 | 0 | 30 |" in done.output
    assert "| kill | 2 | 3.0 s | 4.0 s | met |" in done.output
    assert "Never struck" not in done.output


def test_a_kind_that_no_run_has_struck_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    _report(1, "sqlite", [_struck("kill", 2.0)]).write(path)
    done = CliRunner().invoke(main, [str(path)])
    assert "Never struck: kill -9 Cassandra (the event store is SQLite)" in done.output


def test_the_sum_of_reports_fails_with_any_of_them_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    _report(1, "sqlite", [], differences=["acme: 1 × acknowledged and not in RESULTS: x"], lost=1).write(path)
    done = CliRunner().invoke(main, [str(path)])
    assert done.exit_code == 1
    assert "Seed 1 on sqlite: acme: 1 × acknowledged and not in RESULTS: x" in done.output


def test_what_is_no_report_is_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("no JSON", "[]", "{}"):
        path.write_text(text)
        done = CliRunner().invoke(main, [str(path)])
        assert (done.exit_code, "no report of a run" in done.output) == (2, True)
