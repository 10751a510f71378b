"""What the encrypted products keep in stock, and what nobody may see of them."""

from __future__ import annotations

import pytest

from protocols.schemes.encrypted.products import STOCK, PrecomputedRandomness
from tests.protocols.layer.helpers import Layer, normal


def test_reprs_show_no_secret():
    layer = Layer(3, 2, 2)
    layer.forward(normal(8, 2, 3))
    batch = layer.collaborator._pending._kept[1]
    quantised = batch.features
    shown = " ".join(
        map(repr, [layer.host, layer.collaborator, batch, quantised, layer.host._share.noise, layer.host._masks])
    )
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
        sizes.append(len(layer.collaborator._products._public._public._stock))
        layer.forward(normal(number, 1, 20), training=False)
    assert max(sizes) <= sizes[0] + 3
