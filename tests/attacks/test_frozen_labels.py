"""Labels in the collaborator's view: none with a frozen bottom model, clear ones with a trained one.

One sample a batch, labels as rare and as telling as in the norm attack: the gradient of a positive sample is nine
times as long. The attacker sees all that the collaborator gets (messages, their sizes, their bytes) and all that it
can make of it (decryptions under its own key, whether or not they were meant for it). Of a trained one a classifier is
trained on half of the batches with their labels, more than a real attacker has, and judged on the other half.

Reference: Li et al., Label Leakage and Protection in Two-party Split Learning (ICLR 2022), for the norm attack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.pump import pump
from protocols.core.message import Message
from protocols.he.bfv import BfvSecret
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import BatchClosed
from protocols.schemes.encrypted.messages import FeatureGradient, StepGradient
from protocols.schemes.shares.messages import HostShare
from tests.protocols.he.bfv_helpers import T, compose, key_polynomial, negacyclic, operand_polynomials
from tests.protocols.kept_layers import layer_ends
from tests.protocols.layer.helpers import Layer, normal

D, O = 4, 3  # noqa: E741


def decrypted_with_own_key(owner: BfvSecret, part: bytes) -> NDArray[np.float64]:
    """Mean and spread of what the collaborator's key makes of a ciphertext that is not under it."""
    modulus = owner._engine.parameters.modulus
    c0, c1 = (compose(half, owner._engine.parameters.data_primes) for half in operand_polynomials(owner, part))
    phase = (c0 + negacyclic(c1, key_polynomial(owner))) % modulus
    values = ((phase * T + modulus // 2) // modulus % T).astype(float) / T
    return np.array([values.mean(), values.std(), values[: D * O].mean()])


def traits(layer: Layer, messages: list[Message], da: NDArray[np.float32]) -> NDArray[np.float64]:
    """Numbers that describe one batch's view."""
    out: list[float] = [len(messages)]
    for message in messages:
        assert isinstance(message, (StepGradient, HostShare, FeatureGradient))
        data = np.frombuffer(b"".join(message.parts), np.uint8)
        counts = np.histogram(data, bins=4, range=(0, 256))[0]
        out += [len(message.parts), len(data), data.mean(), data.std(), *(counts / len(data))]
        if isinstance(message, FeatureGradient):
            out.append(message.exponent)
        else:
            out += decrypted_with_own_key(layer.collaborator._products._secret, message.parts[0]).tolist()
    return np.array([*out, float(np.log(np.linalg.norm(da)))])


def drawn(batches: int) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """Labels as -1 and 1, and a gradient of each: that of a positive sample is nine times as long."""
    labels = np.where(np.random.default_rng(1).permutation(batches) % 2, 1.0, -1.0)
    directions = [normal(3000 + number, 1, O, scale=0.1) + np.float32(0.5) for number in range(batches)]
    return labels, [each * np.float32(0.9 if label > 0 else 0.1) for each, label in zip(directions, labels)]


def views(batches: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(traits of every batch, labels as -1 and 1, norms of da)."""
    layer = Layer(D, O, 1)
    labels, gradients = drawn(batches)
    rows, norms = [], []
    for number, gradient in enumerate(gradients):
        layer.forward(normal(number, 1, D))
        start = len(layer.view.from_host)
        da = layer.backward(gradient, 0.01)
        rows.append(traits(layer, layer.view.from_host[start:], da))
        norms.append(float(np.linalg.norm(da)))
    return np.stack(rows), labels, np.array(norms)


def accuracy(rows: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Ridge regression on standardised traits: trained on the first half, judged on the second."""
    half = len(rows) // 2
    centre, spread = rows[:half].mean(axis=0), rows[:half].std(axis=0)
    features = np.where(spread > 1e-12, (rows - centre) / np.where(spread > 1e-12, spread, 1), rows - centre)
    train = features[:half]
    weights = np.linalg.solve(train.T @ train + 5.0 * np.eye(train.shape[1]), train.T @ labels[:half])
    return float((np.sign(features[half:] @ weights) == labels[half:]).mean())


def test_a_frozen_bottom_models_owner_learns_no_labels() -> None:
    """Behind a gradient there is one message, with nothing in it; before one, nothing can depend on it."""
    host, collaborator = layer_ends("bfv", LayerSpec("side", D, O, 1, False, bytes(32)), 0)
    pump(host.setup(), collaborator.setup())
    for number, gradient in enumerate(drawn(8)[1]):
        pump(host.forward(1, True), collaborator.forward(normal(number, 1, D), True))
        talk = pump(host.backward(gradient, 0.01), collaborator.backward())
        assert talk.right is None
        assert talk.from_left == [BatchClosed()]


def test_a_trained_one_shows_them_so_the_attack_works() -> None:
    rows, labels, norms = views(batches=60)
    assert accuracy(rows, labels) > 0.9
    guess = np.where(norms > np.median(norms), 1.0, -1.0)  # the norm attack, which needs no training
    assert (guess == labels).mean() > 0.95
