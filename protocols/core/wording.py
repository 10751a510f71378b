"""Counts in sentences."""

from __future__ import annotations

_SIBILANTS = ("ch", "s", "sh", "x")


def plural(count: int, word: str) -> str:
    """1 round, 3 rounds, 2 batches, 5 entries, 12,000 ids."""
    if count == 1:
        return f"1 {word}"
    if word.endswith(_SIBILANTS):
        return f"{count:,} {word}es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{count:,} {word[:-1]}ies"
    return f"{count:,} {word}s"
