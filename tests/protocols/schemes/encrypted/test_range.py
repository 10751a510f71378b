"""Values at the limits of the fixed point, and beyond: refused before anything is sent."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.core.errors import (
    InvalidInput,
    OutOfRange,
)
from protocols.layer.interface import LayerSpec
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from tests.protocols.layer.helpers import QUIET, Layer, kept, normal
from tests.protocols.schemes.encrypted.compared import Compared


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
