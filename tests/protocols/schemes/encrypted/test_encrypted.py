"""The encrypted layer against its reference, its limits and its check; what it shows, and what it keeps in stock.

Bounds are worst cases of the fixed point and of the noise (whose tails end at 8.6 sigma), not of chance.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import (
    InvalidInput,
    OutOfRange,
    VerificationFailed,
)
from protocols.core.fixed_point import BLOCK_BITS, FEATURE_BITS, WEIGHT_BITS, encode_block
from protocols.he.interface import RING_BITS, as_signed
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
)
from protocols.schemes.encrypted.products import STOCK, PrecomputedRandomness
from tests.protocols.layer.helpers import QUIET, Layer, kept, normal, tampering

ALWAYS = LayerParameters(check_every=1)


class Compared:
    """Runs batches through a layer and its reference, and asserts that they agree."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.drift = np.zeros_like(layer.reference.weights)  # how far W may be from the reference by now

    def forward(self, a, training=True):
        layer = self.layer
        z, weights = layer.forward(a, training), layer.weights()
        assert z.dtype == np.float32
        assert z.shape == (len(a), layer.spec.width_out)
        rounding = 0.5 * np.abs(weights).sum(axis=1)
        expected = a.astype(float) @ weights.T
        bound = (8.6 * layer.sigma + rounding) * 2.0**-FEATURE_BITS + 2.0**-23 * np.abs(expected)
        assert (np.abs(z - expected) <= bound).all()
        against = layer.reference.forward(a.astype(float))
        assert (np.abs(z - against) <= bound + np.abs(a) @ self.drift.T + 1e-12).all()

    def backward(self, dz, learning_rate, a):
        layer, weights = self.layer, self.layer.weights()
        da = layer.backward(dz, learning_rate)
        if layer.spec.trainable:
            assert da.dtype == np.float32
            step = 2.0 ** (encode_block("dz", dz)[1] - BLOCK_BITS + 1)
            expected = dz.astype(float) @ weights
            bound = (8.6 * layer.sigma + 0.5 * np.abs(weights).sum(axis=0)) * step
            bound = bound + 2.0**-23 * np.abs(expected) + 2.0**-149
            assert (np.abs(da - expected) <= bound).all()
        else:
            assert da is None
        layer.reference.update(dz.astype(float), a.astype(float), learning_rate)
        step_size = learning_rate * np.abs(dz.astype(float))
        self.drift += step_size.sum(axis=0)[:, None] * 2.0**-11 + np.abs(a).sum(axis=0)[None, :] * 2.0**-22 + 2.0**-30
        assert (np.abs(layer.weights() - layer.reference.weights) <= self.drift).all()

    def batch(self, number, rows, learning_rate=0.1):
        d, o = self.layer.spec.width_in, self.layer.spec.width_out
        a, dz = normal(number, rows, d), normal(number + 1000, rows, o, scale=1e-3)
        self.forward(a)
        self.backward(dz, learning_rate, a)


# Parity -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainable", [True, False])
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
def test_parity_with_the_reference_over_several_batches(backend, d, o, rows, trainable):
    compared = Compared(Layer(d, o, rows[0], trainable, backend))
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
    layer = Layer(3, 4, 5, trainable=False)
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


def test_a_zero_gradient_gives_a_zero_gradient():
    layer = Layer(4, 3, 2)
    before = layer.weights()
    layer.forward(normal(1, 2, 4))
    da = layer.backward(np.zeros((2, 3), np.float32), 1.0)
    assert (layer.weights() == before).all()
    assert not da.any()


# Range ------------------------------------------------------------------------------------------------------------


def edge_features(d, rows):
    """Rows whose norm is the limit to the last bit or nearly: in one entry, in all, and alternating."""
    a = np.zeros((rows, d), np.float32)
    a[0::3, 0] = -64.0
    a[1::3] = np.nextafter(np.float32(64 / np.sqrt(d)), np.float32(0))
    a[2::3] = a[1] * np.where(np.arange(d) % 2, -1, 1)
    return a


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
@pytest.mark.parametrize("scale", [1.0, 64.0, 1e-30, 2.0**-149])
def test_values_at_the_edge_of_the_range(backend, scale):
    d, o, rows = 3, 2, 6
    compared = Compared(Layer(d, o, rows, backend=backend))
    a = edge_features(d, rows)
    dz = np.full((rows, o), scale, np.float32)
    dz[::2] *= -1  # the signs of the first three rows and of the last three cancel in dW
    compared.forward(a)
    compared.backward(dz, 1.0 if scale > 1e-3 else 0.0, a)


def test_a_projection_at_its_limit_and_beyond():
    """W is stepped to 8 and then 9 by one feature; z reaches 512, then leaves the range and says so."""
    layer = Layer(1, 1, 1)
    start = float(layer.weights()[0, 0])
    layer.forward(np.ones((1, 1), np.float32))
    layer.backward(np.array([[start - 8]], np.float32), 1.0)
    full = np.full((1, 1), 64, np.float32)
    assert layer.forward(full)[0, 0] == pytest.approx(512, abs=0.01)
    layer.backward(np.array([[-(2.0**-6)]], np.float32), 1.0)
    with pytest.raises(OutOfRange, match=r"projection of side came out as 576.*limit is 512"):
        layer.forward(full)


def test_weights_beyond_their_bound_show_in_the_feature_gradient():
    layer = Layer(1, 1, 1)
    layer.forward(np.ones((1, 1), np.float32))
    layer.backward(np.array([[-40.0]], np.float32), 1.0)
    layer.forward(np.ones((1, 1), np.float32))
    with pytest.raises(OutOfRange, match="the feature gradient came out as"):
        layer.backward(np.ones((1, 1), np.float32), 1e-3)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ((1, 2), np.nan, ["nan at [1, 2]", "limit is 64"]),
        ((0, 0), np.inf, ["inf at [0, 0]", "limit is 64"]),
        ((2, 3), -64.01, ["-64.01", "[2, 3]", "limit is 64"]),
        (slice(None), 40.0, ["norm 80", "limit is 64"]),
    ],
)
def test_features_out_of_range_raise_before_anything_is_sent(place, value, words):
    layer = Layer(4, 2, 3)
    a = np.zeros((3, 4), np.float32)
    a[place] = value
    with pytest.raises(OutOfRange) as caught:
        next(layer.collaborator.forward(a, True))  # its first step would be to send
    for word in ["features of side", "nothing was sent", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("value", "learning_rate", "words"),
    [
        (np.nan, 0.1, ["gradient for side's projection holds nan at [1, 1]"]),
        (-np.inf, 0.1, ["gradient for side's projection holds -inf at [1, 1]"]),
        (65.0, 1.0, ["learning rate times the gradient", "holds 65.0 at [1, 1]", "limit is 64"]),
        (0.5, 1e6, ["learning rate times the gradient", "holds 500000.0", "limit is 64"]),
        (0.5, np.nan, ["learning rate times the gradient", "holds nan"]),
        (0.5, np.inf, ["learning rate times the gradient", "holds"]),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_gradients_out_of_range_raise_before_anything_is_sent(value, learning_rate, words):
    layer = Layer(4, 2, 3)
    layer.forward(normal(0, 3, 4))
    dz = np.zeros((3, 2), np.float32)
    dz[1, 1] = value
    with pytest.raises(OutOfRange) as caught:
        next(layer.host.backward(dz, learning_rate))
    for word in ["nothing was sent", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("a", [np.zeros((3, 5), np.float32), np.zeros((3, 4)), np.zeros(4, np.float32)])
def test_features_of_another_shape_or_dtype_are_refused(a):
    with pytest.raises(InvalidInput, match=r"features of side.*\[\d+, 4\] float32"):
        next(Layer(4, 2, 3).collaborator.forward(a, True))


def test_an_empty_batch_is_refused():
    with pytest.raises(InvalidInput):
        next(Layer(4, 2, 3).collaborator.forward(np.zeros((0, 4), np.float32), True))


@pytest.mark.parametrize("dz", [np.zeros((3, 3), np.float32), np.zeros((3, 2)), np.zeros((3, 1), np.float32)])
def test_gradients_of_another_shape_or_dtype_are_refused(dz):
    layer = Layer(4, 2, 3)
    layer.forward(normal(0, 3, 4))
    with pytest.raises(InvalidInput, match="gradient for side's projection"):
        next(layer.host.backward(dz, 0.1))


def test_a_layer_that_cannot_work_is_refused_at_start():
    for role in (EncryptedHost, EncryptedCollaborator):
        with pytest.raises(InvalidInput, match="needs the projection layer"):
            role(LayerSpec("side", 4, None, 3, True, bytes(32)), kept("bfv"), QUIET)
        with pytest.raises(InvalidInput, match="too wide"):
            role(LayerSpec("side", 4, 5000, 3, True, bytes(32)), kept("bfv"), QUIET)


# Checks -----------------------------------------------------------------------------------------------------------


def checks(layer):
    return sum(isinstance(message, CheckQuery) for message in layer.view.from_host)


@pytest.mark.parametrize(("every", "expected"), [(0, 0), (1, 5), (2, 3), (1000, 1)])
def test_one_batch_in_check_every_is_checked_the_first_included(every, expected):
    layer = Layer(3, 2, 2, trainable=False, parameters=LayerParameters(check_every=every))
    for number in range(5):
        layer.forward(normal(number, 2, 3), training=False)
    assert checks(layer) == expected


@pytest.mark.parametrize("backend", ["bfv", "paillier"])
def test_checked_batches_are_the_same_batches(backend):
    compared = Compared(Layer(4, 3, 5, backend=backend, parameters=ALWAYS))
    compared.batch(0, 5)
    compared.batch(1, 2)
    assert checks(compared.layer) == 2


def wrong_host_share(layer):
    layer.host._share.values = add(layer.host._share.values, np.uint64(1))


def wrong_product(layer):
    honest = layer.collaborator._products._public.multiply_add

    class Wrong:
        """As the peer's public side, but its first product is off by 2^-48."""

        load_operand = layer.collaborator._products._public.load_operand
        prepare = layer.collaborator._products._public.prepare
        calls = 0

        def multiply_add(self, factor, operand, addend, shape):
            self.calls += 1
            return honest(factor, operand, add(addend, np.uint64(self.calls == 1)), shape)

    layer.collaborator._products._public = Wrong()


@pytest.mark.parametrize("break_it", [wrong_host_share, wrong_product])
def test_a_wrong_projection_does_not_pass_the_check(break_it):
    layer, a = Layer(4, 3, 2, parameters=ALWAYS), np.ones((2, 4), np.float32)
    layer.forward(a)
    layer.skip()
    break_it(layer)
    with pytest.raises(VerificationFailed, match="projection of side is not a W\\^T"):
        layer.forward(a)


@pytest.mark.parametrize("break_it", [wrong_host_share, wrong_product])
def test_without_a_check_it_would(break_it):
    layer, a = Layer(4, 3, 2), np.ones((2, 4), np.float32)
    break_it(layer)
    layer.forward(a)


def test_a_changed_answer_does_not_pass_the_check():
    layer = Layer(4, 3, 2, parameters=ALWAYS)
    a = normal(0, 2, 4)

    def change(message):
        return CheckReply(message.version, message.parts, add(message.masked, np.uint64(1)))

    with pytest.raises(VerificationFailed):
        pump(layer.host.forward(2, True), tampering(layer.collaborator.forward(a, True), CheckReply, change))


# What is shown, and what is in stock ------------------------------------------------------------------------------


def test_reprs_show_no_secret():
    layer = Layer(3, 2, 2)
    layer.forward(normal(8, 2, 3))
    quantised = layer.collaborator._pending._kept[1]
    shown = " ".join(map(repr, [layer.host, layer.collaborator, quantised, layer.host._share.noise, layer.host._masks]))
    assert "QuantisedFeatures()" in shown
    for end in (layer.host, layer.collaborator):
        assert not any(str(value) in shown for value in end._share.values.ravel().tolist())
        assert end._share.noise.key.hex() not in shown
    assert not any(str(value) in shown for value in quantised.forward.ravel().tolist())


class Shelf:
    """A scheme's stock: masks that fit every shape, as BFV has them; a unit of a kind is so many."""

    def __init__(self):
        self.masks = 0

    def maker(self, unit):
        def make(shape):
            self.masks += unit
            return self.masks // unit

        return make

    def take(self, count):
        self.masks = max(0, self.masks - count)


@pytest.mark.parametrize("taken", [1, 5, 50])
def test_the_stock_stays_bounded_and_full_whatever_batches_take(taken):
    """Short batches leave masks over and large test batches take more; neither may add up."""
    shelf = Shelf()
    big, small = PrecomputedRandomness(shelf.maker(5), None), PrecomputedRandomness(shelf.maker(2), None)
    for _ in range(200):
        while any([big.top_up(), small.top_up()]):
            pass
        assert 5 + 2 <= shelf.masks <= (STOCK + 2) * (5 + 2)
        big.use()
        shelf.take(taken)
        small.use()
        shelf.take(2)


def test_a_scheme_with_nothing_to_prepare_is_not_asked_forever():
    assert [PrecomputedRandomness(lambda shape: 0, None).top_up() for _ in range(3)] == [False] * 3


def test_short_batches_do_not_grow_the_real_stock():
    layer, sizes = Layer(20, 20, 45, trainable=False), []
    for number in range(6):
        while layer.host.prepare() or layer.collaborator.prepare():
            pass
        sizes.append(len(layer.collaborator._products._public._stock))
        layer.forward(normal(number, 1, 20), training=False)
    assert max(sizes) <= sizes[0] + 3


def test_weights_hold_one_share_only():
    layer = Layer(3, 2, 2)
    shares = [end.weights()["share"] for end in (layer.host, layer.collaborator)]
    assert [set(end.weights()) for end in (layer.host, layer.collaborator)] == [{"share"}] * 2
    for share in shares:
        assert share.shape == (2, 3)
        assert np.abs(as_signed(share) * 2.0**-WEIGHT_BITS).max() > 1024  # nothing like a weight
        assert int(share.max()) >> RING_BITS == 0
