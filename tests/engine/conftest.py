"""Real parties for the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness.parties import Parties


@pytest.fixture
def make_parties(tmp_path: Path) -> Iterator[Callable[[int], Parties]]:
    """Makes a host and collaborators; what still runs at the end of the test is killed."""
    groups: list[Parties] = []

    def make(count: int = 2) -> Parties:
        directory = tmp_path / f"parties{len(groups)}"
        directory.mkdir()
        groups.append(Parties(directory, count))
        return groups[-1]

    yield make
    for parties in groups:
        parties.stop()


@pytest.fixture
def parties(make_parties: Callable[[int], Parties]) -> Parties:
    """A host and one collaborator."""
    return make_parties(2)
