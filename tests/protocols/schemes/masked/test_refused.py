"""Scheme "masked" refuses what does not belong to the batch, before anything is sent where it is its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.harness.pump import and_rest, pump
from protocols.core.errors import (
    CallOutOfOrder,
    InvalidInput,
    MalformedMessage,
    OutOfRange,
)
from protocols.core.message import Message
from protocols.core.steps import Receive
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.messages import StepSkipped
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedCheckReply,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.triples import TRAIN
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.schemes.masked.helpers import EVERY_BATCH, Layer, altered, layer_spec, values

CHANGES: dict[str, Callable[[Any], Message]] = {
    "index": lambda message: replace(message, index=message.index + 1),
    "version": lambda message: replace(message, version=message.version + 1),
}
WIDER: dict[type[Message], Callable[[Any], Message]] = {
    MaskedShare: lambda message: replace(message, share=wider(message.share)),
    MaskedFeatures: lambda message: replace(message, features=wider(message.features)),
    MaskedGradientFeatures: lambda message: replace(message, features=wider(message.features)),
    MaskedGradient: lambda message: replace(message, gradient=wider(message.gradient)),
    MaskedStep: lambda message: replace(message, step=message.step[:-1].copy()),
    MaskedCheck: lambda message: replace(message, combination=message.combination[:-1].copy()),
    MaskedCheckReply: lambda message: replace(message, features=wider(message.features)),
}


def wider(matrix: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return np.hstack((matrix, matrix[:, :1]))


RING = np.zeros((2, 3), np.uint64)
AHEAD: dict[str, Callable[[Any], Message]] = {
    "triple": lambda message: replace(message, ahead=message.ahead + 1),
    "shape": lambda message: replace(message, share=(wider(message.share[0]),)),
}

CASES = [
    *((kind, change) for kind in WIDER for change in CHANGES.values()),
    *WIDER.items(),
    (MaskedFeatures, lambda message: replace(message, projection=wider(message.projection))),
    (MaskedFeatures, lambda m: replace(m, features=m.features[1:].copy(), projection=m.projection[1:].copy())),
    (MaskedGradientFeatures, lambda message: replace(message, share=wider(message.share))),
    *((MaskedStep, change) for change in AHEAD.values()),
    (MaskedGradient, lambda message: replace(message, feature_gradient=wider(message.feature_gradient))),
    (MaskedCheck, lambda message: replace(message, share=message.share[:-1].copy())),
    (MaskedCheckReply, lambda message: replace(message, features=message.features[1:].copy())),
]


@pytest.mark.parametrize(("kind", "change"), CASES)
@pytest.mark.parametrize("from_host", [True, False])
def test_a_message_that_is_not_of_this_batch_is_refused(
    kind: type[Message], change: Callable[[Any], Message], from_host: bool
) -> None:
    layer = Layer(layer_spec(4, 3, 2), parameters=EVERY_BATCH)
    layer.deal(TRAIN, 4)
    changed = []

    def tamper(message: Message) -> Message:
        if not isinstance(message, kind):
            return message
        changed.append(message)
        return change(message)

    def ours(steps: Any) -> Any:
        return altered(steps, tamper) if from_host else steps

    def theirs(steps: Any) -> Any:
        return steps if from_host else altered(steps, tamper)

    def batch() -> None:
        pump(
            ours(and_rest(layer.host, layer.host.forward(4, True))),
            theirs(layer.collaborator.forward(values(0, 4, 3), True)),
        )
        pump(ours(layer.host.backward(values(1, 4, 2), 0.1)), theirs(layer.closing()))

    sends = {
        True: (MaskedShare, MaskedGradient, MaskedStep, MaskedCheck),
        False: (MaskedFeatures, MaskedGradientFeatures, MaskedCheckReply),
    }
    if kind in sends[from_host]:
        with pytest.raises(MalformedMessage):
            batch()
        assert changed
    else:
        batch()
        assert not changed


def test_pieces_of_one_batch_must_have_one_exponent_and_one_last_step() -> None:
    def exponent(message: Any) -> Message:
        return replace(message, exponent=message.index) if isinstance(message, MaskedGradient) else message

    def follows(message: Any) -> Message:
        return replace(message, ahead=1, share=(RING,)) if isinstance(message, MaskedStep) else message

    for change, text in ((exponent, "one exponent"), (follows, "comes with the last")):
        layer = Layer(layer_spec(4, 3, 2))
        layer.deal(TRAIN, 2)
        layer.forward(values(0, 8, 3))
        with pytest.raises(MalformedMessage, match=text):
            pump(altered(layer.host.backward(values(1, 8, 2), 0.1), change), layer.closing())


def test_calls_out_of_order_are_refused() -> None:
    layer = Layer(layer_spec(4, 3, 2))
    a, dz = values(0, 4, 3), values(1, 4, 2)
    with pytest.raises(CallOutOfOrder, match="no batch of 4 rows"):
        next(layer.host.backward(dz, 0.1))
    with pytest.raises(CallOutOfOrder, match="no training batch"):
        next(layer.collaborator.backward())
    layer.deal(TRAIN, 3)
    layer.forward(a)
    pump(layer.host.backward(dz, 0.1), unsettled(layer))
    with pytest.raises(CallOutOfOrder, match="settled"):
        next(layer.collaborator.forward(a, True))
    for role in (
        MaskedHost(layer.spec, backend(TRIPLES), EVERY_BATCH).forward(4, True),
        MaskedCollaborator(layer.spec, backend(TRIPLES), EVERY_BATCH).forward(a, True),
    ):
        with pytest.raises(CallOutOfOrder, match="set up before"):
            next(role)


def unsettled(layer: Layer) -> Any:
    """The collaborator's backward, and the rest of the messages read but not used."""
    yield from layer.collaborator.backward()
    yield Receive(MaskedStep)


def test_a_skipped_batch_needs_fresh_masks_and_moves_nothing() -> None:
    layer = Layer(layer_spec(4, 3, 2))
    before = layer.weights
    layer.stock_up(4)
    layer.forward(values(0, 4, 3))
    talk = pump(layer.host.skip(), layer.closing())
    assert talk.from_left == [StepSkipped()]
    assert np.array_equal(layer.weights, before)
    assert layer.host.needs(True, 4) == layer.collaborator.needs(True, 4) == (TRAIN, 1)
    with pytest.raises(CallOutOfOrder):
        next(layer.host.backward(values(1, 4, 2), 0.1))


@pytest.mark.parametrize(
    ("features", "error"),
    [
        (np.full((4, 3), np.nan, np.float32), OutOfRange),
        (np.full((4, 3), 64, np.float32), OutOfRange),
        (np.zeros((4, 2), np.float32), InvalidInput),
        (np.zeros((4, 3), np.float64), InvalidInput),
    ],
)
def test_bad_features_are_refused_before_anything_is_sent(features: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        next(Layer(layer_spec(4, 3, 2)).collaborator.forward(features, True))


def test_a_bad_gradient_is_refused_before_anything_is_sent() -> None:
    layer = Layer(layer_spec(4, 3, 2))
    layer.deal()
    layer.forward(values(0, 4, 3))
    with pytest.raises(OutOfRange, match="gradient for patient"):
        next(layer.host.backward(np.full((4, 2), np.inf, np.float32), 0.1))


def test_a_parameter_set_for_small_factors_is_refused() -> None:
    with pytest.raises(InvalidInput, match="noisier"):
        MaskedHost(layer_spec(128, 20, 20), backend(TRAINING), EVERY_BATCH)
