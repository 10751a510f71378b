"""Parties for each module of attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.harness.parties import Parties


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """A host and two collaborators; what still runs at the end is killed."""
    made = Parties(tmp_path_factory.mktemp("hostile"), 3)
    yield made
    made.stop()
