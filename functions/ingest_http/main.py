"""Takes events in over HTTP and answers 202 when JetStream has stored them."""

from eventrunner.ingest.http import HttpIngest
from starlette.requests import Request
from starlette.responses import Response

_ingest = HttpIngest()


async def main(request: Request) -> Response:
    return await _ingest.main(request)
