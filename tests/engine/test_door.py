"""Where a host waits: opened once, and for those of its task alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.parties import Parties
from secure_hfl.engine import door
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.door import Door
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import load_scheme


class Server:
    """Server and lobby in one, that note what is asked of them."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def open_task(self, task: str, participants: dict[str, bytes], catalogue: Any) -> Server:
        """See `SharedServer`."""
        self.calls.append(("open", task, participants))
        return self

    def wait(self, seconds: float) -> dict[str, Any]:
        """See `Lobby`."""
        self.calls.append(("wait", seconds))
        return {"party1": "channel"}

    def arrived(self) -> dict[str, Any]:
        """See `Lobby`."""
        return {"party1": "channel"}

    def stop(self) -> None:
        """See `SharedServer`."""
        self.calls.append(("stop",))


def test_it_is_opened_by_the_first_wait_and_closed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parties, server, addresses = Parties(tmp_path), Server(), []

    def shared(address: str, identity: object) -> Server:
        addresses.append(address)
        return server

    monkeypatch.setattr(door, "shared_server", shared)
    store, scheme = parties.store("party0"), load_scheme("plain")
    record = store.get(parties.new_task())
    assignment = Assignment("host", "party0", record, store, parties.identities["party0"], scheme, RunOptions())
    entrance = Door(assignment)
    come: list[tuple[str, bool]] = []
    entrance.on_change = lambda name, is_here: come.append((name, is_here))
    entrance.close()
    assert entrance.arrived() == {}
    assert server.calls == []
    certificates = {"party1": parties.identities["party1"].certificate_pem}
    assert entrance.certificates == certificates, "not the host's own"
    assert entrance.wait(3.0) == entrance.wait(4.0) == entrance.arrived() == {"party1": "channel"}
    assert come == [("party1", True)], "who came before anybody listened is told of as well"
    assert addresses == [record.address]
    assert server.calls == [("open", record.task_id, certificates), ("wait", 3.0), ("wait", 4.0)]
    entrance.close()
    assert server.calls[-1] == ("stop",)
