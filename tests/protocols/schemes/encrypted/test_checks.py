"""The check of some batches: which ones, what it finds, and that it changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import (
    VerificationFailed,
)
from protocols.layer.messages import EqualityConfirmation, EqualityProof
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import add
from protocols.schemes.encrypted.messages import (
    CheckQuery,
)
from tests.protocols.layer.helpers import Layer, normal, tampering
from tests.protocols.schemes.encrypted.compared import Compared

ALWAYS = LayerParameters(check_every=1)


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


@pytest.mark.parametrize("kind", [EqualityProof, EqualityConfirmation])
def test_a_changed_tag_does_not_pass_the_check(kind):
    layer = Layer(4, 3, 2, parameters=ALWAYS)
    a = normal(0, 2, 4)

    def change(message):
        return replace(message, tag=bytes(32))

    ends = layer.host.forward(2, True), layer.collaborator.forward(a, True)
    with pytest.raises(VerificationFailed):
        pump(*(tampering(end, kind, change) for end in ends))
