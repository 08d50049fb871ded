"""Logs, metrics and trace context, the same in every process."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextvars import ContextVar
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

from eventrunner.clock import format_time, utc_now

__all__ = [
    "EVENTS_TOTAL",
    "METRICS_CONTENT_TYPE",
    "REQUEST_SECONDS",
    "configure_logging",
    "current_traceparent",
    "is_traceparent",
    "metrics_page",
    "traceparent_or_new",
]

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST

EVENTS_TOTAL = Counter("eventrunner_events_total", "Events by what became of them in a stage.", ["stage", "outcome"])
REQUEST_SECONDS = Histogram(
    "eventrunner_request_duration_seconds",
    "Time from a whole request to its whole answer.",
    ["stage", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

current_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""W3C `traceparent` of the request in hand; log lines carry its trace id."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(text: str) -> bool:
    """https://www.w3.org/TR/trace-context/"""
    return _TRACEPARENT.fullmatch(text) is not None


def traceparent_or_new(header: str | None) -> str:
    """The header when it is a valid `traceparent`, else a new, unsampled one."""
    if header and is_traceparent(header):
        return header
    random = os.urandom(24).hex()
    return f"00-{random[:32]}-{random[32:]}-00"


def metrics_page() -> bytes:
    """All metrics of this process in Prometheus text format."""
    return generate_latest()


class _JsonFormatter(logging.Formatter):
    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": format_time(utc_now()),
            "level": record.levelname.lower(),
            "part": self._part,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if traceparent := current_traceparent.get():
            line["trace"] = traceparent[3:35]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(part: str, level: str = "info") -> None:
    """Makes this process log one JSON object per line to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(part))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
