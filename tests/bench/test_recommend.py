"""Recommendations over made-up cases: what is fastest, when it is not, and how its seconds were found."""

from __future__ import annotations

import pytest

from secure_hfl.bench.model import LINKS, Case, LinkProfile
from secure_hfl.bench.recommend import recommend
from tests.bench.made_up import STANDARD, case, sample

LOOPBACK = LINKS[0]
MBIT = 125_000
"""Bytes a second."""


def cases() -> list[Case]:
    """bfv is slower than masked and faster than masked with its masks; paillier sends the least."""
    return [
        case("one process", sample(0.9)),
        case("plain", sample(1.0, bytes_per_batch=10)),
        case("masked", sample(2.0, offline=6.0, offline_bytes=40 * MBIT, bytes_per_batch=1000, round_trips=2)),
        case("bfv", sample(5.0, offline=1.0, bytes_per_batch=2 * MBIT, round_trips=3)),
        case("paillier", sample(20.0, bytes_per_batch=MBIT // 10, round_trips=3)),
    ]


def test_over_loopback_the_fastest_that_protects_is_taken_as_measured():
    (found,) = recommend(cases(), [LOOPBACK])
    assert found.scheme == "masked"
    assert found.seconds == {"plain": 1.0, "masked": 2.0, "bfv": 5.0, "paillier": 20.0}
    assert set(found.basis.values()) == {"measured"}
    assert "plain takes 1.00 s (measured), and protects nothing" in found.reason
    assert "masked 500 MB, bfv 500 MB" in found.reason


def test_what_is_made_ahead_counts_for_a_single_epoch_and_only_where_it_is_waited_for():
    (found,) = recommend(cases(), [LOOPBACK])
    assert found.unprepared == "bfv"
    assert found.with_offline["masked"] == 8.0
    assert found.with_offline["bfv"] == 5.0  # its offline work is done beside the training
    assert "masks take 6.00 s and 5.0 MB more" in found.reason
    assert "without a pause between them, take bfv: 5.00 s (measured) against 8.00 s" in found.reason


def test_without_a_rival_the_masks_change_nothing():
    (found,) = recommend(cases()[:3], [LOOPBACK])
    assert (found.scheme, found.unprepared) == ("masked", "masked")
    assert "Even with them it is the fastest: 8.00 s" in found.reason


def test_a_link_that_was_not_measured_is_worked_out_from_bytes_and_round_trips():
    link = LinkProfile(name="slow", megabits=2.0, round_trip_milliseconds=100.0)
    (found,) = recommend(cases(), [link])
    assert found.seconds["bfv"] == pytest.approx(5 + 10 * (2 * MBIT / (2 * MBIT) + 0.3))
    assert found.with_offline["masked"] == pytest.approx(6 + 20 + 2 + 10 * (1000 / (2 * MBIT) + 0.2))
    assert found.scheme == "masked"
    assert found.basis["bfv"] == "worked out"
    assert "(worked out)" in found.reason


def test_what_is_worked_out_from_a_few_batches_says_so():
    few = case("paillier", sample(20.0, batches=8, bytes_per_batch=MBIT, round_trips=3), batches=8)
    (found,) = recommend([*cases()[:4], few], [LINKS[3]], epoch_batches=10)
    assert found.basis["paillier"] == "worked out from 8 batches"
    assert found.basis["bfv"] == "worked out"


def test_an_epoch_worked_out_from_a_part_is_by_the_median_batch():
    uneven = sample(8.0, batches=5).rounds[0].model_copy(update={"batch_seconds": (90.0, 90.0, 1.0, 2.0, 9.0)})
    part = sample(8.0, batches=5).model_copy(update={"rounds": (uneven,)})
    (found,) = recommend([case("paillier", part, batches=5)], [LOOPBACK], epoch_batches=100)
    assert found.seconds["paillier"] == pytest.approx(200.0)


def test_where_nothing_shapes_the_link_a_whole_epoch_counts_more_than_some_batches():
    over = case("bfv", sample(1.5, batches=5), sweep="link", link=LOOPBACK, batches=5)
    (found,) = recommend([*cases(), over], [LOOPBACK], epoch_batches=10)
    assert found.basis["bfv"] == "measured"


def test_a_thin_link_turns_the_order_of_a_single_epoch():
    link = LinkProfile(name="thin", megabits=1.0, round_trip_milliseconds=1.0)
    (found,) = recommend([each for each in cases() if each.scheme != "masked"], [link])
    assert (found.scheme, found.unprepared) == ("paillier", "paillier")
    assert "masks" not in found.reason


def test_what_was_measured_over_the_link_counts_more_than_what_can_be_worked_out():
    over = case("bfv", sample(1.5, batches=5), sweep="link", link=LINKS[3], batches=5)
    (found,) = recommend([*cases(), over], [LINKS[3]], epoch_batches=10)
    assert found.seconds["bfv"] == pytest.approx(3.0)  # ten batches of 0.3 s
    assert found.basis["bfv"] == "from 5 batches, measured"
    assert found.basis["masked"] == "worked out"


def test_a_part_of_an_epoch_counts_for_the_whole_without_its_first_batches():
    (found,) = recommend([case("paillier", sample(8.0, batches=4), batches=4)], [LOOPBACK], epoch_batches=100)
    assert found.seconds["paillier"] == pytest.approx(200.0)
    assert "200 s for 100 batches (from 4 batches, measured)" in found.reason


def test_masks_of_a_part_of_an_epoch_are_an_upper_bound():
    masked = case("masked", sample(2.0, batches=5, offline=1.0, offline_bytes=MBIT), batches=5)
    (found,) = recommend([masked], [LOOPBACK], epoch_batches=50)
    assert "masks take at most 10.0 s" in found.reason


def test_each_collaborator_has_a_link_of_its_own():
    link = LinkProfile(name="slow", megabits=1.0)
    four = STANDARD.model_copy(update={"collaborators": 4})
    (found,) = recommend([case("bfv", sample(5.0, bytes_per_batch=4 * MBIT), point=four)], [link])
    assert found.seconds["bfv"] == pytest.approx(5 + 10)


def test_measured_over_several_rounds_the_epochs_contain_their_waiting():
    several = case("masked", sample(2.0, offline=6.0, offline_bytes=MBIT, rounds=3))
    (found,) = recommend([several, case("bfv", sample(3.0, rounds=3))], [LOOPBACK])
    assert "For a single epoch, take bfv" in found.reason


def test_plain_is_never_recommended():
    assert recommend([case("plain", sample(1.0)), case("plain + projection", sample(1.0))], LINKS) == ()
    assert recommend([case("bfv", refused="too wide")], LINKS) == ()
