from pathlib import Path

import pytest

from tests.tasks.helpers import Party, make_party


@pytest.fixture
def clinic(tmp_path: Path) -> Party:
    return make_party(tmp_path / "clinic", "clinic")


@pytest.fixture
def bank(tmp_path: Path) -> Party:
    return make_party(tmp_path / "bank", "bank")
