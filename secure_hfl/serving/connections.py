"""Connections on which no request comes are closed, whatever trickles in: they would fill the server's places.

uvicorn closes one that is silent behind an answer. It waits for ever for a first request, and for one whose head never
ends. Whoever shows no token is answered with `Connection: close` (secure_hfl/serving/app.py), so without it a client
holds a place for `REQUEST_SECONDS` and the time of one answer.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 5
"""Within which the whole head of a request has come: from the connection on, and from each answer on."""


class BriefConnection(H11Protocol):
    """uvicorn's HTTP/1.1, with an end."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See the base."""
        super().connection_made(transport)
        self._expect_another_than(None)

    def on_response_complete(self) -> None:
        """See the base."""
        answered = self.cycle
        super().on_response_complete()  # which may begin with the next one
        self._expect_another_than(answered)

    def connection_lost(self, exc: Exception | None) -> None:
        """See the base."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_nothing(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    def _expect_another_than(self, answered: object) -> None:
        self._expect_nothing()
        self._patience = self.loop.call_later(REQUEST_SECONDS, self._close_unless_asked, answered)

    def _close_unless_asked(self, answered: object) -> None:
        """No request has come since the one that was answered."""
        if self.cycle is answered:
            self.transport.close()
