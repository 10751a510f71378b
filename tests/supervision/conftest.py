"""A task of a clinic, and a stand-in for its party's process that starts in no time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_hfl.supervision.local_party import LocalParty
from secure_hfl.supervision.supervised import Supervised
from secure_hfl.tasks import join_task
from tests.supervision.stand_in import install
from tests.tasks.helpers import Party, make_party, make_task


@pytest.fixture
def clinic(tmp_path: Path) -> Party:
    """A collaborator."""
    return make_party(tmp_path / "clinic", "clinic")


@pytest.fixture
def task_id(tmp_path: Path, clinic: Party) -> str:
    """A task that the clinic has joined."""
    record, invite = make_task(make_party(tmp_path / "bank", "bank"), clinic)
    join_task(clinic.store, clinic.identity, invite, record.scheme)
    return record.task_id


@pytest.fixture
def party(tmp_path: Path, clinic: Party, task_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalParty]:
    """The clinic's part of it. Its process is the stand-in, and is killed at the end."""
    install(tmp_path, monkeypatch)
    found = LocalParty(clinic.store, task_id)
    yield found
    end(found.process)


def end(process: Supervised) -> None:
    """Nothing is left behind."""
    process.stop(signal.SIGKILL)
