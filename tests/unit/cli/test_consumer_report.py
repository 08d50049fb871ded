"""What `eventrunner consumer run` prints for people."""

from __future__ import annotations

import pytest
from eventrunner.cli.consumer_report import Report
from eventrunner.cli.consumer_trial import Tried
from eventrunner.cli.event_files import parse_event
from eventrunner.wasm.outcomes import LogLine, Spent

_EVENT = parse_event(b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "order"}', "acme")


@pytest.mark.parametrize(("context", "shown"), [("guest", "  info  guest: late\n"), ("", "  info  late\n")])
def test_a_line_of_log_without_a_context_has_no_colon(
    context: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = [LogLine("info", context, "late")]
    Report(as_json=False, brief=False).add(Tried(_EVENT, "handled", "", [], logs, 0, Spent(1, 1, 1)))
    assert capsys.readouterr().out.endswith(shown)
