"""docs/pytorch-contract.md names a test in every row, and every test of training is in a row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "pytorch-contract.md").read_text("utf-8")
OPTIMIZER = HERE.parent / "test_optimizer.py"


def names_in(*files: Path) -> set[str]:
    """Their names."""
    return {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)}


def rows() -> Iterator[str]:
    """The tables' rows, without their heads."""
    for line in PAGE.splitlines():
        if line.startswith("|") and not line.startswith(("|---", "| what |")):
            yield line


def test_every_row_names_tests_that_exist() -> None:
    known = names_in(OPTIMIZER, *HERE.glob("test_*.py"))
    for row in rows():
        named = set(re.findall(r"`(test_\w+)`", row.split("|")[-2]))
        assert named, row
        assert named <= known, row


def test_every_test_of_training_is_in_a_row() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert names_in(*HERE.glob("test_*.py")) - names_in(Path(__file__)) <= named
