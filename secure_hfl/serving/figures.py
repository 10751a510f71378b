"""What the HTTP server tells Prometheus. No id, no value of a prediction and no token: counts, times, and who is up."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from secure_hfl.prediction.outcome import Predictions

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Figures:
    """Of one server. Also what a `PredictionService` tells of its batches (`Listener`)."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "secure_hfl_requests",
            "Requests, by the status of their answer.",
            ["code"],
            registry=registry,
        )
        self._rows = Counter("secure_hfl_rows", "Ids that were asked for, by outcome.", ["status"], registry=registry)
        self._seconds = Histogram(
            "secure_hfl_request_seconds", "From a request to its answer.", buckets=_SECONDS, registry=registry
        )
        self._batch_seconds = Histogram(
            "secure_hfl_batch_seconds", "For one batch with the collaborators.", buckets=_SECONDS, registry=registry
        )
        self._batch_requests = Histogram(
            "secure_hfl_batch_requests", "Requests that shared a batch.", buckets=_SIZES, registry=registry
        )
        self._up = Gauge(
            "secure_hfl_collaborator_up", "1: the collaborator is connected.", ["collaborator"], registry=registry
        )
        self._open = Gauge("secure_hfl_session_open", "1: all are connected, and set up.", registry=registry)
        self._sessions = Counter("secure_hfl_sessions", "Sessions that were begun.", registry=registry)
        for status in ("predicted", "missing", "refused"):
            self._rows.labels(status)

    def answered(self, code: int, seconds: float, found: Predictions | None = None) -> None:
        """A request for predictions has its answer."""
        self._requests.labels(str(code)).inc()
        self._seconds.observe(seconds)
        if found is not None:
            for each in found.ids:
                self._rows.labels(found.status(each)).inc()

    def batch(self, requests: int, rows: int, seconds: float) -> None:
        """See `Listener`."""
        self._batch_requests.observe(requests)
        self._batch_seconds.observe(seconds)

    def session(self, is_open: bool) -> None:
        """See `Listener`."""
        self._open.set(is_open)
        if is_open:
            self._sessions.inc()

    def text(self, online: Mapping[str, bool]) -> bytes:
        """All of it, in Prometheus' text format."""
        for name, is_up in online.items():
            self._up.labels(name).set(is_up)
        return generate_latest(self._registry)
