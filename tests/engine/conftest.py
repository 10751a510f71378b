"""Real parties for the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import Lab


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[[int], Lab]]:
    """Makes a lab of so many parties; what still runs at the end of the test is killed."""
    labs: list[Lab] = []

    def make(parties: int = 2) -> Lab:
        directory = tmp_path / f"lab{len(labs)}"
        directory.mkdir()
        labs.append(Lab(directory, parties))
        return labs[-1]

    yield make
    for lab in labs:
        lab.stop()


@pytest.fixture
def lab(make_lab: Callable[[int], Lab]) -> Lab:
    """A host and one collaborator."""
    return make_lab(2)
