"""Buckets that are sent as full as they are tell which set they are of; buckets of one size do not.

The key of the cut is known to both parties, as is the set of all ids that a sample could have. So whoever sees how many
ids fell into each bucket can weigh any guess against it, without a single id of its own in common.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.core.randomness import OsRandomness
from protocols.psi.buckets import (
    OVERFLOW_BITS,
    bucket_numbers,
    bucket_words,
    bucketing_domain,
    hash_bucket,
    key_of,
    log2_overflow,
    padded_size,
)

BUCKETS = 20
IDS = 400
SIZE = padded_size(IDS, BUCKETS)
KEY = key_of(bucketing_domain("task", [bytes(32), bytes([1] * 32)]), bytes([7] * 32))


def fills(ids: list[str]) -> NDArray[np.int64]:
    """How many of these ids fall into each bucket."""
    return np.bincount(bucket_numbers(bucket_words(KEY, [each.encode() for each in ids]), BUCKETS), minlength=BUCKETS)


def guessed(seen: list[int], candidates: list[list[str]]) -> int:
    """The attack: which candidate's fills lie nearest to what was seen; the first one, if all do."""
    return int(np.argmin([np.abs(np.array(seen) - fills(ids)).sum() for ids in candidates]))


def test_fills_tell_which_of_sixty_sets_it_is_and_padded_sizes_do_not() -> None:
    candidates = [[f"ward{ward}-{i}" for i in range(IDS)] for ward in range(60)]
    answers = set()
    for truth in (3, 42):
        full = fills(candidates[truth]).tolist()
        assert guessed(full, candidates) == truth
        sent = [hash_bucket(bytes(32), tuple(candidates[truth][:fill]), SIZE, OsRandomness()) for fill in full]
        answers.add(guessed([bucket.size for bucket in sent], candidates))
    assert len(answers) == 1, "the attack says the same of every set"


def test_no_one_size_without_a_margin_would_do() -> None:
    """Nearly every cut has a bucket above the average: a size of n/B would have to be left, and that would tell."""
    sets = [[f"ward{ward}-{i}" for i in range(IDS)] for ward in range(50)]
    fullest = [int(fills(ids).max()) for ids in sets]
    assert min(fullest) > IDS // BUCKETS
    assert max(fullest) <= SIZE
    assert log2_overflow(IDS, BUCKETS, SIZE) <= -OVERFLOW_BITS
    assert len(set(fullest)) > 5, "the fullest bucket differs from set to set, so it may not be sent"
