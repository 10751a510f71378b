"""The encrypted layer computes what its reference computes, and starts where it should."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from protocols.core.errors import InvalidCiphertext
from protocols.core.fixed_point import WEIGHT_BITS
from protocols.he.interface import RING_BITS, as_signed
from protocols.layer.parameters import LayerParameters
from tests.protocols.layer.helpers import Layer, normal
from tests.protocols.schemes.encrypted.compared import Compared


@pytest.mark.parametrize(
    ("backend", "d", "o", "rows"),
    [
        ("bfv", 20, 7, [24, 24, 5]),  # a short last batch
        ("bfv", 7, 20, [30, 30, 1]),
        ("bfv", 5, 1, [4, 4]),
        ("bfv", 1, 4, [4, 4]),
        ("bfv", 1, 1, [1, 1, 1]),
        ("bfv", 96, 100, [3, 2]),  # W does not fit one ciphertext
        ("paillier", 5, 3, [4, 4, 1]),
        ("paillier", 1, 2, [1, 1]),
    ],
)
def test_parity_with_the_reference_over_several_batches(backend, d, o, rows):
    compared = Compared(Layer(d, o, rows[0], backend=backend))
    for number, (count, learning_rate) in enumerate(zip(rows, [0.1, 0.0, 2.0])):
        compared.batch(number, count, learning_rate)
    compared.forward(normal(77, 2 * rows[0] + 1, d), training=False)  # a test batch larger than any before


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_shares_add_up_to_the_weights_after_updates(backend):
    """As training does it, small steps: W stays within 2^-17 of the reference, most of it from a at 2^-10."""
    compared = Compared(Layer(6, 4, 8, backend=backend))
    for number in range(4):
        compared.batch(number, 8)
    error = np.abs(compared.layer.weights() - compared.layer.reference.weights)
    assert error.max() <= 2.0**-17
    assert np.abs(compared.layer.reference.weights - compared.layer.weights().mean()).max() > 0.1


def test_steps_on_the_fixed_points_grid_move_the_weights_exactly():
    layer = Layer(3, 4, 5)
    a = np.rint(normal(1, 5, 3) * 2**10) * np.float32(2.0**-10)
    dz = np.rint(normal(2, 5, 4) * 2**20) * np.float32(2.0**-20)
    layer.forward(a)
    layer.backward(dz, 0.25)
    layer.reference.update(dz.astype(float), a.astype(float), 0.25)
    assert (layer.weights() == layer.reference.weights).all()


def test_initial_weights_are_orthogonal_and_belong_to_the_seed():
    tall, wide = Layer(3, 5, 2), Layer(5, 3, 2)
    assert np.abs(tall.weights().T @ tall.weights() - np.eye(3)).max() < 2.0**-12
    assert np.abs(wide.weights() @ wide.weights().T - np.eye(3)).max() < 2.0**-12
    assert (Layer(3, 5, 2).weights() == tall.weights()).all()
    assert not (Layer(3, 5, 2, seed=None).weights() == tall.weights()).any()
    # Shares are masks: never from the seed.
    assert not (Layer(3, 5, 2).host._share.values == tall.host._share.values).any()


def test_a_skipped_batch_changes_nothing_and_the_next_goes_on():
    compared = Compared(Layer(4, 3, 6))
    compared.batch(0, 6)
    before = compared.layer.weights()
    compared.layer.forward(normal(5, 6, 4))
    assert compared.layer.skip() is None
    assert (compared.layer.weights() == before).all()
    compared.batch(1, 6)
    compared.batch(2, 3)


def test_a_share_is_encrypted_once_and_may_be_late():
    """Only when it is to be sent, by which time V has moved; and what a skipped batch has begun is sent never."""
    made = []

    def late(work):
        return lru_cache(work)

    def prepare(host, collaborator):
        host._deferred = collaborator._beside = late
        encrypted = collaborator._encrypted
        collaborator._encrypted = lambda values: made.append(values) or encrypted(values)

    compared = Compared(Layer(4, 3, 6, prepare=prepare))
    compared.batch(0, 6)
    compared.layer.forward(normal(5, 6, 4))
    compared.layer.skip()
    compared.forward(normal(6, 6, 4), training=False)
    compared.batch(1, 6)
    compared.batch(2, 3)  # da comes from the share behind the step before
    assert len(made) == 1 + 3


@pytest.mark.parametrize("tested", [0, 1])
def test_the_host_reads_a_share_when_there_is_time_and_says_so_where_it_is_needed_if_it_is_bad(tested):
    """Whether it will test it or not: what it does when a share has come does not show its coin."""
    read = []

    def prepare(host, collaborator):
        host._deferred = lru_cache

    layer = Layer(4, 3, 6, prepare=prepare, parameters=LayerParameters(check_every=0, test_shares_every=tested))
    load = layer.host._products.load_share
    layer.host._products.load_share = lambda parts: read.append(parts) or load(parts)
    layer.forward(normal(1, 6, 4))
    layer.backward(normal(2, 6, 3), 0.1)
    assert not read
    layer.host.prepare()
    layer.host.prepare()
    assert len(read) == 1

    def refuse(parts):
        raise InvalidCiphertext("bad")

    layer.host._products.load_share = refuse
    layer.forward(normal(1, 6, 4))
    layer.backward(normal(2, 6, 3), 0.1)
    layer.host.prepare()
    layer.forward(normal(1, 6, 4))
    with pytest.raises(InvalidCiphertext, match="bad"):
        layer.backward(normal(2, 6, 3), 0.1)


def test_a_zero_gradient_gives_a_zero_gradient():
    layer = Layer(4, 3, 2)
    before = layer.weights()
    layer.forward(normal(1, 2, 4))
    da = layer.backward(np.zeros((2, 3), np.float32), 1.0)
    assert (layer.weights() == before).all()
    assert not da.any()


def test_weights_hold_one_share_only():
    layer = Layer(3, 2, 2)
    shares = [end.weights()["share"] for end in (layer.host, layer.collaborator)]
    assert [set(end.weights()) for end in (layer.host, layer.collaborator)] == [{"share"}] * 2
    for share in shares:
        assert share.shape == (2, 3)
        assert np.abs(as_signed(share) * 2.0**-WEIGHT_BITS).max() > 1024  # nothing like a weight
        assert int(share.max()) >> RING_BITS == 0
