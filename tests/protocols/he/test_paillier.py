"""Paillier products are exact, secrets stay inside, and `phe` agrees."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from phe import paillier as phe

from protocols.core import multi_buffer
from protocols.core.errors import InvalidInput, MissingExtra, OutOfRange, SecureHflError
from protocols.core.randomness import OsRandomness, SeededRandomness
from protocols.he import stock
from protocols.he.interface import MAX_DIMENSION, RING_BITS, RING_MASK, MatrixShape
from protocols.he.paillier import PaillierBackend, _Pool
from protocols.he.paillier_math import OPERAND, PrivateKey
from protocols.he.paillier_parameters import (
    FLOODING_BITS,
    MAX_FACTOR_BITS,
    PAILLIER_2048,
    PAILLIER_3072,
    PARAMETER_SETS,
    PaillierParameters,
)
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import LayerShapes
from tests.protocols.he.paillier_helpers import (
    ConstantRandomness,
    draw,
    plaintexts,
    primes,
    public,
    public_with_masks,
    reference,
    run_product,
    secret,
)

SHAPES = st.builds(MatrixShape, st.integers(1, 9), st.integers(1, 7), st.integers(1, 40), st.integers(1, 59))


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 1 << 30))
def test_products_are_exact(shape: MatrixShape, seed: int) -> None:
    inputs = draw(shape, SeededRandomness(seed, "product"))
    assert np.array_equal(run_product(secret(), public(), shape, inputs), reference(*inputs))


@pytest.mark.parametrize("mask", [0x00, 0xFF])
@pytest.mark.parametrize("shape", [MatrixShape(3, 5, 4, 26), MatrixShape(11, 1, 1, 1), MatrixShape(4, 16, 33, 62)])
@pytest.mark.parametrize("entry", ["largest", "smallest", "zero"])
def test_the_edges_never_carry_into_the_next_slot(entry: str, shape: MatrixShape, mask: int) -> None:
    limit = (1 << shape.factor_bits) - 1
    factor = np.full((shape.m, shape.k), {"largest": limit, "smallest": -limit, "zero": 0}[entry], dtype=np.int64)
    factor[0, 0] = -factor[0, 0]
    matrix = np.full((shape.k, shape.n), RING_MASK, dtype=np.uint64)
    addend = np.full((shape.m, shape.n), RING_MASK if mask else 0, dtype=np.uint64)
    got = run_product(secret(), public_with_masks(ConstantRandomness(mask)), shape, (factor, matrix, addend))
    assert np.array_equal(got, reference(factor, matrix, addend))


def test_a_fresh_default_key_works_end_to_end() -> None:
    name = PaillierBackend().name
    assert name == "paillier-3072"
    shape = MatrixShape(3, 20, 23, 17)
    inputs = draw(shape)
    assert np.array_equal(run_product(secret(name), public(name), shape, inputs), reference(*inputs))


def test_full_randomness_works_end_to_end_and_sends_no_h() -> None:
    name = "paillier-2048-full"
    assert len(secret(name).public_key()) < len(secret().public_key())
    shape = MatrixShape(3, 2, 5, 20)
    inputs = draw(shape)
    public(name).prepare(shape)
    secret(name).prepare(shape)
    assert np.array_equal(run_product(secret(name), public(name), shape, inputs), reference(*inputs))


def test_an_operand_serves_products_of_any_m() -> None:
    shape = MatrixShape(4, 3, 5, 12)
    _, matrix, _ = draw(shape)
    operand = public().load_operand(secret().encrypt(matrix, shape), shape)
    for m in (1, 4, 30):
        wanted = dataclasses.replace(shape, m=m)
        factor, _, addend = draw(wanted)
        reply = public().multiply_add(factor, operand, addend, wanted)
        assert np.array_equal(secret().decrypt(reply, wanted), reference(factor, matrix, addend))


def test_bytes_of_a_training_batch_at_3072_bits() -> None:
    shapes = LayerShapes(20, 20, LayerParameters())
    products = shapes.forward(128), shapes.feature_gradient(128), shapes.weight_gradient(128)
    layouts = [PAILLIER_3072.layout(shape) for shape in products]
    assert [(x.operand_ciphertexts, x.reply_ciphertexts) for x in layouts] == [(20, 128), (20, 128), (128, 20)]
    total = sum(x.operand_ciphertexts + x.reply_ciphertexts for x in layouts) * PAILLIER_3072.ciphertext_bytes
    assert total < 400_000


def test_narrow_rows_share_ciphertexts() -> None:
    layout = PAILLIER_3072.layout(MatrixShape(128, 20, 1, 17))
    assert (layout.row_products, layout.reply_ciphertexts) == (128, 7)


@settings(max_examples=200)
@given(
    st.builds(
        MatrixShape,
        st.integers(1, MAX_DIMENSION),
        st.integers(1, MAX_DIMENSION),
        st.integers(1, 500),
        st.integers(1, MAX_FACTOR_BITS),
    )
)
def test_layouts_hide_and_hold_the_worst_case(shape: MatrixShape) -> None:
    layout = PAILLIER_2048.layout(shape)
    slot_bits = 8 * layout.slot_bytes
    mask_values = 3 * ((1 << layout.mask_bits) - 1)
    largest_product = shape.k * ((1 << shape.factor_bits) - 1) << RING_BITS
    assert largest_product <= layout.offset << RING_BITS
    assert largest_product + ((layout.offset + mask_values) << RING_BITS) < 1 << slot_bits
    assert layout.offset << FLOODING_BITS <= 1 << layout.mask_bits
    columns = [column for chunk in layout.chunks for column in range(shape.n)[chunk]]
    assert columns == list(range(shape.n))
    assert all(chunk.stop - chunk.start <= layout.slots for chunk in layout.chunks)
    assert layout.fold == 1 or len(layout.chunks) == 1
    assert slot_bits * layout.slots <= layout.plaintext_bits < PAILLIER_2048.key_bits


def test_phe_and_we_decrypt_each_other() -> None:
    p, q = primes()
    theirs = phe.PaillierPrivateKey(phe.PaillierPublicKey(p * q), p, q)
    shape = MatrixShape(2, 3, 4, 20)
    factor, matrix, addend = draw(shape)
    bundle = secret().encrypt(matrix, shape)
    ours = secret()._public.read(bundle, OPERAND, PAILLIER_2048.layout(shape))
    slot_bits = 8 * PAILLIER_2048.layout(shape).slot_bytes
    for c, row in zip(ours, matrix.tolist(), strict=True):
        assert theirs.raw_decrypt(int(c)) == sum(x << (slot_bits * j) for j, x in enumerate(row))
    numbers = [0, 1, p * q - 1, int(addend[0, 0])]
    assert secret()._key.decrypt([mpz(theirs.public_key.raw_encrypt(m)) for m in numbers]) == numbers
    reply = public().multiply_add(factor, public().load_operand(bundle, shape), addend, shape)
    raw = reply.parts[0][-shape.m * PAILLIER_2048.ciphertext_bytes :]
    size = PAILLIER_2048.ciphertext_bytes
    seen = [theirs.raw_decrypt(int.from_bytes(raw[at : at + size], "big")) for at in range(0, len(raw), size)]
    assert seen == plaintexts(secret(), reply, shape)


@pytest.mark.parametrize("name", ["paillier-2048", "paillier-3072-full"])
def test_fast_and_plain_paths_give_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = MatrixShape(9, 2, 3, 10)
    factor, matrix, addend = draw(shape)
    parameters = PARAMETER_SETS[name]

    def transcript() -> tuple[bytes, bytes, list[int]]:
        owner = PaillierBackend(parameters, SeededRandomness(1, "owner")).from_primes(
            *primes(name.removesuffix("-full"))
        )
        evaluator = PaillierBackend(parameters, SeededRandomness(2, "peer")).load_public(owner.public_key())
        bundle = owner.encrypt(matrix, shape)
        reply = evaluator.multiply_add(factor, evaluator.load_operand(bundle, shape), addend, shape)
        return bundle.parts[0], reply.parts[0], owner.decrypt(reply, shape).tolist()

    first = transcript()
    monkeypatch.setenv(multi_buffer.SWITCH, "1")
    assert not multi_buffer.available()
    assert transcript() == first


def test_prepared_randomness_is_used_up_and_never_twice() -> None:
    shape = MatrixShape(2, 3, 4, 8)
    backend = PaillierBackend(PAILLIER_2048)
    owner = backend.from_primes(*primes())
    evaluator = backend.load_public(owner.public_key())
    assert [owner.prepare(shape), owner.prepare(shape)] == [1, 2]
    assert [evaluator.prepare(shape), evaluator.prepare(shape)] == [1, 2]
    assert evaluator.prepare(dataclasses.replace(shape, m=1)) == 5
    matrix, zeros = np.zeros((3, 4), dtype=np.uint64), np.zeros((2, 4), dtype=np.uint64)
    factor = np.zeros((2, 3), dtype=np.int64)
    seen: list[int] = []
    for _ in range(4):  # two units prepared, then made on the spot
        bundle = owner.encrypt(matrix, shape)
        seen += owner._public.read(bundle, OPERAND, PAILLIER_2048.layout(shape))
        reply = evaluator.multiply_add(factor, evaluator.load_operand(bundle, shape), zeros, shape)
        size = PAILLIER_2048.ciphertext_bytes
        body = reply.parts[0][-2 * size :]
        seen += [int.from_bytes(body[:size], "big"), int.from_bytes(body[size:], "big")]
    roots = {c % owner._public.n for c in seen}  # n-th residues, whatever the plaintext
    assert len(roots) == len(seen) == 4 * 5
    assert not owner._pool._stock
    assert not evaluator._pool._stock


def test_a_pool_serves_each_unit_once_to_several_threads() -> None:
    counter = iter(range(1_000_000))
    pool = _Pool(lambda count: [mpz(next(counter)) for _ in range(count)])
    pool.add(500)
    with ThreadPoolExecutor(3) as threads:
        filled = threads.submit(lambda: [pool.add(50) for _ in range(20)])
        taken = [job.result() for job in [threads.submit(pool.take, 7) for _ in range(300)]]
        filled.result()
    units = [unit for batch in taken for unit in batch]
    assert len(units) == len(set(units)) == 2100


def test_a_forked_process_inherits_no_randomisers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parent and child would hide two messages by one."""
    counter = iter(range(100))
    pool = _Pool(lambda count: [mpz(next(counter)) for _ in range(count)])
    pool.add(5)
    monkeypatch.setattr(stock.os, "getpid", lambda: -1)
    assert pool.take(3) == [5, 6, 7]


@pytest.mark.parametrize("holder", ["secret", "key", "public"])
def test_what_holds_secrets_shows_and_gives_away_nothing(holder: str) -> None:
    thing = {"secret": secret(), "key": secret()._key, "public": public()}[holder]
    assert repr(thing) == str(thing) == f"{type(thing).__name__}(<secret>)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(SecureHflError, match="holds secrets"):
            leak(thing)


def test_short_keys_are_refused() -> None:
    for bits in (1024, 2047, 2050, 16384):
        with pytest.raises(InvalidInput, match="Paillier key"):
            PaillierParameters("weak", 9, bits)
    p, q = primes()
    with pytest.raises(InvalidInput, match="primes"):
        PaillierBackend(PAILLIER_3072).from_primes(p, q)
    with pytest.raises(InvalidInput, match="primes"):
        PrivateKey(PAILLIER_2048, mpz(p), mpz(p), OsRandomness())


def test_without_phe_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phe", None)
    with pytest.raises(MissingExtra, match=r"pip install secure-hfl\[paillier\]"):
        PaillierBackend().generate()


@pytest.mark.parametrize(
    "change", [{"m": 0}, {"k": 0}, {"n": MAX_DIMENSION + 1}, {"factor_bits": 0}, {"factor_bits": 63}]
)
def test_shapes_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="must be from"):
        PaillierBackend().check(dataclasses.replace(MatrixShape(2, 2, 2, 10), **change))
    PaillierBackend().check(MatrixShape(MAX_DIMENSION, MAX_DIMENSION, MAX_DIMENSION, MAX_FACTOR_BITS))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("factor", np.zeros((2, 3), dtype=np.int32), InvalidInput),
        ("factor", np.zeros((3, 2), dtype=np.int64), InvalidInput),
        ("factor", np.full((2, 3), 1 << 10, dtype=np.int64), OutOfRange),
        ("factor", np.full((2, 3), -(1 << 10), dtype=np.int64), OutOfRange),
        ("factor", np.full((2, 3), np.iinfo(np.int64).min, dtype=np.int64), OutOfRange),
        ("addend", np.zeros((2, 4), dtype=np.int64), InvalidInput),
        ("addend", np.zeros((4, 2), dtype=np.uint64), InvalidInput),
        ("addend", np.full((2, 4), 1 << RING_BITS, dtype=np.uint64), OutOfRange),
        ("matrix", np.zeros((4, 3), dtype=np.uint64), InvalidInput),
        ("matrix", np.full((3, 4), 1 << RING_BITS, dtype=np.uint64), OutOfRange),
    ],
)
def test_wrong_inputs_are_refused(name: str, value: np.ndarray, error: type[Exception]) -> None:
    shape = MatrixShape(2, 3, 4, 10)
    factor, matrix, addend = draw(shape)
    inputs = {"factor": factor, "matrix": matrix, "addend": addend} | {name: value}
    with pytest.raises(error):
        run_product(secret(), public(), shape, (inputs["factor"], inputs["matrix"], inputs["addend"]))
