"""What an adapter tells Prometheus, by source and by stream."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from eventrunner.source.levels import Level

__all__ = ["LetterMetrics", "SourceMetrics", "StreamMetrics", "skipped_messages"]

_EVENTS = Counter(
    "eventrunner_source_events_total",
    "Events by what became of them: delivered, failed (by the stage), dead_letter (by the source), filtered.",
    ["source", "outcome"],
)
_REQUESTS = Counter(
    "eventrunner_source_requests_total", "Requests to the sink, by status; 0: no answer.", ["source", "status"]
)
_RETRIES = Counter("eventrunner_source_retries_total", "Requests that were not the first for their events.", ["source"])
_REDELIVERED = Counter("eventrunner_source_redelivered_total", "Messages that came again.", ["source"])
_CRASHES = Counter("eventrunner_source_crashes_total", "Errors that should not be possible; see the log.", ["source"])
_IN_FLIGHT = Gauge("eventrunner_source_in_flight_requests", "Requests under way.", ["source"])
_HELD = Gauge("eventrunner_source_held_messages", "Messages pulled and not acked.", ["source"])
_LAG = Gauge("eventrunner_source_lag_messages", "Messages of the stream not yet delivered to the consumer.", ["source"])
_LATENCY = Histogram(
    "eventrunner_source_request_duration_seconds",
    "Time from a request to its answer.",
    ["source"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
_BYTES = Gauge("eventrunner_stream_bytes", "Bytes in the stream.", ["stream"])
_MAX_BYTES = Gauge(
    "eventrunner_stream_max_bytes", "Bytes at which the stream takes nothing more; 0: never.", ["stream"]
)
_UNREAD = Gauge(
    "eventrunner_stream_unread_messages", "Messages that a durable consumer has not acked.", ["stream", "consumer"]
)
_TRIMMED = Counter(
    "eventrunner_stream_trimmed_messages_total", "Messages removed because every consumer had acked them.", ["stream"]
)
_SKIPPED = Counter(
    "eventrunner_consumer_skipped_messages_total",
    "Messages removed though a tenant's consumer had not acked them, because the stream was too full.",
    ["consumer"],
)
_LETTERS = Gauge(
    "eventrunner_dead_letters_bytes",
    "Dead letters of a tenant; told while DEADLETTER is more than a third full and the tenant's are counted.",
    ["tenant"],
)
_LETTERS_ROOM = Gauge(
    "eventrunner_dead_letters_room_bytes",
    "What is left in DEADLETTER, which is also the most that one tenant may have.",
)
_WAITING = Gauge(
    "eventrunner_dead_letters_waiting_messages",
    "Messages that wait because there is no room for more dead letters of their tenant.",
    ["source", "tenant"],
)


_OF_SOURCES = (
    _EVENTS,
    _REQUESTS,
    _RETRIES,
    _REDELIVERED,
    _CRASHES,
    _IN_FLIGHT,
    _HELD,
    _LAG,
    _LATENCY,
    _WAITING,
)


class SourceMetrics:
    """The metrics of one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.delivered = _EVENTS.labels(source, "delivered")
        self.failed = _EVENTS.labels(source, "failed")
        self.dead_letters = _EVENTS.labels(source, "dead_letter")
        self.filtered = _EVENTS.labels(source, "filtered")
        self.retries = _RETRIES.labels(source)
        self.redelivered = _REDELIVERED.labels(source)
        self.crashes = _CRASHES.labels(source)
        self.in_flight = _IN_FLIGHT.labels(source)
        self.held = _HELD.labels(source)
        self.lag = _LAG.labels(source)
        self.latency = _LATENCY.labels(source)

    def request(self, status: int, seconds: float) -> None:
        _REQUESTS.labels(self._source, str(status)).inc()
        self.latency.observe(seconds)

    def remove(self) -> None:
        """Of a source that is no more."""
        for metric in _OF_SOURCES:
            metric.remove_by_labels({"source": self._source})

    def waiting(self, tenant: str, messages: int | None) -> None:
        """None: the tenant is not stopped any more."""
        if messages is None:
            _WAITING.remove(self._source, tenant)
        else:
            _WAITING.labels(self._source, tenant).set(messages)


class StreamMetrics:
    """The metrics of one stream. Every adapter that has a source on it tells the same."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._readers: set[str] = set()
        self.trimmed = _TRIMMED.labels(stream)

    def show(self, level: Level) -> None:
        _BYTES.labels(self._stream).set(level.bytes)
        _MAX_BYTES.labels(self._stream).set(level.max_bytes)
        unread = {reader.name: reader.unread for reader in level.readers}
        for name in self._readers - unread.keys():
            _UNREAD.remove(self._stream, name)
        for name, messages in unread.items():
            _UNREAD.labels(self._stream, name).set(messages)
        self._readers = set(unread)


def skipped_messages(consumer: str) -> Counter:
    return _SKIPPED.labels(consumer)


class LetterMetrics:
    def __init__(self) -> None:
        self._tenants: set[str] = set()

    def show(self, tenants: Mapping[str, int], room: int) -> None:
        """Bytes of those that are counted."""
        for tenant in self._tenants - tenants.keys():
            _LETTERS.remove(tenant)
        for tenant, size in tenants.items():
            _LETTERS.labels(tenant).set(size)
        self._tenants = set(tenants)
        _LETTERS_ROOM.set(room)
