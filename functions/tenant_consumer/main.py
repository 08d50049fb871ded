"""Runs one tenant's WebAssembly consumer."""

from pathlib import Path

from eventrunner.handlers.consumer_start import make_consumer
from eventrunner.stage import Stage
from flask import Request, Response

_policies = Path(__file__).parents[2] / "policies"
_stage = Stage("tenant-consumer", lambda settings: make_consumer(settings, _policies))


def main(request: Request) -> Response:
    return _stage.main(request)
