"""Ids are guessable (phone numbers, account numbers): whoever can test a guess on what he sees has the whole set."""

from __future__ import annotations

import hashlib

from protocols.core.randomness import OsRandomness
from protocols.psi import PsiPoints, PsiReceiver, PsiSender, hash_ids
from protocols.psi.curve import Scalar, digest, multiply
from tests.protocols.psi.helpers import run_psi

SESSION = b"\x07" * 32
DICTIONARY = [f"+49-30-{i:04d}" for i in range(600)]
HOST_IDS = DICTIONARY[100:160]
COLLABORATOR_IDS = DICTIONARY[150:190]


def pieces(data: bytes, size: int) -> set[bytes]:
    return {data[at : at + size] for at in range(0, len(data), size)}


def test_exchanging_hashes_shows_every_id() -> None:
    """The weak design: parties swap SHA-256(id), with a session salt that both know."""
    sent = {hashlib.sha256(SESSION + name.encode()).digest() for name in HOST_IDS}
    recovered = [name for name in DICTIONARY if hashlib.sha256(SESSION + name.encode()).digest() in sent]
    assert recovered == HOST_IDS


def test_a_transcript_shows_no_id_to_a_dictionary() -> None:
    """The collaborator, and anyone on the line, with every computation that they can make on a guess."""
    collaborator = PsiSender(hash_ids(SESSION, COLLABORATOR_IDS), OsRandomness())
    run = run_psi(PsiReceiver(hash_ids(SESSION, HOST_IDS), OsRandomness()), collaborator)
    from_host = b"".join(message.points for message in run.from_host if isinstance(message, PsiPoints))
    hashed = hash_ids(SESSION, DICTIONARY).points
    guesses = {
        "the hash": pieces(hashed, 32),
        "the hash times its own scalar": pieces(multiply(collaborator._own.scalar, hashed), 32),
        "the hash times another scalar": pieces(multiply(Scalar(OsRandomness()), hashed), 32),
    }
    seen = pieces(from_host, 32) | pieces(multiply(collaborator._own.scalar, from_host), 32)
    assert len(seen) == 2 * len(HOST_IDS)
    for name, guess in guesses.items():
        assert len(guess) == len(DICTIONARY)
        assert not seen & guess, name
    assert run.collaborator_learns == set(DICTIONARY[150:160])


def test_the_host_tests_no_guess_that_is_not_in_its_set() -> None:
    host = PsiReceiver(hash_ids(SESSION, HOST_IDS), OsRandomness())
    run = run_psi(host, PsiSender(hash_ids(SESSION, COLLABORATOR_IDS), OsRandomness()))
    points = b"".join(message.points for message in run.from_collaborator if isinstance(message, PsiPoints))
    raised = multiply(host._own.scalar, points)
    hashed = hash_ids(SESSION, DICTIONARY).points
    for guess in (hashed, multiply(host._own.scalar, hashed)):
        assert not (pieces(points, 32) | pieces(raised, 32)) & pieces(guess, 32)
        assert not pieces(digest(SESSION, raised), 16) & pieces(digest(SESSION, guess), 16)
    assert run.host_learns == set(DICTIONARY[150:160])


def test_whoever_has_the_scalar_has_the_set() -> None:
    """The attack works once the one secret is out, so the tests above fail for the right reason."""
    host = PsiReceiver(hash_ids(SESSION, HOST_IDS), OsRandomness())
    run = run_psi(host, PsiSender(hash_ids(SESSION, COLLABORATOR_IDS), OsRandomness()))
    seen = pieces(b"".join(message.points for message in run.from_host if isinstance(message, PsiPoints)), 32)
    masked = multiply(host._own.scalar, hash_ids(SESSION, DICTIONARY).points)
    recovered = [name for i, name in enumerate(DICTIONARY) if masked[32 * i : 32 * i + 32] in seen]
    assert recovered == HOST_IDS
