"""Ports on loopback for tests and benchmarks, however many of them run on one machine.

A port is chosen long before a party listens there, and stays the party's while its process is down. To look whether
somebody listens there now would not do: every process takes a block of ports for as long as it lives.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

_FIRST_PORT, _BLOCK, _BLOCKS = 10_000, 400, 55  # below those that the system gives to clients
_lock = threading.Lock()
_ports: Iterator[int] | None = None
_claim: socket.socket | None = None


def claimed_block() -> tuple[socket.socket, range]:
    """Ports of no other process, and a socket: they are ours until it is closed.

    The socket has an abstract name, which is unique where ports are, and which the system forgets with the process.

    Raises:
        RuntimeError: too many processes have a block.
    """
    for at in range(_BLOCKS):
        first = _FIRST_PORT + _BLOCK * ((os.getpid() + at) % _BLOCKS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0secure-hfl test ports from {first}")
        except OSError:
            claim.close()
        else:
            return claim, range(first, first + _BLOCK)
    raise RuntimeError(f"{_BLOCKS} processes of tests and benchmarks have taken all ports from {_FIRST_PORT}")


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses now, all different; no other process gets them from here while this one lives."""
    global _ports, _claim
    found: list[int] = []
    while len(found) < count:
        with _lock:
            if _ports is None:
                _claim, block = claimed_block()
                _ports = itertools.cycle(block)
            port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
