"""What each side of an on-line lookup can do with all it sees, when ids can be guessed (phone numbers).

The Host has digests of all of the Collaborator's ids, and points of its choice under the Collaborator's scalar; every
test of a guess costs it one of those, which the Collaborator counts. The Collaborator has blinded points: it cannot
test a guess, nor see that an id was looked up before. Two weaker designs fail here: hashes in place of digests under a
secret scalar, and one blinding scalar for a whole session.
"""

from __future__ import annotations

import hashlib
from typing import Any

from benchmarks.harness.pump import pump
from protocols.core.randomness import OsRandomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.lookup import Directory, LookupPoints, LookupReplies, Population, PopulationDigests, lookup_id
from protocols.psi import hash_ids, pair_id
from protocols.psi.curve import Scalar, digest, encode_ids, multiply

PAIR = lookup_id(pair_id(b"\x07" * 32, b"\x08" * 32, b"\x09" * 32))
DICTIONARY = [f"+49-30-{at:04d}" for at in range(300)]
HELD = DICTIONARY[100:200]


def pieces(data: bytes, size: int) -> set[bytes]:
    return {data[at : at + size] for at in range(0, len(data), size)}


class Session:
    """One, with all that crosses.

    Attributes:
        digests: the population's.
        asked, answered: points of each lookup.
    """

    def __init__(self, pair: bytes = PAIR) -> None:
        self.population = Population(hash_ids(pair, HELD), OsRandomness())
        self.directory = Directory(pair, OsRandomness())
        talk = pump(self.directory.register(), self.population.register())
        sent = [each.digests for each in talk.from_right if isinstance(each, PopulationDigests)]
        self.digests = pieces(b"".join(sent), 16)
        self.asked: list[bytes] = []
        self.answered: list[bytes] = []

    def find(self, ids: list[str]) -> Any:
        """A lookup."""
        return pump(self.directory.find(ids), self._answer()).left

    def _answer(self) -> Steps[None]:
        message = received((yield Receive(LookupPoints)), LookupPoints)
        reply: LookupReplies = self.population.answer(message)
        self.asked.append(message.points)
        self.answered.append(reply.points)
        yield Send(reply)


def test_hashes_would_show_the_population_to_a_dictionary() -> None:
    """The weak design: salted hashes of the ids, in any order."""
    sent = {hashlib.sha256(PAIR + each.encode()).digest() for each in HELD}
    assert [each for each in DICTIONARY if hashlib.sha256(PAIR + each.encode()).digest() in sent] == HELD


def test_the_host_learns_of_the_ids_that_it_has_looked_up_and_of_no_others() -> None:
    session = Session()
    looked_up = [*DICTIONARY[95:105], "nobody"]
    found = session.find(looked_up)
    assert [each for each, at in zip(looked_up, found, strict=True) if at >= 0] == DICTIONARY[100:105]
    # Everything that it can make of guesses with what it has: hashes, its own scalars, and points under the other's.
    replies, hashed = session.answered[0], encode_ids(PAIR, DICTIONARY)
    own = Scalar(OsRandomness())
    made = [hashed, multiply(own, hashed), multiply(own, replies), replies, multiply(own.inverse(), replies)]
    # A reply unblinded gives what it should give, and each gives one digest only.
    assert not session.digests & {each for points in made for each in pieces(digest(PAIR, points), 16)}
    assert len(session.digests) == len(HELD)


def test_each_guess_costs_a_point_that_the_collaborator_counts() -> None:
    """Also one made by hand: a blinded hash that was multiplied once more, or a sum of nothing that it knows."""
    session = Session()
    blind, other = Scalar(OsRandomness()), Scalar(OsRandomness())
    guess = encode_ids(PAIR, [HELD[0]])
    reply = session.population.answer(LookupPoints(multiply(other, multiply(blind, guess)))).points
    point = multiply(blind.inverse(), multiply(other.inverse(), reply))
    assert digest(PAIR, point) in session.digests, "one point, one id"
    # What that point gives of another guess: nothing, whatever it is multiplied with.
    scalars = [Scalar(OsRandomness()) for _ in range(5)]
    others = {each for scalar in scalars for each in pieces(digest(PAIR, multiply(scalar, point)), 16)}
    assert session.digests & others == set()


def test_the_collaborator_can_test_no_guess_and_sees_no_id_twice() -> None:
    session = Session()
    for _ in range(3):
        session.find(["+49-30-0250"])
    asked = b"".join(session.asked)
    assert len(pieces(asked, 32)) == 3, "the same id is not seen to be asked again"
    hashed, scalar = encode_ids(PAIR, DICTIONARY), session.population._scalar
    seen = pieces(asked, 32) | pieces(multiply(scalar, asked), 32) | pieces(multiply(scalar.inverse(), asked), 32)
    for guess in (hashed, multiply(scalar, hashed), multiply(scalar.inverse(), multiply(scalar, hashed))):
        assert not seen & pieces(guess, 32)


def test_one_blinding_scalar_for_all_lookups_would_show_that_an_id_comes_again() -> None:
    """The weak design."""
    blind = Scalar(OsRandomness())
    first, again = (multiply(blind, encode_ids(PAIR, ["+49-30-0250"])) for _ in range(2))
    assert first == again


def test_two_sessions_and_two_pairs_have_nothing_in_common() -> None:
    """A host cannot tell from two registrations which ids are new, nor compare two collaborators."""
    sessions = Session(), Session(), Session(lookup_id(pair_id(b"\x07" * 32, b"\x08" * 32, b"\x0a" * 32)))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not sessions[one].digests & sessions[other].digests
    # Points of one that are relayed to the other.
    relayed = sessions[2].population.answer(LookupPoints(multiply(Scalar(OsRandomness()), encode_ids(PAIR, HELD))))
    assert not pieces(digest(PAIR, relayed.points), 16) & sessions[0].digests


def test_a_point_of_a_lookup_is_none_of_the_intersection() -> None:
    """The same session and pair: a domain of its own."""
    pair = pair_id(b"\x07" * 32, b"\x08" * 32, b"\x09" * 32)
    assert not pieces(encode_ids(pair, HELD), 32) & pieces(encode_ids(lookup_id(pair), HELD), 32)
    scalar = Scalar(OsRandomness())
    points = multiply(scalar, encode_ids(pair, HELD))
    assert not pieces(digest(pair, points), 16) & pieces(digest(lookup_id(pair), points), 16)
