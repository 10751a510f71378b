"""Counts in sentences."""

from __future__ import annotations

import pytest

from protocols.core.wording import plural


@pytest.mark.parametrize(
    ("count", "word", "said"),
    [
        (1, "batch", "1 batch"),
        (0, "round", "0 rounds"),
        (2, "batch", "2 batches"),
        (2, "class", "2 classes"),
        (5, "entry", "5 entries"),
        (2, "day", "2 days"),
        (12_000, "id", "12,000 ids"),
    ],
)
def test_a_count_and_its_noun(count: int, word: str, said: str) -> None:
    assert plural(count, word) == said
