"""A Ray cluster of a few raylets on this machine, with one worker each: nodes that join, and that are killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from secure_hfl.local_parties import free_port

QUICKLY = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}
"""A dead node is known for one after some seconds, not half a minute."""


START_SECONDS = 180
"""In which the process that serves a client has to start: Ray's 30 are few on a busy machine."""


class RayNodes:
    """A head, to which `join` adds. Ray's settings are read from the environment, once a process.

    Args:
        store_bytes: shared memory of each node.

    Attributes:
        port: where clients reach it: `ray://127.0.0.1:port`.
    """

    def __init__(self, store_bytes: int) -> None:
        os.environ.setdefault("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", str(START_SECONDS))
        from ray.cluster_utils import Cluster

        self._cluster, self._store_bytes = Cluster(), store_bytes
        self.port = free_port()
        self._head = self._add(include_dashboard=False, ray_client_server_port=self.port, _system_config=QUICKLY)
        self._others: list[Any] = []

    def _add(self, **more: Any) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=self._store_bytes, **more)

    def join(self) -> None:
        """One more node."""
        self._others.append(self._add())

    def kill(self) -> None:
        """SIGKILL to the raylet that joined last, whatever it is doing."""
        self._cluster.remove_node(self._others.pop(), allow_graceful=False)

    @property
    def dashboard(self) -> str:
        """The address of its web page; empty: it has none."""
        return self._head.webui_url or ""

    def files(self) -> dict[str, bytes]:
        """All that Ray has written for this cluster, by name."""
        session = Path(self._head.get_session_dir_path())
        return {str(path): path.read_bytes() for path in session.rglob("*") if path.is_file()}

    def end(self) -> None:
        """Kill all. May be called again."""
        self._cluster.shutdown()
