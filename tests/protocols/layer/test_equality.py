"""Comparisons: equal values pass, others end the conversation, and nothing but that is said."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import InvalidPoint, VerificationFailed
from protocols.core.sender import Sender
from protocols.layer.equality import Comparison
from protocols.layer.messages import EqualityConfirmation, EqualityProof
from protocols.psi.curve import LOW_ORDER
from tests.protocols.layer.helpers import tampering

VALUE = np.array([[3], [1 << 58]], np.uint64)
OTHER = np.array([[3], [1 << 58 | 1]], np.uint64)


H, C = Sender.HOST, Sender.COLLABORATOR
P = 2**255 - 19


def compare(
    host: Any, collaborator: Any, places: tuple[bytes, bytes] = (b"here", b"here"), begins: Sender = C, **tamper: Any
) -> Any:
    """The messages of one comparison; `tamper` changes some of one type before they are sent."""
    theirs, ours = Comparison(begins, places[1], collaborator), Comparison(begins.other, places[0], host)
    ends = ours.prove(theirs.element, "host sees it"), theirs.verify("collaborator sees it")
    if tamper:
        ends = tuple(tampering(end, tamper["kind"], tamper["change"]) for end in ends)
    return pump(*ends), theirs


@pytest.mark.parametrize("begins", [C, H], ids=["collaborator", "host"])
def test_equal_values_pass_at_both(begins: Sender) -> None:
    talk, _ = compare(VALUE, VALUE.copy(), begins=begins)
    assert [type(message) for message in talk.from_left + talk.from_right] == [EqualityProof, EqualityConfirmation]


@pytest.mark.parametrize("values", [(OTHER, VALUE), (VALUE, OTHER), (VALUE[:1].copy(), VALUE)])
def test_other_values_are_seen_by_the_collaborator_first(values: Any) -> None:
    with pytest.raises(VerificationFailed, match="collaborator sees it"):
        compare(*values)


@pytest.mark.parametrize("places", [(b"here", b"there"), (b"", b"here")])
def test_a_proof_for_another_place_is_none(places: tuple[bytes, bytes]) -> None:
    with pytest.raises(VerificationFailed):
        compare(VALUE, VALUE, places)


def test_a_collaborator_that_does_not_compare_is_seen_by_the_host() -> None:
    def confirm_anyway(message: Any) -> Any:
        return replace(message, tag=bytes(32))

    with pytest.raises(VerificationFailed, match="host sees it"):
        compare(VALUE, VALUE, kind=EqualityConfirmation, change=confirm_anyway)


@pytest.mark.parametrize("sent", ["own element and tag", "the peer's element"])
def test_what_was_sent_is_no_proof_when_it_comes_back(sent: str) -> None:
    """Reflected elements: a collaborator that knows nothing plays the host's, or the host the collaborator's."""
    theirs = Comparison(C, b"here", VALUE)
    steps = theirs.verify("collaborator sees it")
    next(steps)
    reflected = EqualityProof(theirs.element, bytes(32))
    if sent == "own element and tag":
        other = Comparison(H, b"here", OTHER)
        reflected = next(other.prove(theirs.element, "")).message
    with pytest.raises(VerificationFailed):
        steps.send(reflected)


REFUSED = [*LOW_ORDER, *(u + P for u in LOW_ORDER if u + P < 2**256), P + 9, 2**255 + 9, 2**256 - 1]


@pytest.mark.parametrize("u", REFUSED, ids=hex)
def test_elements_of_low_order_are_refused_by_both(u: int) -> None:
    element = u.to_bytes(32, "little")
    with pytest.raises(InvalidPoint, match="comparison"):
        next(Comparison(H, b"here", VALUE).prove(element, ""))
    steps = Comparison(C, b"here", VALUE).verify("")
    next(steps)
    with pytest.raises(InvalidPoint, match="comparison"):
        steps.send(EqualityProof(element, bytes(32)))


def test_nothing_on_the_wire_repeats_or_follows_from_the_value() -> None:
    """The same value under fresh secrets: all messages are new, so nobody can try values on them later."""
    seen = set()
    for _ in range(20):
        talk, theirs = compare(VALUE, VALUE)
        proof, confirmation = *talk.from_left, *talk.from_right
        seen |= {theirs.element, proof.element, proof.tag, confirmation.tag}
    assert len(seen) == 80


def test_neither_side_shows_its_value_or_secret() -> None:
    for side in Sender:
        assert re.fullmatch(r"<Comparison at the (host|collaborator)>", repr(Comparison(side, b"here", VALUE)))
