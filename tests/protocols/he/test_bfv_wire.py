"""Everything a peer can get wrong in bytes, and the bit packing."""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
import pytest

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.he import bfv_wire as wire
from protocols.he.engines import SEAL
from protocols.he.interface import CiphertextBundle, MatrixShape
from protocols.he.parameters import TRAINING, TRIPLES
from tests.protocols.he.bfv_helpers import ENGINE, backend, public, secret

ROWS = 700
SHAPE = MatrixShape(ROWS, 20, 20, 20)
HEADER = wire.HEADER_BYTES
each_engine = pytest.mark.parametrize("engine", sorted({ENGINE, SEAL}))


def test_a_residue_at_its_prime_is_refused_and_below_it_is_not():
    primes, degree = TRAINING.data_primes, TRAINING.degree
    for residue, good in ((primes[1] - 1, True), (primes[1], False), ((1 << 48) - 1, False)):
        c0 = np.ones((3, degree), np.uint64)
        c0[1, 5] = residue
        body = bytes(wire.SEED_BYTES) + wire.pack_residues(c0, primes)
        if good:
            assert (wire.read_operand(body, TRAINING)[1] == c0).all()
        else:
            with pytest.raises(InvalidCiphertext, match="below its prime"):
                wire.read_operand(body, TRAINING)


class Draws:
    """A stream whose draws of six bytes are given, and then count up."""

    def __init__(self, *draws: int) -> None:
        self.draws, self.at = list(draws), 0

    def bytes(self, count: int) -> bytes:
        assert count % 6 == 0
        wanted = range(self.at, self.at + count // 6)
        self.at += count // 6
        return b"".join((self.draws[i] if i < len(self.draws) else i).to_bytes(6, "little") for i in wanted)


@pytest.mark.parametrize("parameters", [TRAINING, TRIPLES], ids=lambda p: p.name)
@pytest.mark.parametrize("skipped", [1, 15, 16, 17, 40_000])
def test_draws_that_are_no_residues_are_skipped_and_the_next_prime_goes_on_where_the_last_stopped(parameters, skipped):
    first = parameters.data_primes[0]
    too_large = (1 << first.bit_length()) - 1
    found = wire.uniform_of(Draws(3, *[too_large] * skipped, first, first - 1), parameters)
    assert found[0, :2].tolist() == [3, first - 1]
    degree, after = parameters.degree, skipped + 3
    assert found[0, 2:].tolist() == list(range(after, after + degree - 2))
    assert found[1].tolist() == list(range(after + degree - 2, after + 2 * degree - 2))
    assert found.shape == (len(parameters.operand_primes), degree)


def test_bits_of_a_draw_beyond_the_prime_s_do_not_count():
    found = wire.uniform_of(Draws((1 << 47) + 9, (1 << 48) - 1, 4), TRIPLES)
    assert found[0, :2].tolist() == [9, 4]


@lru_cache
def sent(kind, engine=ENGINE):
    """A good message of each kind as (parts, reader of parts)."""
    owner, evaluator = secret(engine=engine), public(engine=engine)
    if kind == "key":
        return (owner.public_key(),), lambda parts: backend(engine=engine).load_public(parts[0])
    bundle = owner.encrypt(np.ones((20, 20), np.uint64), SHAPE)
    if kind == "operand":
        return bundle.parts, lambda parts: evaluator.load_operand(CiphertextBundle(parts), SHAPE)
    operand = evaluator.load_operand(bundle, SHAPE)
    reply = evaluator.multiply_add(np.ones((ROWS, 20), np.int64), operand, np.zeros((ROWS, 20), np.uint64), SHAPE)
    return reply.parts, lambda parts: owner.decrypt(CiphertextBundle(parts), SHAPE)


def set_at(at, value):
    return lambda part: part[:at] + value + part[at + len(value) :]


def flip(at):
    return lambda part: set_at(at, bytes([part[at] ^ 1]))(part)


BYTE_FAULTS = {
    "magic": flip(0),
    "version": flip(4),
    "kind": flip(5),
    "kind unknown": set_at(5, b"\xff"),
    "parameter set": flip(6),
    "key id": flip(8),
    "key id, last byte": flip(23),
    "index": flip(24),
    "truncated": lambda part: part[:-1],
    "only a header": lambda part: part[:HEADER],
    "less than a header": lambda part: part[: HEADER - 1],
    "empty": lambda part: b"",
    "extended": lambda part: part + b"\x00",
    "not bytes": lambda part: bytearray(part),
    "nothing": lambda part: None,
}


@each_engine
@pytest.mark.parametrize("kind", ["key", "operand", "reply"])
@pytest.mark.parametrize("fault", BYTE_FAULTS)
def test_every_malformed_byte_field_is_refused(engine, kind, fault):
    parts, read = sent(kind, engine)
    read(parts)
    for at in {0, len(parts) - 1}:
        broken = (*parts[:at], BYTE_FAULTS[fault](parts[at]), *parts[at + 1 :])
        with pytest.raises(InvalidCiphertext):
            read(broken)


@each_engine
@pytest.mark.parametrize("kind", ["key", "operand"])
def test_a_residue_that_is_too_large_is_refused(engine, kind):
    """In a reply every bit pattern is a value."""
    parts, read = sent(kind, engine)
    with pytest.raises(InvalidCiphertext) as caught:
        read((parts[0][:-16] + b"\xff" * 16, *parts[1:]))
    assert str(TRAINING.primes[0]) not in str(caught.value)


@pytest.mark.parametrize("kind", ["operand", "reply"])
@pytest.mark.parametrize("tiles", [(0, 20), (10, 0), (24, 20), (12, 21), (20, 20), (10, 20), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_tiles_that_do_not_fit_are_refused(kind, tiles):
    parts, read = sent(kind)
    change = set_at(28, struct.pack("<II", *tiles))
    with pytest.raises(InvalidCiphertext):
        read(tuple(change(part) for part in parts))
    with pytest.raises(InvalidCiphertext):
        read((*parts[:-1], change(parts[-1])))


BUNDLE_FAULTS = {
    "a part missing": lambda parts: parts[:-1],
    "a part too many": lambda parts: (*parts, parts[-1]),
    "swapped": lambda parts: (parts[1], parts[0], *parts[2:]),
    "one part twice": lambda parts: (parts[0], *parts[:-1]),
    "no part": lambda parts: (),
    "a list": list,
}


@each_engine
@pytest.mark.parametrize("kind", ["operand", "reply"])
@pytest.mark.parametrize("fault", BUNDLE_FAULTS)
def test_malformed_bundles_are_refused(engine, kind, fault):
    parts, read = sent(kind, engine)
    with pytest.raises(InvalidCiphertext):
        read(BUNDLE_FAULTS[fault](parts))


@each_engine
def test_a_transparent_reply_is_refused(engine):
    parts, read = sent("reply", engine)
    c1 = TRAINING.degree * TRAINING.reply_bits // 8
    with pytest.raises(InvalidCiphertext, match="transparent"):
        read((parts[0][:-c1] + bytes(c1), *parts[1:]))


@each_engine
@pytest.mark.parametrize("kind", ["key", "operand"])
def test_a_key_or_operand_that_is_zero_is_refused(engine, kind):
    parts, read = sent(kind, engine)
    size = TRAINING.operand_bytes - wire.SEED_BYTES
    with pytest.raises(InvalidCiphertext, match="transparent"):
        read((parts[0][:-size] + bytes(size), *parts[1:]))


@pytest.mark.parametrize(("sent_kind", "read_kind"), [("operand", "reply"), ("reply", "operand")])
def test_operands_and_replies_are_not_exchangeable(sent_kind, read_kind):
    with pytest.raises(InvalidCiphertext, match="kind"):
        sent(read_kind)[1](sent(sent_kind)[0])


def test_a_reply_under_another_key_is_refused():
    with pytest.raises(InvalidCiphertext, match="another key"):
        secret(TRAINING, 1).decrypt(CiphertextBundle(sent("reply")[0]), SHAPE)


def test_a_key_of_another_set_is_refused():
    with pytest.raises(InvalidCiphertext, match="parameter set"):
        backend().load_public(secret(TRIPLES).public_key())


def test_a_bundle_of_another_type_is_refused():
    with pytest.raises(InvalidCiphertext):
        public().load_operand(None, SHAPE)


def test_a_bad_shape_is_blamed_on_this_side():
    with pytest.raises(InvalidInput):
        secret().decrypt(CiphertextBundle(sent("reply")[0]), MatrixShape(128, 20, 20, 60))


@pytest.mark.parametrize("shape", [MatrixShape(127, 20, 20, 20), MatrixShape(128, 20, 19, 20)])
def test_a_reply_for_another_shape_is_refused(shape):
    with pytest.raises(InvalidCiphertext):
        secret().decrypt(CiphertextBundle(sent("reply")[0]), shape)
