"""BFV products against integer products mod 2^59, misuse, and the stock of masks."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.errors import InvalidCiphertext, InvalidInput, OutOfRange
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.he import bfv_wire as wire
from protocols.he import stock
from protocols.he.bfv import BfvBackend
from protocols.he.interface import MatrixShape, as_signed
from protocols.he.layout import best_layout
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.he.residues import flooding_noise
from protocols.he.stock import Stock
from tests.protocols.he.bfv_helpers import T, Watched, backend, compose, public, scaled_noise, secret

SIDES = st.integers(1, 45)


def expected(factor, matrix, addend):
    return ((factor.astype(object) @ matrix.astype(object) + addend.astype(object)) % T).astype(np.uint64)


def inputs(shape, seed=0):
    stream = SeededRandomness(seed, "bfv test")
    wide = stream.ring((shape.m, shape.k), min(shape.factor_bits + 1, 59)).astype(np.int64)
    factor = wide - (1 << min(shape.factor_bits, 58))
    factor = np.maximum(factor, 1 - (1 << shape.factor_bits))
    return factor, stream.ring((shape.k, shape.n), 59), stream.ring((shape.m, shape.n), 59)


def exchange(parameters, shape, factor, matrix, addend):
    bundle = secret(parameters).encrypt(matrix, shape)
    operand = public(parameters).load_operand(bundle, shape)
    reply = public(parameters).multiply_add(factor, operand, addend, shape)
    return secret(parameters).decrypt(reply, shape)


@settings(max_examples=12, deadline=None)
@given(SIDES, SIDES, SIDES, st.integers(1, 26), st.integers(0, 1 << 30))
def test_products_are_exact(m, k, n, factor_bits, seed):
    shape = MatrixShape(m, k, n, factor_bits)
    factor, matrix, addend = inputs(shape, seed)
    assert (exchange(TRAINING, shape, factor, matrix, addend) == expected(factor, matrix, addend)).all()


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(128, 20, 20), (20, 128, 20), (1, 1, 1), (129, 7, 1), (3, 200, 90), (1, 1, 9000), (1, 9000, 1), (9000, 1, 1)],
)
def test_products_larger_than_a_ciphertext(m, k, n):
    shape = MatrixShape(m, k, n, 19)
    factor, matrix, addend = inputs(shape)
    assert (exchange(TRAINING, shape, factor, matrix, addend) == expected(factor, matrix, addend)).all()


@pytest.mark.parametrize(("m", "k", "n"), [(5, 20, 20), (20, 33, 3)])
def test_factors_that_fill_the_ring(m, k, n):
    shape = MatrixShape(m, k, n, 59)
    stream = OsRandomness()
    factor = as_signed(stream.ring((m, k), 59))
    matrix, addend = stream.ring((k, n), 59), stream.ring((m, n), 59)
    assert (exchange(TRIPLES, shape, factor, matrix, addend) == expected(factor, matrix, addend)).all()


@pytest.mark.parametrize(("parameters", "factor_bits"), [(TRAINING, 26), (TRIPLES, 58), (TRIPLES, 59)])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("entry", [T - 1, T // 2, 0])
def test_edges_of_the_range(parameters, factor_bits, sign, entry):
    shape = MatrixShape(7, 19, 5, factor_bits)
    factor = np.full((7, 19), sign * ((1 << factor_bits) - 1), np.int64)
    matrix, addend = np.full((19, 5), entry, np.uint64), np.full((7, 5), T - 1, np.uint64)
    assert (exchange(parameters, shape, factor, matrix, addend) == expected(factor, matrix, addend)).all()


def test_a_factor_of_zeros_still_hides_the_addend_under_encryption():
    shape = MatrixShape(5, 20, 3, 26)
    _, matrix, addend = inputs(shape)
    assert (exchange(TRAINING, shape, np.zeros((5, 20), np.int64), matrix, addend) == addend).all()


def test_an_operand_serves_other_batch_sizes():
    first = MatrixShape(128, 20, 20, 26)
    _, matrix, _ = inputs(first)
    operand = public().load_operand(secret().encrypt(matrix, first), first)
    for m, factor_bits in ((1, 26), (16, 19), (300, 20), (128, 26)):
        shape = MatrixShape(m, 20, 20, factor_bits)
        factor, _, addend = inputs(shape, m)
        reply = public().multiply_add(factor, operand, addend, shape)
        assert (secret().decrypt(reply, shape) == expected(factor, matrix, addend)).all()


def test_two_threads_at_once_lose_and_share_no_mask():
    """One prepares while the other multiplies. A mask prepared may be taken before it is counted: 0 is a true count."""
    shape = MatrixShape(40, 20, 20, 26)
    factor, matrix, addend = inputs(shape)
    evaluator, made = Watched(), []
    make = evaluator._make_masks
    evaluator._make_masks = lambda count, seed: made.extend([None] * count) or make(count, seed)
    operand = evaluator.load_operand(secret().encrypt(matrix, shape), shape)

    def work(number):
        if number % 2:
            evaluator.prepare(shape)
            return None
        return evaluator.multiply_add(factor, operand, addend, shape)

    with ThreadPoolExecutor(2) as pool:
        replies = [reply for reply in pool.map(work, range(12)) if reply is not None]
    for reply in replies:
        assert (secret().decrypt(reply, shape) == expected(factor, matrix, addend)).all()
    assert len(made) == len(evaluator.seen) + len(evaluator._stock)
    c1 = {seen[1].tobytes() for seen in evaluator.seen}
    assert len(c1) == sum(len(reply.parts) for reply in replies) == 6 * best_layout(shape, TRAINING).reply_parts


def test_the_bytes_of_a_training_batch():
    """Operands and replies of the three products of one batch: 1.87 MB, where 3 MB is the most that is acceptable."""
    total = 0
    for m, k, n, bits in ((128, 20, 20, 23), (128, 20, 20, 18), (20, 128, 20, 17)):
        shape = MatrixShape(m, k, n, bits)
        factor, matrix, addend = inputs(shape)
        bundle = secret().encrypt(matrix, shape)
        reply = public().multiply_add(factor, public().load_operand(bundle, shape), addend, shape)
        total += sum(len(part) for part in (*bundle.parts, *reply.parts))
    assert total < 1_870_000


# ---- misuse


@pytest.mark.parametrize(
    "shape",
    [MatrixShape(1, 1, 1, 45), MatrixShape(1, 20000, 1, 26), MatrixShape(0, 1, 1, 26), MatrixShape(1, 1, 1, 60)],
)
def test_check_refuses_what_cannot_be_flooded(shape):
    with pytest.raises(InvalidInput):
        backend().check(shape)
    with pytest.raises(InvalidInput):
        secret().encrypt(np.zeros((max(shape.k, 1), 1), np.uint64), shape)
    with pytest.raises(InvalidInput):
        public().prepare(shape)


def test_check_accepts_the_shapes_of_training():
    for shape in (MatrixShape(128, 20, 20, 26), MatrixShape(4096, 512, 512, 23), MatrixShape(512, 4096, 512, 20)):
        backend().check(shape)
    backend(TRIPLES).check(MatrixShape(4096, 512, 512, 59))


SHAPE = MatrixShape(3, 4, 5, 20)


def operand_for(shape=SHAPE, evaluator=None):
    return (evaluator or public()).load_operand(secret().encrypt(np.ones((shape.k, shape.n), np.uint64), shape), shape)


@pytest.mark.parametrize(
    ("factor", "addend", "shape", "error"),
    [
        (np.zeros((3, 5), np.int64), None, SHAPE, InvalidInput),
        (np.zeros((3, 4), np.int32), None, SHAPE, InvalidInput),
        (np.zeros((3, 4)), None, SHAPE, InvalidInput),
        (np.full((3, 4), 1 << 20), None, SHAPE, OutOfRange),
        (np.full((3, 4), -(1 << 20)), None, SHAPE, OutOfRange),
        (np.full((3, 4), -(1 << 63)), None, SHAPE, OutOfRange),
        (None, np.zeros((3, 4), np.uint64), SHAPE, InvalidInput),
        (None, np.zeros((3, 5), np.int64), SHAPE, InvalidInput),
        (None, np.full((3, 5), T, np.uint64), SHAPE, OutOfRange),
        (None, None, MatrixShape(3, 4, 6, 20), InvalidInput),
        (None, None, MatrixShape(3, 3, 5, 20), InvalidInput),
        (None, None, MatrixShape(3, 4, 5, 50), InvalidInput),
        (np.full((3, 4), 25), None, MatrixShape(3, 4, 5, 20, 99), OutOfRange),
        (np.full((3, 4), -25), None, MatrixShape(3, 4, 5, 20, 99), OutOfRange),
        (np.full((3, 4), -(1 << 63)), None, MatrixShape(3, 4, 5, 20, 99), OutOfRange),
        (None, None, MatrixShape(3, 4, 5, 20, 0), InvalidInput),
    ],
)
def test_bad_products_are_refused(factor, addend, shape, error):
    factor = np.zeros((3, 4), np.int64) if factor is None else factor
    addend = np.zeros((3, 5), np.uint64) if addend is None else addend
    with pytest.raises(error):
        public().multiply_add(factor, operand_for(), addend, shape)


@pytest.mark.parametrize(
    ("matrix", "error"),
    [
        (np.zeros((4, 4), np.uint64), InvalidInput),
        (np.zeros((4, 5), np.int64), InvalidInput),
        (np.full((4, 5), T, np.uint64), OutOfRange),
        ([[0] * 5] * 4, InvalidInput),
    ],
)
def test_bad_operands_are_refused(matrix, error):
    with pytest.raises(error):
        secret().encrypt(matrix, SHAPE)


def test_an_operand_of_another_key_is_refused():
    for other in (public(TRAINING, 1), Watched()):  # of another engine, in the form of that
        with pytest.raises(InvalidInput, match="public key"):
            other.multiply_add(np.zeros((3, 4), np.int64), operand_for(), np.zeros((3, 5), np.uint64), SHAPE)
    with pytest.raises(InvalidCiphertext, match="another key"):
        public(TRAINING, 1).load_operand(secret().encrypt(np.ones((4, 5), np.uint64), SHAPE), SHAPE)


def test_an_operand_of_another_scheme_is_refused():
    with pytest.raises(InvalidInput):
        public().multiply_add(np.zeros((3, 4), np.int64), object(), np.zeros((3, 5), np.uint64), SHAPE)


@pytest.mark.parametrize("side", [secret, public], ids=["secret", "public"])
def test_sides_cannot_be_pickled_and_show_only_their_public_name(side):
    with pytest.raises(InvalidInput, match="stays in its process"):
        pickle.dumps(side())
    key_id = wire.key_id_of(secret().public_key()).hex()
    assert repr(side()) == f"<{type(side()).__name__} {TRAINING.name} key {key_id}>"


# ---- masks


def test_prepared_masks_are_used_once_and_then_made_afresh():
    evaluator = Watched()
    replies = best_layout(SHAPE, TRAINING).reply_parts
    made = []
    make = evaluator._make_masks
    evaluator._make_masks = lambda count, seed: made.extend([None] * count) or make(count, seed)
    assert [evaluator.prepare(SHAPE) for _ in range(2)] == [1, 2]
    operand, zero = operand_for(evaluator=evaluator), np.zeros((3, 4), np.int64)
    for used in range(1, 4):
        evaluator.multiply_add(zero, operand, np.zeros((3, 5), np.uint64), SHAPE)
        assert len(evaluator._stock) == max(0, 2 - used) * replies
        assert len(made) == max(2, used) * replies
    assert evaluator.prepare(SHAPE) == 1


def test_replies_to_one_product_share_no_c1_and_no_noise():
    evaluator, owner = Watched(), secret()
    operand = evaluator.load_operand(owner.encrypt(np.ones((4, 5), np.uint64), SHAPE), SHAPE)
    evaluator.prepare(SHAPE)
    replies = [
        evaluator.multiply_add(np.ones((3, 4), np.int64), operand, np.zeros((3, 5), np.uint64), SHAPE) for _ in range(3)
    ]
    assert len({reply.parts for reply in replies}) == 3
    places = evaluator.places[0]
    noise = [scaled_noise(owner, seen)[places] for seen in evaluator.seen]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # residues mod 48-bit primes agree by chance once in 2^33 tests; noise is as far apart as fresh flooding is
        assert (evaluator.seen[one][1] != evaluator.seen[other][1]).mean() > 0.9999
        apart = np.abs(noise[one] - noise[other]).astype(float) / T
        assert apart.max() > 2.0 ** (TRAINING.flood_bits - 2)  # fails once in 10^9
        assert apart.min() > 2.0 ** (TRAINING.flood_bits - 40)


def test_a_reply_holds_c0_at_its_results_and_nowhere_else():
    evaluator = Watched()
    operand = evaluator.load_operand(secret().encrypt(np.ones((4, 5), np.uint64), SHAPE), SHAPE)
    reply = evaluator.multiply_add(np.ones((3, 4), np.int64), operand, np.zeros((3, 5), np.uint64), SHAPE)
    (part,) = reply.parts
    assert len(evaluator.places[0]) == 15
    assert len(part) == wire.HEADER_BYTES + -(-15 * 65 // 8) + TRAINING.degree * 76 // 8


def test_prepared_operands_are_used_once_and_share_no_seed():
    owner = backend().generate()
    evaluator = backend().load_public(owner.public_key())
    shape = MatrixShape(128, 40, 20, 23)
    factor, matrix, addend = inputs(shape)
    assert [owner.prepare(shape) for _ in range(2)] == [1, 2]
    made = []
    make = owner._make_zeros
    owner._make_zeros = lambda seeds: made.extend(seeds.of_c1) or make(seeds)
    bundles = [owner.encrypt(matrix, shape) for _ in range(3)]
    assert len(owner._stock) == 0
    assert len(made) == len(bundles[0].parts) == 2
    bodies = [part[wire.HEADER_BYTES :] for bundle in bundles for part in bundle.parts]
    bodies.append(owner.public_key()[wire.HEADER_BYTES :])
    assert len({body[: wire.SEED_BYTES] for body in bodies}) == len({body[wire.SEED_BYTES :] for body in bodies}) == 7
    for bundle in bundles:
        reply = evaluator.multiply_add(factor, evaluator.load_operand(bundle, shape), addend, shape)
        assert (owner.decrypt(reply, shape) == expected(factor, matrix, addend)).all()


def test_a_bound_on_rows_saves_replies_and_is_exact():
    wide, bounded = MatrixShape(128, 20, 1, 32), MatrixShape(128, 20, 1, 32, 20 << 19)
    assert best_layout(bounded, TRAINING).reply_parts == 1 < best_layout(wide, TRAINING).reply_parts
    factor, matrix, addend = inputs(MatrixShape(128, 20, 1, 19))
    factor[5] = 0
    factor[5, 7] = 20 << 19  # all that a row may have in one entry
    assert (exchange(TRAINING, bounded, factor, matrix, addend) == expected(factor, matrix, addend)).all()


def test_row_sums_that_leave_a_word_are_refused_too():
    shape = MatrixShape(1, 64, 1, 59, 1 << 20)
    operand = public(TRIPLES).load_operand(secret(TRIPLES).encrypt(np.zeros((64, 1), np.uint64), shape), shape)
    with pytest.raises(OutOfRange, match="row"):
        public(TRIPLES).multiply_add(np.full((1, 64), 1 << 58), operand, np.zeros((1, 1), np.uint64), shape)


def test_a_forked_process_inherits_no_stock(monkeypatch):
    """It would encrypt under the same seeds, and mask with the same masks, as its parent."""
    kept = Stock()
    kept.put("mask")
    monkeypatch.setattr(stock.os, "getpid", lambda: -1)
    assert kept.take() is None
    kept.put("own")
    assert (len(kept), kept.take(), len(kept)) == (1, "own", 0)


def flooding_words(parameters, count):
    return SeededRandomness(1, "flood").ring((2, 3, count), 64)


@pytest.mark.parametrize("parameters", [TRAINING, TRIPLES], ids=lambda p: p.name)
def test_flooding_is_the_sum_of_three_uniform_integers(parameters):
    noise = compose(flooding_noise(flooding_words(parameters, 8192), parameters), parameters.data_primes)
    scaled = np.where(noise > parameters.modulus // 2, noise - parameters.modulus, noise) / 2.0**parameters.flood_bits
    scaled = scaled.astype(float)
    assert -1.5 <= scaled.min() < -1.3
    assert 1.3 < scaled.max() <= 1.5
    assert abs(scaled.mean()) < 0.03
    assert abs(scaled.std() - 0.5) < 0.02  # each has a variance of 1/12
    assert abs((np.abs(scaled) < 0.5).mean() - 2 / 3) < 0.02
    low = noise % 2**20  # negative values wrap at q, which is odd
    assert len(set(low.tolist())) > 0.99 * len(low)


@pytest.mark.parametrize("parameters", [TRAINING, TRIPLES], ids=lambda p: p.name)
def test_flooding_residues_are_those_of_one_integer(parameters):
    words, ones = flooding_words(parameters, 500), np.full((2, 3, 1), (1 << 64) - 1, np.uint64)
    words = np.concatenate((words, ones, 0 * ones), axis=2)
    low = parameters.flood_bits - 62
    three = (words[0] >> np.uint64(2)).astype(object) * 2**low + (words[1] >> np.uint64(64 - low))
    exact = three.sum(axis=0) - 3 * 2 ** (parameters.flood_bits - 1)
    assert exact[-1] == -parameters.largest_flood
    assert exact[-2] == parameters.largest_flood - 3
    for row, prime in zip(flooding_noise(words, parameters), parameters.data_primes, strict=True):
        assert (row == exact % prime).all()


def test_a_backend_shares_nothing_between_key_pairs():
    one, other = BfvBackend().generate(), backend().generate()
    assert one.public_key()[wire.HEADER_BYTES :] != other.public_key()[wire.HEADER_BYTES :]
