"""The runs are made once for all tests that look at what they left."""

from __future__ import annotations

import pytest

from tests.secrets.evidence import Evidence, gather


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Of runs of every scheme, and of one that failed."""
    return gather(tmp_path_factory.mktemp("secrets"))
