"""Writes the usage of events that never reach ClickHouse."""

from eventrunner.handlers.metering import Metering
from eventrunner.settings import Settings
from eventrunner.stage import Stage
from eventrunner.storage.analytics import Analytics
from flask import Request, Response


def _make_handler(settings: Settings) -> Metering:
    analytics = Analytics(settings.clickhouse_url)
    analytics.migrate()
    return Metering(analytics)


_stage = Stage("metering", _make_handler)


def main(request: Request) -> Response:
    return _stage.main(request)
