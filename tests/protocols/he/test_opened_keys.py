"""Keys that were opened to a judge: they decrypt as their owner does, and see what is malformed."""

from __future__ import annotations

import contextlib
import math
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.randomness import SeededRandomness
from protocols.he import bfv_wire as wire
from protocols.he.bfv import BfvSecret, Zero
from protocols.he.bit_packing import LIMB
from protocols.he.engines import SEAL
from protocols.he.interface import RING_BITS, Backend, CiphertextBundle, MatrixShape, SecretSide
from protocols.he.layout import best_layout
from protocols.he.paillier_math import pack
from protocols.he.residues import add_residues
from tests.protocols.he.bfv_helpers import scaled_noise_as_sent
from tests.protocols.he.kept_keys import KeptBfv, KeptPaillier

SHAPE = MatrixShape(5, 3, 4, 20)
BACKENDS: dict[str, Any] = {"bfv": partial(KeptBfv, engine=SEAL), "paillier": KeptPaillier}
"""By SEAL's engine, whose encryptions of zero can be changed."""


class Session:
    """A key, an operand under it and a reply."""

    def __init__(self, name: str) -> None:
        random = SeededRandomness(1, "opened keys")
        self.backend: Backend = BACKENDS[name]()
        self.secret: SecretSide = self.backend.generate()
        self.matrix, self.addend = (random.ring(shape, RING_BITS) for shape in ((3, 4), (5, 4)))
        self.factor = np.arange(15, dtype=np.int64).reshape(5, 3) - 7
        public = self.backend.load_public(self.secret.public_key())
        self.operand = self.secret.encrypt(self.matrix, SHAPE)
        self.reply = public.multiply_add(self.factor, public.load_operand(self.operand, SHAPE), self.addend, SHAPE)
        self.key = self.backend.open_key(self.secret.public_key(), self.secret.exported())


@pytest.fixture(scope="module", params=BACKENDS)
def session(request: pytest.FixtureRequest) -> Session:
    return Session(request.param)


def test_it_decrypts_as_its_owner_does(session: Session) -> None:
    assert (session.key.operand(session.operand, SHAPE) == session.matrix).all()
    assert (session.key.reply(session.reply, SHAPE) == session.secret.decrypt(session.reply, SHAPE)).all()


def test_an_opened_key_is_ternary(session: Session) -> None:
    """-128 is its own magnitude in a byte."""
    if session.backend.name != "bfv":
        return
    for wrong in (2, -2, 127, -128):
        exported = np.int8(wrong).tobytes() + session.secret.exported()[1:]
        with pytest.raises(InvalidCiphertext, match="coefficients from -1 to 1"):
            session.backend.open_key(session.secret.public_key(), exported)


def test_a_key_of_another_public_key_is_refused(session: Session) -> None:
    other = session.backend.generate()
    with pytest.raises(InvalidCiphertext, match="does not belong"):
        session.backend.open_key(session.secret.public_key(), other.exported())


@pytest.mark.parametrize("secret", [b"", b"\1", bytes(8192), bytes([2]) * 8192, bytes(256)])
def test_what_is_no_key_is_refused(session: Session, secret: bytes) -> None:
    with pytest.raises(InvalidCiphertext):
        session.backend.open_key(session.secret.public_key(), secret)


def test_nothing_of_it_is_shown(session: Session) -> None:
    assert session.secret.exported()[:16].hex() not in repr(session.key)
    assert len(repr(session.key)) < 100


def test_a_reply_with_a_changed_bit_decrypts_to_something_else_or_is_refused(session: Session) -> None:
    part = bytearray(session.reply.parts[0])
    part[-3] ^= 1
    changed = CiphertextBundle((bytes(part), *session.reply.parts[1:]))
    with contextlib.suppress(InvalidCiphertext):
        assert (session.key.reply(changed, SHAPE) != session.key.reply(session.reply, SHAPE)).any()


def test_a_bfv_reply_that_decrypts_but_is_noisier_than_any_product_is_refused() -> None:
    session = Session("bfv")
    key: Any = session.key
    parameters, layout = key._parameters, best_layout(SHAPE, key._parameters)
    places, part = layout.places(0, 0), session.reply.parts[0]
    noise = scaled_noise_as_sent(cast(BfvSecret, session.secret), part, places)
    loudest = int(np.argmax(noise))  # of those that more noise makes louder
    c0, c1 = wire.read_reply(part[wire.HEADER_BYTES :], len(places), parameters)
    step = 1 << parameters.dropped_bits
    more = -(-(parameters.reply_noise() + 1 - int(noise[loudest]) // 2**RING_BITS) // step)
    assert c0.low[loudest] + more < 1 << LIMB
    c0.low[loudest] += np.uint64(more)
    noisy = CiphertextBundle(
        (part[: wire.HEADER_BYTES] + wire.pack_reply(c0, c1, parameters), *session.reply.parts[1:])
    )
    assert (session.secret.decrypt(noisy, SHAPE) == session.secret.decrypt(session.reply, SHAPE)).all()
    with pytest.raises(InvalidCiphertext, match="noisier than a product"):
        session.key.reply(noisy, SHAPE)


def zeros_with(session: Session, change: Any) -> CiphertextBundle:
    """A BFV operand whose c0 was changed before it was packed."""
    secret: Any = session.secret
    parameters, honest = secret._engine.parameters, secret._make_zeros
    secret._stock = type(secret._stock)()
    secret._make_zeros = lambda *given: [Zero(made.seed, change(made.c0.copy(), parameters)) for made in honest(*given)]
    try:
        return secret.encrypt(session.matrix, SHAPE)
    finally:
        del secret._make_zeros


@pytest.mark.parametrize("place", [0, 4000, 8191])
@pytest.mark.parametrize("size", [64, 1 << 40], ids=["a little noise", "much noise"])
def test_a_bfv_operand_with_more_noise_than_a_fresh_one_is_refused(place: int, size: int) -> None:
    def change(c0: Any, parameters: Any) -> Any:
        noise = np.zeros_like(c0)
        noise[:, place] = [size % prime for prime in parameters.data_primes]
        return add_residues(c0, noise, parameters.data_primes)

    session = Session("bfv")
    with pytest.raises(InvalidCiphertext, match=r"noisier|where no entry"):
        session.key.operand(zeros_with(session, change), SHAPE)


def test_a_bfv_operand_with_something_beside_its_entries_is_refused() -> None:
    def change(c0: Any, parameters: Any) -> Any:
        modulus = math.prod(parameters.data_primes)
        extra = np.zeros_like(c0)
        extra[:, 5000] = [(modulus >> RING_BITS) % prime for prime in parameters.data_primes]
        return add_residues(c0, extra, parameters.data_primes)

    session = Session("bfv")
    with pytest.raises(InvalidCiphertext, match=r"where no entry|noisier"):
        session.key.operand(zeros_with(session, change), SHAPE)


def test_a_paillier_operand_out_of_the_ring_is_refused() -> None:
    session = Session("paillier")
    secret: Any = session.secret
    layout = secret._public.parameters.layout(SHAPE)
    rows = pack(session.matrix, layout.slot_bytes)
    rows[0] += 1 << RING_BITS  # the first slot's element is no longer below 2^59
    n, square = secret._public.n, secret._public.square
    encrypted = [(1 + n * m) * s % square for m, s in zip(rows, secret._pool.take(len(rows)))]
    with pytest.raises(InvalidCiphertext, match="not an element of the ring"):
        session.key.operand(secret._public.write(encrypted, 1, layout), SHAPE)


def test_a_scheme_without_such_keys_says_so() -> None:
    class Other(SecretSide):
        def public_key(self) -> bytes:
            return b""

        def encrypt(self, matrix: Any, shape: Any) -> Any:
            return None

        def decrypt(self, reply: Any, shape: Any) -> Any:
            return None

    with pytest.raises(InvalidInput, match="cannot be opened"):
        Other().exported()
