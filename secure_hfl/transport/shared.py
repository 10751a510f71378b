"""Tasks of one process that have the same address share its server. The first one opens it, the last one stops it.

    task A ── shared_server("[::]:50051") ──┐
                                            ├── one PartyServer ── a lobby for A, a lobby for B
    task B ── shared_server("[::]:50051") ──┘

Each task closes its own lobby when it ends, whoever else goes on: from then on its collaborators are strangers.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from hmac import compare_digest

from protocols.wire.codec import Catalogue
from secure_hfl.errors import TransportError
from secure_hfl.identity import Identity
from secure_hfl.transport.channel import ChannelLimits
from secure_hfl.transport.server import Lobby, PartyServer


class _Address:
    """Somewhere this process listens while somebody uses it. Whoever holds the lock opens or stops the server."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.fingerprint = ""
        self.server: PartyServer | None = None


_guard = threading.Lock()
_addresses: dict[str, _Address] = {}


class SharedServer:
    """One task's use of a server that others may use as well. Made by `shared_server`.

    Attributes:
        port: the port it listens on.
    """

    def __init__(self, address: _Address, server: PartyServer) -> None:
        self._address = address
        self._server = server
        self._lobbies: list[Lobby] = []
        self._is_over = False
        self.port = server.port

    def open_task(
        self,
        task_id: str,
        participants: Mapping[str, bytes],
        catalogue: Catalogue,
        limits: ChannelLimits | None = None,
    ) -> Lobby:
        """See `PartyServer.open_task`. The lobby is closed by `stop` at the latest."""
        lobby = self._server.open_task(task_id, participants, catalogue, limits)
        self._lobbies.append(lobby)
        return lobby

    def stop(self, grace: float = 5.0) -> None:
        """Admit nobody more to this task and end its streams; stop the server if no other task uses it. May be called
        again.

        Args:
            grace: seconds for closed channels to finish.
        """
        with self._address.lock:
            if self._is_over:
                return
            self._is_over = True
            for lobby in self._lobbies:
                lobby.close()
                for channel in lobby.arrived().values():  # who came when nobody waited any more
                    channel.fail(TransportError("the task is over"))
                    channel.close(0)
            self._address.users -= 1
            if not self._address.users:
                self._address.server = None
                self._server.stop(grace)

    def __enter__(self) -> SharedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def shared_server(listen_address: str, identity: Identity) -> SharedServer:
    """This process's server at an address; starts it if there is none.

    Args:
        listen_address: as `PartyServer` takes it.
        identity: this party's; all tasks at one address are of one party.

    Raises:
        TransportError: it cannot listen there, or listens there already with another identity.
    """
    with _guard:
        address = _addresses.setdefault(listen_address, _Address())
    with address.lock:
        if address.server is None:
            address.server = _open(listen_address, identity)
            address.fingerprint = identity.fingerprint
        elif not compare_digest(address.fingerprint, identity.fingerprint):
            raise TransportError(
                f"this process listens on {listen_address} with certificate {address.fingerprint} already, "
                f"and cannot with {identity.fingerprint} as well: give the parties different ports"
            )
        address.users += 1
        return SharedServer(address, address.server)


def _open(listen_address: str, identity: Identity) -> PartyServer:
    try:
        return PartyServer(listen_address, identity)
    except TransportError as error:
        port = listen_address.rpartition(":")[2]
        with _guard:
            others = [name for name, other in _addresses.items() if other.server and name.endswith(f":{port}")]
        if not others:
            raise
        raise TransportError(
            f"cannot listen on {listen_address}: this process listens on {others[0]} for another task; "
            "give both tasks the same address"
        ) from error
