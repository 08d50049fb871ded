"""Writes results into ClickHouse."""

from eventrunner.handlers.analytics import EventAnalytics
from eventrunner.settings import Settings
from eventrunner.stage import Stage
from eventrunner.storage.analytics import Analytics
from flask import Request, Response


def _make_handler(settings: Settings) -> EventAnalytics:
    analytics = Analytics(settings.clickhouse_url)
    analytics.migrate()
    return EventAnalytics(analytics)


_stage = Stage("analytics", _make_handler)


def main(request: Request) -> Response:
    return _stage.main(request)
