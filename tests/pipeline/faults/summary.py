"""`python -m tests.pipeline.faults.summary REPORT…`: several reports summed, in Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from tests.pipeline.faults.recovery import ASKED, Struck
from tests.pipeline.faults.report import kinds_of

__all__ = ["main", "summary"]

_ALL: Final = "all"
_COUNTS: Final = ("events", "faults", "replays", "lost", "twice", "changed", "miscounted", "came again")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(paths: tuple[Path, ...]) -> None:
    """Sums reports that `make faults` has written; exit code 1 when one of the runs has failed."""
    reports = [_read(path) for path in paths]
    click.echo("\n".join(summary(reports)))
    sys.exit(0 if all(report["passed"] for report in reports) else 1)


def summary(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines: a table of counts by event store, one of recoveries by kind, what was never struck, what went wrong."""
    yield from _counts(reports)
    yield ""
    yield from _recoveries([Struck(**item) for report in reports for item in report["struck"]])
    struck = {item["kind"] for report in reports for item in report["struck"]}
    for kind, reason in sorted({item for report in reports for item in report["skipped"].items()}):
        if kind not in struck:
            yield f"\nNever struck: {kind} ({reason})"
    for report in reports:
        for difference in report["findings"]["differences"]:
            yield f"\nSeed {report['seed']} on {report['store']}: {difference}"


def _counts(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield _row("event store", "runs", "seconds", *_COUNTS)
    yield _row(*["---"] * (3 + len(_COUNTS)))
    stores = sorted({report["store"] for report in reports})
    for store in [*stores, _ALL] if len(stores) > 1 else stores:
        chosen = [report for report in reports if store in (report["store"], _ALL)]
        seconds = sum(report["seconds"] for report in chosen)
        sums = [sum(_count(report, what) for report in chosen) for what in _COUNTS]
        yield _row(store, str(len(chosen)), f"{seconds:.0f}", *(f"{number:,}".replace(",", " ") for number in sums))


def _count(report: Mapping[str, Any], what: str) -> int:
    findings = report["findings"]
    if what == "came again":
        return int(sum(findings["repeated"].values()))
    return int(findings[what] if what in findings else report[what])


def _recoveries(struck: Sequence[Struck]) -> Iterator[str]:
    yield _row("fault", "times", "recovery median", "worst", f"within {ASKED:g} s")
    yield _row("---", "---", "---", "---", "---")
    for kind in kinds_of(struck):
        yield _row(kind.name, str(len(kind.recoveries)), f"{kind.median:.1f} s", f"{kind.worst:.1f} s", kind.met)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _read(path: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise click.UsageError(f"{path} is no report of a run: {error}") from error
    if not isinstance(report, dict) or "struck" not in report:
        raise click.UsageError(f"{path} is no report of a run: `make faults` writes them.")
    return report


if __name__ == "__main__":
    main()
