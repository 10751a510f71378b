"""bfv ciphertexts and keys that hold too much read features. Tests of shares do not see it; tests of the form do.

A test of a share is a product of 16 or 40 rows with [U], a projection one of a whole batch. A malicious host sees to it
that what it adds meets results of the second only:

    operand          [U] has entries where no entry of its matrix lies. They add a row's features to the results of rows
                     further down, which a test does not have.
    switching key    the keys by which several sums become one reply hold another message: one that takes c1 of [U],
                     whose seed the host has chosen, out of the digits and leaves the factor. A test is one sum.

So both are out of what protocols/schemes/encrypted/share_test.py and relation_test.py prove something about. A test of
the form (form_test.py) has the shape of a batch, and finds both. A judge refuses both always.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flint import nmod_poly
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext, VerificationFailed
from protocols.core.randomness import OsRandomness
from protocols.he import bfv_wire as wire
from protocols.he.bfv import BfvSecret
from protocols.he.interface import RING_BITS, RING_MASK, MatrixShape
from protocols.he.layout import Layout, best_layout
from protocols.he.packing import automorphism
from protocols.he.parameters import JOINED, TRAINING
from protocols.he.transforms import coefficients
from protocols.layer.parameters import LayerParameters
from protocols.schemes.encrypted.products import CollaboratorProducts, HostProducts
from protocols.schemes.shares.form_test import Pairing
from protocols.schemes.shares.products import Parts, ShareProducts
from protocols.schemes.shares.test_messages import FormQuery
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.layer.helpers import Layer, Watched, normal

N, P = TRAINING.degree, JOINED
BATCH, TEST = MatrixShape(150, 20, 3, 20), MatrixShape(40, 20, 3, 20)
"""A batch is two sums, a test of a share one."""
SEED = bytes(range(32))
GAIN = 1 << 40


def turned(polynomial: list[int]) -> list[int]:
    """sigma_1."""
    places = automorphism(np.ones(N, np.int8), 0), np.arange(N) * (1 + 2 * N // P) % N
    out = [0] * N
    for value, sign, to in zip(polynomial, places[0][places[1]].tolist(), places[1].tolist(), strict=True):
        out[to] = sign * value
    return out


def what_is_added() -> list[list[int]]:
    """P E modulo each data prime: E is GAIN q / t over sigma_1 of the c1 that belongs to SEED."""
    rows, constant = [], (GAIN * TRAINING.modulus) >> RING_BITS
    for values, prime in zip(wire.uniform(SEED, TRAINING), TRAINING.data_primes, strict=True):
        modulus = nmod_poly([1, *[0] * (N - 1), 1], prime)
        c1 = nmod_poly([x % prime for x in turned(coefficients(values, prime).tolist())], prime)
        divisor, inverse, _ = c1.xgcd(modulus)
        scale = TRAINING.special_prime * constant * pow(int(divisor[0]), -1, prime) % prime
        found = [int(x) * scale % prime for x in inverse.coeffs()]
        rows.append(found + [0] * (N - len(found)))
    return rows


def forged_key(owner: BfvSecret) -> bytes:
    head, body = owner.public_key()[: wire.HEADER_BYTES], owner.public_key()[wire.HEADER_BYTES :]
    zero, keys = wire.key_bodies(body, TRAINING)
    for row, more in enumerate(what_is_added()):
        seed, c0 = wire.read_operand(keys[row], TRAINING, TRAINING.primes)
        c0[row] = (c0[row] + np.array(more, np.uint64)) % np.uint64(TRAINING.primes[row])
        keys[row] = seed + wire.pack_residues(c0, TRAINING.primes)
    return head + zero + b"".join(keys)


def features_at_results(layout: Layout, factor: NDArray[np.int64]) -> NDArray[np.object_]:
    """sigma_1 of all factors, moved as their sums are, at the places of the results: what is read."""
    whole = np.zeros(N, object)
    back = (layout.k_tile - 1) % P
    for j, (group, _) in enumerate(layout.part(0)):
        polynomial = layout.factor(factor, group).view(np.int64)
        signed = (polynomial << (64 - RING_BITS) >> (64 - RING_BITS)).sum(axis=0)
        exponent = (j - back - j * 2 * N // P) % (2 * N)
        moved = np.roll(signed, exponent % N)
        moved[: exponent % N] *= -1
        whole += (moved if exponent < N else -moved).astype(object)
    return np.array(turned(whole.tolist()), object)[np.concatenate(layout.part_places(0))]


class Malicious:
    """A host, and what a collaborator makes of what it sends."""

    def __init__(self, key: bytes, host: BfvSecret) -> None:
        self.host, self.collaborator, stream = host, backend().load_public(key), OsRandomness()
        self.share = stream.ring((BATCH.k, BATCH.n), 59)
        self.operand = host.encrypt(self.share, BATCH)

    def product(self, factor: NDArray[np.int64], shape: MatrixShape) -> NDArray[np.uint64]:
        """What the host decrypts of a collaborator's product, less what it should be."""
        addend, evaluator = OsRandomness().ring((shape.m, shape.n), 59), self.collaborator
        reply = evaluator.multiply_add(factor, evaluator.load_operand(self.operand, BATCH), addend, shape)
        honest = factor.view(np.uint64) @ self.share + addend
        return (self.host.decrypt(reply, shape) - honest) & RING_MASK


def factor(shape: MatrixShape) -> NDArray[np.int64]:
    return OsRandomness().ring((shape.m, shape.k), 16).astype(np.int64)


def always_found(malicious: Malicious) -> None:
    """What a test of the form would have the host guess is never 0, and of an honest ciphertext it always is."""
    key = backend().generate()
    for whom, found in ((malicious, True), (Malicious(key.public_key(), key), False)):
        for _ in range(4):
            pairing = Pairing(OsRandomness().seed(), BATCH.m)
            assert bool(pairing.differences(whom.product(pairing.paired(factor(BATCH)), BATCH)).any()) == found


def test_an_operand_beyond_its_entries_reads_features(monkeypatch: pytest.MonkeyPatch) -> None:
    layout, honest = best_layout(BATCH, TRAINING), Layout.operand

    def operand(self: Layout, matrix: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Feature number 5 j of a row, in output j of the one that is TEST.m further down."""
        span = self.k_tile * self.n_tile
        more = np.zeros((1, (TEST.m + 1) * span + BATCH.k), np.uint64)
        more[:, :span] = honest(self, matrix)
        for j in range(BATCH.n):
            more[0, TEST.m * span + j * self.k_tile + 5 * j] = GAIN
        return more

    host, a = backend().generate(), factor(BATCH)
    with monkeypatch.context() as patched:
        patched.setattr(Layout, "operand", operand)
        malicious = Malicious(host.public_key(), host)
    assert not malicious.product(factor(TEST), TEST).any()
    read = malicious.product(a, BATCH)[TEST.m : layout.rows] // GAIN
    assert (read == a[: layout.rows - TEST.m, : 5 * BATCH.n : 5].view(np.uint64)).all()
    always_found(malicious)
    with pytest.raises(InvalidCiphertext, match="where no entry of its matrix lies"):
        backend().open_key(host.public_key(), host.exported()).operand(malicious.operand, BATCH)


def test_a_forged_switching_key_reads_features(monkeypatch: pytest.MonkeyPatch) -> None:
    host, a, layout = backend().generate(), factor(BATCH), best_layout(BATCH, TRAINING)
    key = forged_key(host)
    monkeypatch.setattr(host, "_key_id", wire.key_id_of(key))
    monkeypatch.setattr(host, "_public_seed", lambda: SEED)
    malicious = Malicious(key, host)
    assert not malicious.product(factor(TEST), TEST).any()
    added = malicious.product(a, BATCH)
    assert (layout.sums, layout.reply_parts) == (2, 1)
    read = np.concatenate([added[layout.window(*each)].reshape(-1) for each in layout.part(0)])
    wanted = features_at_results(layout, a)
    assert np.count_nonzero(wanted) > 50
    assert (read.astype(object) == wanted * GAIN % (1 << RING_BITS)).all()
    always_found(malicious)
    with pytest.raises(InvalidCiphertext, match="key-switching key"):
        backend().open_key(key, host.exported())


TESTED = LayerParameters(check_every=0, test_shares_every=1 << 29)
"""The first shares and the forms of the first batch are tested; no coin says that a later one is."""
PRODUCTS: dict[str, type[ShareProducts]] = {"host": HostProducts, "collaborator": CollaboratorProducts}


def hold_more(monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """One party's [U] or [V] has entries that reach 41 rows further down."""
    products: Any = PRODUCTS[who]
    honest_share, honest = products.encrypt_share, Layout.operand

    def operand(self: Layout, matrix: NDArray[np.uint64]) -> NDArray[np.uint64]:
        entries = honest(self, matrix)
        more = np.zeros((len(entries), N), np.uint64)
        more[:, : entries.shape[1]] = entries
        more[:, (TEST.m + 1) * self.k_tile * self.n_tile] = GAIN
        return more

    def encrypt_share(self: Any, share: Any) -> Parts:
        with monkeypatch.context() as patched:
            patched.setattr(Layout, "operand", operand)
            result: Parts = honest_share(self, share)
        return result

    monkeypatch.setattr(products, "encrypt_share", encrypt_share)


@pytest.mark.parametrize("is_resumed", [False, True])
@pytest.mark.parametrize("who", PRODUCTS)
def test_the_first_batch_of_a_conversation_finds_them(
    monkeypatch: pytest.MonkeyPatch, who: str, is_resumed: bool
) -> None:
    honest = Layer(BATCH.k, BATCH.n, BATCH.m, parameters=TESTED)
    hold_more(monkeypatch, who)
    layer = honest.resumed() if is_resumed else Layer(BATCH.k, BATCH.n, BATCH.m, parameters=TESTED)
    message = f"the {who}'s ciphertexts or keys for side hold more"
    if who == "host":  # its peer has computed the projection, and does not send it
        peer = Watched(layer.collaborator, "projection")
        with pytest.raises(VerificationFailed, match=message):
            layer.forward(normal(1, BATCH.m, BATCH.k))
        assert peer.done == ["projection", "FormQuery", "projection", "waits"]
        return
    layer.forward(normal(1, BATCH.m, BATCH.k))
    peer = Watched(layer.host, "encrypt_step", "feature_gradient")
    with pytest.raises(VerificationFailed, match=message):
        layer.backward(normal(2, BATCH.m, BATCH.n, scale=0.1), 0.1)
    assert peer.done == ["feature_gradient", "FormQuery", "encrypt_step", "feature_gradient", "waits"]


def test_a_batch_of_one_row_is_not_tested_and_does_not_count_as_the_first() -> None:
    """A limit that SECURITY.md states: one row has no other to be paired with."""
    layer = Layer(3, 2, 4, parameters=TESTED)
    for rows, tests in ((1, 0), (2, 1), (1, 1), (2, 1), (3, 2)):
        layer.forward(normal(rows, rows, 3), training=False)
        assert sum(isinstance(message, FormQuery) for message in layer.view.from_collaborator) == tests
