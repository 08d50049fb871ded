"""Runs each tenant's rules on its events and keeps them in the event store."""

from contextlib import ExitStack, closing

from eventrunner.handlers.event_engine import EventEngine
from eventrunner.settings import Settings
from eventrunner.stage import Stage
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.stores import open_store
from flask import Request, Response


def _make_handler(settings: Settings) -> EventEngine:
    # Called again for each request while the store is away, so nothing may be left open.
    with ExitStack() as opened:
        store = opened.enter_context(closing(open_store(settings.store_url)))
        store.migrate()
        opened.pop_all()
    registry = Mirror(settings.nats_url, ("tenants", "rules"))
    return EventEngine(store, lambda tenant: registry.get("tenants", tenant), lambda: registry.items("rules"))


_stage = Stage("event-engine", _make_handler)


def main(request: Request) -> Response:
    return _stage.main(request)
