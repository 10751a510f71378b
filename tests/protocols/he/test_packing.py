"""Packing against its definition, and what goes wrong with keys that are not as they should be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.he import bfv_wire as wire
from protocols.he.bfv import BfvPublic
from protocols.he.interface import RING_MASK, MatrixShape
from protocols.he.layout import best_layout
from protocols.he.packing import Residues, automorphism, divided, folded, number_of_pairs, paired, switching_row
from protocols.he.parameters import JOINED, TRAINING, automorphisms
from protocols.he.seal_engine import SealEngine
from tests.protocols.he.bfv_helpers import backend, compose, negacyclic, secret

DEGREE, PACKING = TRAINING.degree, TRAINING.packing
TURN = 2 * DEGREE // JOINED


def moved(polynomial: NDArray[np.object_], exponent: int) -> NDArray[np.object_]:
    """polynomial X^exponent."""
    power = np.zeros(DEGREE, object)
    power[exponent % DEGREE] = -1 if exponent % (2 * DEGREE) >= DEGREE else 1
    return negacyclic(polynomial, power)


def sigma(polynomial: NDArray[np.object_], exponent: int) -> NDArray[np.object_]:
    """X -> X^exponent."""
    out = np.zeros(DEGREE, object)
    for place, value in enumerate(polynomial):
        turns, to = divmod(place * exponent % (2 * DEGREE), DEGREE)
        out[to] = -value if turns else value
    return out


def drawn_halves(count: int) -> tuple[list[Residues], list[NDArray[np.object_]]]:
    """Polynomials, as residues and as integers modulo q."""
    stream, primes = SeededRandomness(count, "halves"), TRAINING.data_primes
    halves = [np.stack([stream.ring((DEGREE,), 47) % np.uint64(prime) for prime in primes]) for _ in range(count)]
    return halves, [compose(half, primes) for half in halves]


@pytest.mark.parametrize("count", [2, 4])
def test_folded_halves_are_the_automorphisms_of_sums_that_moved(count: int) -> None:
    halves, whole = drawn_halves(count)
    for number, found in enumerate(folded(halves, TRAINING)):
        wanted = sum(moved(half, j - 3 - j * number * TURN) for j, half in enumerate(whole))
        moduli = compose(found, TRAINING.data_primes)
        assert (moduli == sigma(np.asarray(wanted), 1 + number * TURN) % TRAINING.modulus).all()


@pytest.mark.parametrize("spacing", [4, 8, 16])
def test_a_pair_has_the_results_of_both_its_sums(spacing: int) -> None:
    """And its digits are those of the automorphism that the layout of keys says."""
    halves, (first, second) = drawn_halves(2)
    total, apart = (compose(half, TRAINING.data_primes) for half in paired(*halves, spacing, TRAINING))
    turned = moved(sigma(moved(second - moved(first, -spacing), 1), 1 + DEGREE // spacing), -1)
    assert (apart == turned % TRAINING.modulus).all()
    both = (total + apart) * pow(2, -1, TRAINING.modulus) % TRAINING.modulus
    places = np.arange(2 * spacing - 1, DEGREE, 2 * spacing)
    assert (both[places] == second[places]).all()
    assert (both[places - spacing] == first[places]).all()
    key = np.frombuffer(secret().exported(), np.int8)
    wanted = sigma(key.astype(object), 1 + DEGREE // spacing)
    assert (automorphism(key, number_of_pairs(spacing)).astype(object) == wanted).all()


def test_the_automorphisms_keep_every_pth_coefficient_and_cancel_the_others() -> None:
    polynomial = SeededRandomness(1, "trace").ring((DEGREE,), 40).astype(object)
    total = sum(sigma(polynomial, 1 + number * TURN) for number in range(JOINED))
    kept = np.where(np.arange(DEGREE) % JOINED == 0, JOINED * polynomial, 0)
    assert (np.asarray(total) == kept).all()


def test_automorphisms_of_a_key_are_those_of_a_polynomial() -> None:
    key = np.frombuffer(secret().exported(), np.int8)
    for number in range(JOINED - 1):
        wanted = sigma(key.astype(object), 1 + (number + 1) * TURN)
        assert (automorphism(key, number).astype(object) == wanted).all()
    assert TRAINING.switching_parts == automorphisms(PACKING) * len(TRAINING.data_primes)


def test_division_by_the_special_prime_is_rounded() -> None:
    modulus, special = TRAINING.modulus * TRAINING.special_prime, TRAINING.special_prime
    drawn = [int.from_bytes(OsRandomness().bytes(30), "little") % modulus for _ in range(200)]
    ends = [0, 1, special // 2, special // 2 + 1, special, modulus - 1, modulus - special // 2 - 1]
    values = np.array(drawn + ends, object)
    residues = np.stack([(values % prime).astype(np.uint64) for prime in TRAINING.primes])
    wanted = (values + special // 2) // special % TRAINING.modulus
    assert (compose(divided(residues, TRAINING), TRAINING.data_primes) == wanted).all()


def test_a_reply_of_several_sums_holds_all_their_results_and_one_c1() -> None:
    shape, stream = MatrixShape(136, 20, 20, 20), OsRandomness()
    layout = best_layout(shape, TRAINING)
    assert (layout.sums, layout.reply_parts) == (8, 1)
    owner = backend().generate()
    evaluator = backend().load_public(owner.public_key())
    matrix, addend = stream.ring((20, 20), 59), stream.ring((136, 20), 59)
    factor = stream.ring((136, 20), 20).astype(np.int64)
    reply = evaluator.multiply_add(factor, evaluator.load_operand(owner.encrypt(matrix, shape), shape), addend, shape)
    assert len(reply.parts[0]) == wire.HEADER_BYTES + TRAINING.reply_bytes(136 * 20)
    wanted = (factor.view(np.uint64) @ matrix + addend) & RING_MASK
    assert (owner.decrypt(reply, shape) == wanted).all()


def with_switching_key(index: int, change: int) -> bytes:
    """A public key, one of whose key-switching keys has another error or message."""
    owner, primes = secret(), TRAINING.primes
    head, body = owner.public_key()[: wire.HEADER_BYTES], owner.public_key()[wire.HEADER_BYTES :]
    zero, keys = wire.key_bodies(body, TRAINING)
    seed, c0 = wire.read_operand(keys[index], TRAINING, primes)
    c0[:, 5] = (c0[:, 5].astype(object) + change) % np.array(primes, object)
    keys[index] = seed + wire.pack_residues(c0, primes)
    return head + zero + b"".join(keys)


@pytest.mark.parametrize("index", [0, TRAINING.switching_parts - 1])
def test_a_judge_refuses_a_key_switching_key_that_is_not_of_the_key(index: int) -> None:
    """It would make the replies of an honest evaluator wrong."""
    assert backend().open_key(secret().public_key(), secret().exported())
    with pytest.raises(InvalidCiphertext, match="key-switching"):
        backend().open_key(with_switching_key(index, 64), secret().exported())


def test_a_key_without_all_of_its_key_switching_keys_is_refused() -> None:
    with pytest.raises(InvalidCiphertext, match="bytes, not"):
        backend().load_public(secret().public_key()[: -TRAINING.switching_part_bytes])


def test_rows_of_a_switching_message_are_the_key_times_the_special_prime_over_p() -> None:
    key = np.frombuffer(secret().exported(), np.int8)
    for number, packing in ((1, JOINED), (JOINED, 2)):
        row = switching_row(key, number, 2, TRAINING)
        prime = TRAINING.data_primes[2]
        back = row.astype(object) * packing * pow(TRAINING.special_prime, -1, prime) % prime
        assert (np.where(back == prime - 1, -1, back) == automorphism(key, number)).all()


def test_a_product_by_zero_packs_nothing_and_still_hides() -> None:
    """All digits are zero then, which SEAL refuses to multiply by."""
    engine, shape = SealEngine(TRAINING), MatrixShape(136, 20, 20, 20)
    evaluator = BfvPublic(engine, secret().public_key(), OsRandomness())
    operand = evaluator.load_operand(secret().encrypt(np.ones((20, 20), np.uint64), shape), shape)
    addend = OsRandomness().ring((136, 20), 59)
    reply = evaluator.multiply_add(np.zeros((136, 20), np.int64), operand, addend, shape)
    assert (secret().decrypt(reply, shape) == addend).all()
