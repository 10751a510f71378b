"""Ports on loopback for tests that run beside each other."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from contextlib import suppress

_FIRST_PORT, _PORTS = 10_000, 2_000  # below those that the system gives to clients
_ports = itertools.cycle(
    _FIRST_PORT + _PORTS * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10) + (os.getpid() + at) % _PORTS
    for at in range(_PORTS)
)
_lock = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses now, all different; no other process of the same test run gets them."""
    found: list[int] = []
    while len(found) < count:
        with _lock:
            port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
