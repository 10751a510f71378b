"""What the Host can make of a count of common ids: how many, and not which, as long as it keeps to the protocol.

Digests that come back in the Host's order would name the ids. So does, even shuffled, a scalar of its own for each id,
which no Collaborator can tell from one for all: against a Host that changes its program, a count is a PSI.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations
from typing import Any

import numpy as np

from benchmarks.harness.pump import pump
from protocols.core.randomness import ChaCha20Randomness, OsRandomness
from protocols.core.steps import ReceiveMany, Send
from protocols.overlap import OverlapAnswer, OverlapCount, OverlapDigests, OverlapPoints, OverlapSize, Terms, overlap_id
from protocols.psi import hash_ids, pair_id
from protocols.psi.comparison import match
from protocols.psi.curve import Scalar, digest, encode_ids, multiply
from tests.protocols.overlap.counted import PAIR, opened

EXACT = Terms(1, 1)
OURS = ["a", "b", "c"]


def run(theirs: list[str], seed: int) -> tuple[OverlapCount, OverlapAnswer, Any]:
    """One session, and the roles."""
    draws = ChaCha20Randomness(seed.to_bytes(32, "little"))
    host = OverlapCount(hash_ids(PAIR, OURS), OsRandomness(), EXACT)
    other = OverlapAnswer(hash_ids(PAIR, theirs), draws, EXACT)
    return host, other, pump(host.run(opened(len(theirs), EXACT)), other.run(opened(len(OURS), EXACT)))


def pattern(host: OverlapCount, talk: Any) -> tuple[tuple[int, int], ...]:
    """Which digest equals which of the Collaborator's points: all of the Host's view that depends on the ids."""
    points = b"".join(each.points for each in talk.from_right if isinstance(each, OverlapPoints))
    digests = b"".join(each.digests for each in talk.from_right if isinstance(each, OverlapDigests))
    raised = digest(PAIR, multiply(host._own.scalar, points))
    first, second = match([digests], [raised])
    return tuple(sorted(zip(first.tolist(), second.tolist())))


def test_where_digests_are_equal_says_nothing_about_which_ids_are() -> None:
    """All patterns of two pairs come, equally often, whichever two ids are shared: 18 of them, by chi-square."""
    places = [tuple(zip(rows, at)) for rows in combinations(range(3), 2) for at in permutations(range(3), 2)]
    runs = 180
    for shared in (["a", "b"], ["b", "c"]):
        seen: Counter[Any] = Counter()
        for seed in range(runs):
            host, _, talk = run([*shared, "x"], seed)
            assert talk.left == talk.right == 2
            seen[pattern(host, talk)] += 1
        assert set(seen) == {tuple(sorted(each)) for each in places}
        expected = runs / len(places)
        statistic = sum((count - expected) ** 2 / expected for count in seen.values())
        assert statistic < 41, f"{statistic}: above the 99.9th percentile of 17 degrees of freedom"


def test_digests_in_the_hosts_order_would_name_the_ids() -> None:
    """The weak design, which is PSI's."""
    host, other, _ = run(["b", "x", "y"], 1)
    points = b"".join(host._own.masked())
    in_order = digest(PAIR, multiply(other._own.scalar, points))
    raised = digest(PAIR, multiply(host._own.scalar, b"".join(other._own.masked())))
    found = match([in_order], [raised])[0]
    assert [OURS[host._own.order[at]] for at in found] == ["b"]


def test_a_malicious_host_with_a_scalar_for_each_id_learns_which() -> None:
    """Documented in protocols/overlap/messages.py: the protocol is for semi-honest parties."""
    scalars = {each: Scalar(OsRandomness()) for each in OURS}
    sent = b"".join(multiply(scalars[each], encode_ids(PAIR, [each])) for each in OURS)
    learned = []

    def liar() -> Any:
        yield Send(OverlapPoints(0, sent))
        (points,) = yield ReceiveMany(OverlapPoints, 1)
        (digests,) = yield ReceiveMany(OverlapDigests, 1)
        pieces = {digests.digests[at : at + 16] for at in range(0, len(digests.digests), 16)}
        for each, scalar in scalars.items():
            own = digest(PAIR, multiply(scalar, points.points))
            learned.extend([each] if pieces & {own[at : at + 16] for at in range(0, len(own), 16)} else [])
        yield Send(OverlapSize(2))

    other = OverlapAnswer(hash_ids(PAIR, ["c", "x", "a"]), OsRandomness(), EXACT)
    pump(liar(), other.run(opened(3, EXACT)))
    assert learned == ["a", "c"]


def test_the_collaborator_has_points_that_equal_none_of_its_own_and_a_number() -> None:
    """It can test no guess: the Host's points are under a scalar of the run."""
    _, other, talk = run(["a", "b", "x"], 3)
    points = b"".join(each.points for each in talk.from_left if isinstance(each, OverlapPoints))
    seen = {data[at : at + 32] for data in (points, multiply(other._own.scalar, points)) for at in range(0, 96, 32)}
    guesses = encode_ids(PAIR, OURS)
    made = guesses + multiply(other._own.scalar, guesses)
    assert not seen & {made[at : at + 32] for at in range(0, len(made), 32)}
    assert [type(each) for each in talk.from_left] == [OverlapPoints, OverlapSize]


def test_a_run_has_nothing_in_common_with_another_nor_with_an_intersection() -> None:
    pair = pair_id(b"\x07" * 32, b"\x08" * 32, b"\x09" * 32)
    assert overlap_id(pair) != pair
    assert encode_ids(overlap_id(pair), ["a"]) != encode_ids(pair, ["a"])
    sent = [b"".join(each.points for each in run(["a"], seed)[2].from_left[:1]) for seed in (4, 5)]
    assert not np.isin(np.frombuffer(sent[0], "V32"), np.frombuffer(sent[1], "V32")).any()
