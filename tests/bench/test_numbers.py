"""What is worked out from cases: times against times, and losses against losses."""

from __future__ import annotations

from itertools import permutations
from math import inf, nan

import pytest

from secure_hfl.bench.model import Case, RoundSample, Sample
from secure_hfl.bench.numbers import against, difference, epoch, parity, per, private, ratio
from tests.bench.made_up import case

# Times ---------------------------------------------------------------------------------------------------------------


def timed(train_seconds: float, *batch_seconds: float) -> Sample:
    """One epoch."""
    count = len(batch_seconds)
    each = RoundSample(
        batches=count, train_seconds=train_seconds, bytes_sent=0, bytes_received=0, batch_seconds=batch_seconds
    )
    return Sample(rounds=(each,), batch_losses=())


PLAIN = case("plain", timed(18.0, 5.0, 5.0, 1.0, 2.0, 3.0))
"""Two seconds of it are behind its last batch."""
BFV = case("bfv", timed(36.0, 5.0, 5.0, 7.0, 7.0, 7.0))
PART = case("paillier", timed(131.0, 30.0, 30.0, 10.0, 20.0, 40.0), batches=5)


def test_whole_epochs_are_compared_with_all_that_is_in_them() -> None:
    assert PLAIN.batch_seconds == pytest.approx(3.6)
    assert against(BFV, PLAIN) == ratio(BFV, [PLAIN, BFV]) == pytest.approx(2.0)


def test_where_either_is_a_part_of_an_epoch_both_are_taken_by_the_median_without_the_first_batches() -> None:
    assert PART.batch_seconds == PART.steady_batch_seconds == pytest.approx(20.0)
    assert PLAIN.steady_batch_seconds == pytest.approx(2.0)
    assert against(PART, PLAIN) == ratio(PART, [PLAIN, PART]) == pytest.approx(10.0)
    assert against(PLAIN, PART) == pytest.approx(0.1)
    assert against(PART, PART) == 1.0


def test_the_epoch_of_a_part_is_its_median_batch_times_the_batches_of_a_whole_one() -> None:
    assert epoch(PART, [PLAIN, PART]) == pytest.approx(5 * 20.0)
    assert epoch(PLAIN, [PLAIN, PART]) == 18.0


def test_what_is_shown_side_by_side_is_of_one_measure_too() -> None:
    assert [per([PLAIN, BFV]).time(each) for each in (PLAIN, BFV)] == [18.0, 36.0]
    assert [per([PLAIN, PART]).time(each) for each in (PLAIN, PART)] == [pytest.approx(2e3), pytest.approx(20e3)]
    slow_start = case("masked", timed(60.0, 25.0, 25.0, 3.0, 3.0))  # an epoch's batch 15, and then 3
    part = case("bfv", timed(60.0, 30.0, 20.0, 5.0, 5.0), batches=4)
    assert [each.scheme for each in private([part, slow_start])] == ["masked", "bfv"]


def test_too_few_batches_to_leave_any_out_all_count() -> None:
    assert case("plain", timed(6.0, 2.0, 2.0), batches=2).batch_seconds == 3.0
    assert against(BFV, case("plain", timed(0.0), batches=1)) is None


# Losses --------------------------------------------------------------------------------------------------------------


def losing(*losses: float | None, batches: int = 3) -> Case:
    """A case with these losses."""
    each = RoundSample(batches=batches, train_seconds=1.0, bytes_sent=0, bytes_received=0)
    return case("bfv", Sample(rounds=(each,), batch_losses=losses))


THEIRS = (1.0, 0.5, 0.5)


def test_parity_is_the_largest_difference_of_two_losses() -> None:
    assert parity(losing(1.0, 0.5, 0.25), losing(1.0, 0.5, 0.75)) == 0.5


def test_a_loss_that_nobody_has_does_not_count() -> None:
    assert parity(losing(1.0, None, 0.5), losing(1.0, None, 0.5)) == 0.0
    assert parity(losing(1.0, nan, 0.5), losing(1.0, None, 0.5)) == 0.0, "JSON makes null of NaN"


def test_losses_beyond_the_first_epoch_do_not_count() -> None:
    assert parity(losing(*THEIRS, 0.9), losing(*THEIRS)) == 0.0


def test_a_loss_that_only_one_has_is_infinitely_far() -> None:
    assert parity(losing(1.0, None, 0.5), losing(*THEIRS)) == inf
    assert parity(losing(*THEIRS), losing(1.0, None, 0.5)) == inf


def test_an_infinite_loss_is_infinitely_far() -> None:
    assert parity(losing(1.0, inf, 0.5), losing(*THEIRS)) == inf


def test_too_few_losses_are_infinitely_far() -> None:
    assert parity(losing(1.0, 0.5), losing(*THEIRS)) == inf
    assert parity(losing(), losing(*THEIRS)) == inf


def test_without_any_loss_there_is_no_parity() -> None:
    assert parity(losing(None, None, None), losing(None, None, nan)) is None


@pytest.mark.parametrize("ours", list(permutations([1.0, 2.0, nan])))
def test_a_loss_that_is_no_number_counts_wherever_it_stands(ours: tuple[float, ...]) -> None:
    assert parity(losing(*ours), losing(1.0, 1.0, 1.0)) == inf


def test_one_run_that_diverges_is_enough() -> None:
    good, bad = losing(1.0, 1.0, 1.0), losing(1.0, 1.0, nan)
    both = case("bfv", *good.samples, *bad.samples)
    assert parity(both, case("plain + projection", *good.samples, *good.samples)) == inf
    assert parity(both, None) is parity(both, both) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0.0, "0"), (7.89e-05, "7.9e-05"), (0.5, "5.0e-01"), (inf, "diverged")]
)
def test_a_difference_of_losses_in_words(value: float | None, shown: str) -> None:
    assert difference(value) == shown
