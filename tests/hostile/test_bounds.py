"""Bounds that the attacks led to, each by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from benchmarks.harness.known_messages import known_catalogue
from protocols.core.envelope import Envelope, Phase
from protocols.task.rounds import TaskFinished
from protocols.wire.codec import encode, peek
from secure_hfl.identity import Identity
from secure_hfl.transport.tls import server_credentials

FIELD = b"\x10\x05"  # field 2, the phase


def test_what_cannot_be_an_envelope_is_not_read_to_its_end() -> None:
    """A message of 256 MiB of such fields kept the reader, and with it all threads, busy for a minute."""
    catalogue = known_catalogue()
    data = encode(Envelope(0, Phase.TRAIN, 0, 0, TaskFinished(1)), catalogue)
    assert data.startswith(FIELD)
    assert peek(data, catalogue) is TaskFinished
    assert peek(FIELD + data, catalogue) is None
    assert peek(data[:1] + b"\xff" * 9 + b"\1" + data[2:], catalogue) is TaskFinished  # a number of ten bytes
    assert peek(data[:1] + b"\xff" * 10 + b"\1" + data[2:], catalogue) is None


def test_tls_is_configured_anew_only_when_the_certificates_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC crashed when it was configured anew for each of many connections at once."""
    fetchers: list[Callable[[], Any]] = []
    original = grpc.dynamic_ssl_server_credentials

    def keep(initial: Any, fetch: Callable[[], Any], **options: Any) -> Any:
        fetchers.append(fetch)
        return original(initial, fetch, **options)

    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", keep)
    pinned: list[bytes] = []
    server_credentials(Identity.create("host"), lambda: tuple(pinned))
    fetch = fetchers[0]
    assert fetch() is None
    pinned.append(Identity.create("alice").certificate_pem)
    assert fetch() is not None
    assert fetch() is None
    pinned.clear()
    assert fetch() is not None
