"""Runs each tenant's rules on its events and keeps them in the event store."""

from eventrunner.handlers.event_engine import EventEngine
from eventrunner.settings import Settings
from eventrunner.stage import Stage
from eventrunner.storage.registry import Mirror
from eventrunner.storage.stores import open_store
from flask import Request, Response


def _make_handler(settings: Settings) -> EventEngine:
    registry = Mirror(settings.nats_url, ("tenants", "rules"))
    store = open_store(settings.store_url)
    store.migrate()
    return EventEngine(store, lambda tenant: registry.get("tenants", tenant), lambda: registry.items("rules"))


_stage = Stage("event-engine", _make_handler)


def main(request: Request) -> Response:
    return _stage.main(request)
