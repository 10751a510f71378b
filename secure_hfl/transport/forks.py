"""What a fork, a `DataLoader`'s worker for example, lets go of: the sockets of this process's server.

A fork may outlive its parent by some seconds. It would keep the port, and connections of which nobody hears that they
are dead: who is started again could not listen. It has no use for them, because gRPC's threads are not in it.
"""

from __future__ import annotations

import os
import socket
import stat
from collections import Counter
from contextlib import suppress

from secure_hfl.transport import GRPC_SUPPORTS_FORKS

_ports: Counter[int] = Counter()


def listens(port: int) -> None:
    """A server of this process has this port."""
    _ports[port] += 1


def has_stopped(port: int) -> None:
    """It has not any more."""
    _ports[port] -= 1


def _close_sockets() -> None:
    """In a fork: those whose own end is a port of the server."""
    ports = {port for port, count in _ports.items() if count}
    _ports.clear()
    if not ports or GRPC_SUPPORTS_FORKS:
        return
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # one of them was the directory
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode) and _port(int(name)) in ports:
                os.close(int(name))


def _port(descriptor: int) -> int:
    """This end's of a TCP socket, else 0."""
    with socket.socket(fileno=os.dup(descriptor)) as other:
        is_internet = other.family in (socket.AF_INET, socket.AF_INET6)
        return int(other.getsockname()[1]) if is_internet else 0


os.register_at_fork(after_in_child=_close_sockets)
