"""Sends stored events through a rule set or to a consumer once more."""

from eventrunner.replay.handler import Replayer
from eventrunner.replay.ledger import ReplayLedger
from eventrunner.replay.outbox import Outbox
from eventrunner.replay.targets import Takers
from eventrunner.replay.worker import ReplayWorker
from eventrunner.settings import Settings
from eventrunner.stage import Stage
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.stores import open_store
from flask import Request, Response


def _make_handler(settings: Settings) -> Replayer:
    registry = Mirror(settings.nats_url, ("tenants", "rules", "consumers"))
    registry.start()
    store = open_store(settings.store_url)
    store.migrate()
    takers = Takers(registry.get, store, Outbox(registry))
    return Replayer(ReplayWorker(ReplayLedger(registry), store, takers))


_stage = Stage("replayer", _make_handler)


def main(request: Request) -> Response:
    return _stage.main(request)
