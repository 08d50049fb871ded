"""Turns raw payloads into CloudEvents, transforms and routes them."""

from eventrunner.handlers.event_runner import EventRunner
from eventrunner.settings import Settings
from eventrunner.stage import Stage
from eventrunner.storage.mirror import Mirror
from flask import Request, Response


def _make_handler(settings: Settings) -> EventRunner:
    registry = Mirror(settings.nats_url, ("tenants",))
    return EventRunner(lambda tenant: registry.get("tenants", tenant))


_stage = Stage("event-runner", _make_handler)


def main(request: Request) -> Response:
    return _stage.main(request)
