"""A lab for each module of attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A host and two collaborators; what still runs at the end is killed."""
    made = Lab(tmp_path_factory.mktemp("hostile"), 3)
    yield made
    made.stop()
