"""What adapters tell about sinks that answer 401: the events for them wait, and only an operator can help."""

from __future__ import annotations

import msgspec

__all__ = ["REFUSING_SINKS_SECONDS", "REFUSING_SINKS_SUBJECT", "RefusingSinks"]

REFUSING_SINKS_SUBJECT = "eventrunner.sinks.refusing"
"""Of the message that says so; core NATS, because it is worth nothing later."""
REFUSING_SINKS_SECONDS = 1.0
"""Between two messages."""


class RefusingSinks(msgspec.Struct):
    sinks: dict[str, str]
    """What each one answered, by its URL."""
    unsigned: list[str] = []
    """Those of them that are sent no token."""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> RefusingSinks:
        """Raises msgspec.DecodeError."""
        return msgspec.json.decode(data, type=cls)

    def problems(self) -> dict[str, str]:
        """What to do about each one, by its URL."""
        return {url: self._describe(url, answer) for url, answer in self.sinks.items()}

    def _describe(self, url: str, answer: str) -> str:
        advice = _UNSIGNED if url in self.unsigned else _SIGNED
        return f"The sink {url} answers 401, so its events wait and none is lost: {answer} {advice}"


_SIGNED = (
    "Compare the adapter's EVENTRUNNER_SOURCE_KEYS and the source's audience with the sink's EVENTRUNNER_SINK_JWKS and "
    "EVENTRUNNER_SINK_AUDIENCE."
)
_UNSIGNED = (
    "It is sent no token, because the source states no audience for it or the adapter has no EVENTRUNNER_SOURCE_KEYS: "
    "set what it asks for, or let it take requests as they are. Where it is not to have the events, delete the source."
)
