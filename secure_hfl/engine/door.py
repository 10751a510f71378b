"""Where a host waits for its collaborators."""

from __future__ import annotations

from collections.abc import Callable

from protocols.wire.codec import Catalogue
from secure_hfl.engine.assignment import Assignment
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.server import Lobby, listen_address
from secure_hfl.transport.shared import SharedServer, shared_server


class Door:
    """One task's place on the host's port; open from the first wait to the end of the run.

    Args:
        assignment: whose address, and who may come.

    Attributes:
        on_change: hears who comes, and whose connection is over (`Lobby.on_change`).
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self.on_change: Callable[[str, bool], None] | None = None
        self._server: SharedServer | None = None
        self._lobby: Lobby | None = None

    @property
    def certificates(self) -> dict[str, bytes]:
        """Of those who may come, by the name that their channel will have."""
        participants = self._assignment.record.participants
        return {each.name: each.certificate_pem for each in participants if each.role == "collaborator"}

    def wait(self, seconds: float) -> dict[str, Channel]:
        """A channel to everyone. Raises `PeerRefused` if some did not come."""
        if self._lobby is None:
            record = self._assignment.record
            catalogue = Catalogue(self._assignment.scheme.all_messages())
            self._server = shared_server(listen_address(record.address), self._assignment.identity)
            self._lobby = self._server.open_task(record.task_id, self.certificates, catalogue)
            if self.on_change is not None:
                self._lobby.on_change = self.on_change
                for name in self._lobby.arrived():  # meanwhile
                    self.on_change(name, True)
        return self._lobby.wait(seconds)

    def arrived(self) -> dict[str, Channel]:
        """Those who came, though not all did."""
        return {} if self._lobby is None else self._lobby.arrived()

    def close(self) -> None:
        """Let nobody in any more. May be called again."""
        if self._server is not None:
            self._server.stop()
