"""Two ends of a connection in one process: real channels, and a thread each way in place of the network."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from protocols.schemes.interface import Scheme
from protocols.wire.codec import Catalogue
from secure_hfl.errors import ConnectionLost
from secure_hfl.schemes import load_scheme
from secure_hfl.transport.channel import Channel


def channel_pair(scheme: Scheme | str = "plain", names: tuple[str, str] = ("host", "bank")) -> tuple[Channel, Channel]:
    """The host's channel to the collaborator, and the collaborator's to the host.

    Args:
        scheme: whose messages may travel.
        names: what the host is called, and what the collaborator is called.
    """
    catalogue = Catalogue((load_scheme(scheme) if isinstance(scheme, str) else scheme).all_messages())
    frames: tuple[SimpleQueue[bytes | None], SimpleQueue[bytes | None]] = (SimpleQueue(), SimpleQueue())

    def hang_up() -> None:
        for each in frames:
            each.put(None)

    at_host, at_collaborator = (Channel(name, catalogue, hang_up) for name in reversed(names))
    _carry(at_host, at_collaborator, frames[0])
    _carry(at_collaborator, at_host, frames[1])
    return at_host, at_collaborator


def _carry(sender: Channel, receiver: Channel, frames: SimpleQueue[bytes | None]) -> None:
    """From one to the other, until either is closed."""

    def write() -> None:
        for frame in sender.outgoing():
            frames.put(frame)
        frames.put(None)

    def read() -> None:
        receiver.read_from(iter(frames.get, None))

    for work in (write, read):
        threading.Thread(target=work, daemon=True).start()


def cut_off(*channels: Channel) -> None:
    """The cable is out."""
    for channel in channels:
        channel.fail(ConnectionLost("the cable is out"))
