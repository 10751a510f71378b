"""A host that comes back to a checkpoint: two runs from one state, with other gradients, and what it gets of both.

    masks from the checkpoint     a mask hides two values: how the shares moved gives (dz - dz')^T a, and with it a
    one key of smoothing noise    a version comes twice with two W: z - z' = a (W - W')^T without any noise
    fresh noise at every resume   the batch at the checkpoint is asked for again and again: the average has no noise

The weak designs, each of which is one line in a checkpoint more or less, are attacked by the same code as ours.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.fixed_point import FEATURE_BITS, GRADIENT_FEATURE_BITS, STEP_BITS, WEIGHT_BITS
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness
from protocols.he.interface import as_signed
from protocols.layer.messages import ProjectionKey
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import Ring, subtract
from protocols.schemes.masked.messages import (
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.triples import KINDS, TRAIN
from tests.attacks.split_training import CHANCE, Matrix, closeness
from tests.attacks.test_masks import CHI_SQUARE_LIMIT, chi_square
from tests.protocols.layer.helpers import Floats, Layer, normal
from tests.protocols.schemes.masked import helpers as masked_layers

D, O, ROWS, RATE = 12, 20, 16, 0.5  # noqa: E741
CHECKED = LayerParameters(check_every=1)

# Masks ------------------------------------------------------------------------------------------------------------


def features_of(moved: Ring, other_moved: Ring, dz: Floats, other_dz: Floats) -> Matrix:
    """a, from two moves of one share that hide the two steps of one batch under the same masks."""
    difference = as_signed(subtract(other_moved, moved)) * 2.0**-WEIGHT_BITS
    steps = RATE * (dz.astype(float) - other_dz.astype(float))
    return np.linalg.lstsq(steps.T, difference, rcond=None)[0]


def gradients() -> tuple[Floats, Floats]:
    return normal(2, ROWS, O, scale=0.1), normal(3, ROWS, O, scale=0.1)


def masks_from_a_checkpoint(one: Layer, other: Layer) -> None:
    seed = OsRandomness().seed()
    for layer in (one, other):
        layer.collaborator._share.secrets._seed = seed


@pytest.mark.parametrize("is_weak", [True, False])
def test_encrypted_rollback(is_weak: bool) -> None:
    """The host's view of its own share U, after the same batch with two gradients."""
    layer, a = Layer(D, O, ROWS, seed=None), normal(1, ROWS, D)
    again = layer.resumed()
    if is_weak:
        masks_from_a_checkpoint(layer, again)
    for run, dz in zip((layer, again), gradients()):
        run.forward(a)
        run.backward(dz, RATE)
    guess = features_of(layer.host._share.values, again.host._share.values, *gradients())
    if is_weak:
        assert np.abs(guess - a).max() < 0.01
    else:
        assert closeness(guess, a.astype(float)) < CHANCE


def two_masked_runs(is_weak: bool, features: list[list[Floats]], steps: list[list[Floats]]) -> list[Any]:
    """Both runs from one state; each has its batches and gradients. The weak design keeps its pools of triples."""
    (rows, d), o, count = features[0][0].shape, steps[0][0].shape[1], len(features[0])
    layer = masked_layers.Layer(masked_layers.layer_spec(rows, d, o))
    layer.deal(TRAIN, count)
    again = layer.resumed()
    if is_weak:
        for kept, pool in ((layer.host, again.host), (layer.collaborator, again.collaborator)):
            pool.triples._stock = {kind: kept.triples._stock[kind].copy() for kind in KINDS}
    else:
        again.deal(TRAIN, count)
    for run, batches, gradients_of_run in zip((layer, again), features, steps):
        for a, dz in zip(batches, gradients_of_run):
            run.forward(a)
            run.backward(dz, RATE)
    return [layer, again]


def sent(layer: Any, kind: type[Message], name: str) -> list[Ring]:
    return [getattr(message, name) for message in layer.sent if isinstance(message, kind)]


@pytest.mark.parametrize("is_weak", [True, False])
def test_masked_rollback(is_weak: bool) -> None:
    """The host's view of nu = V - N, in the batch after the one that had two gradients."""
    a = normal(1, ROWS, D)
    runs = two_masked_runs(is_weak, [[a, a]] * 2, [[dz, dz] for dz in gradients()])
    nus = [sent(run, MaskedGradientFeatures, "share") for run in runs]
    guess = features_of(nus[0][1], nus[1][1], *gradients())
    if is_weak:
        assert np.abs(guess - a).max() < 0.01
    else:
        assert closeness(guess, a.astype(float)) < CHANCE


WIDE = 48
OPENINGS = [
    (MaskedFeatures, "features"),
    (MaskedGradientFeatures, "features"),
    (MaskedGradientFeatures, "share"),
    (MaskedGradient, "gradient"),
    (MaskedStep, "step"),
    (MaskedShare, "share"),
]


@pytest.mark.parametrize("is_weak", [True, False])
def test_openings_of_two_runs_differ_by_nothing_but_masks(is_weak: bool) -> None:
    """alpha - alpha' and the like: with kept triples a difference of features, with ours uniform."""
    features, steps = ([[normal(seed, 64, WIDE) for seed in (at, at + 1)] for at in ats] for ats in ((0, 10), (20, 30)))
    one, other = two_masked_runs(is_weak, features, steps)
    for kind, name in OPENINGS:
        differences = [subtract(*pair) for pair in zip(sent(one, kind, name), sent(other, kind, name), strict=True)]
        assert (chi_square(np.concatenate(differences)) < CHI_SQUARE_LIMIT) != is_weak
    alphas = [sent(run, MaskedFeatures, "features") for run in (one, other)]
    for alpha, alpha_again, a, b in zip(*alphas, *features):
        hidden = np.rint(a.astype(float) * 2.0**FEATURE_BITS) - np.rint(b.astype(float) * 2.0**FEATURE_BITS)
        assert np.mean(as_signed(subtract(alpha, alpha_again)) == hidden) == is_weak


# Nothing is said twice --------------------------------------------------------------------------------------------


def one_time_values(messages: Iterable[Message]) -> list[bytes]:
    """Every key, ciphertext and masked ring element."""
    values: list[bytes] = []
    for message in messages:
        for field in fields(message):
            value = getattr(message, field.name)
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, np.ndarray):
                    values += [element.tobytes() for element in each.ravel()]
                elif isinstance(each, bytes):
                    values.append(each)
    return values


def repeated(values: list[bytes]) -> int:
    counts = Counter(hashlib.sha256(value).digest() for value in values)
    return sum(count > 1 for count in counts.values())


def train(layer: Any) -> list[Message]:
    """All that both ends say over the same two batches with the same gradients, resume and triples included."""
    for number in range(2):
        if isinstance(layer, masked_layers.Layer):
            making = layer.host.triples.generate(*layer.host.needs(True, ROWS))
            layer._pump(making, masked_layers.answering(layer.collaborator.triples))
        layer.forward(normal(number, ROWS, D))
        layer.backward(gradients()[number], RATE)
    return layer.sent if isinstance(layer, masked_layers.Layer) else layer.view.from_host + layer.view.from_collaborator


@pytest.mark.parametrize("scheme", ["fresh bfv", "masked"])
def test_nothing_is_said_twice_in_a_run_and_three_resumes(scheme: str) -> None:
    """Not even where everything that is hidden is the same."""
    if scheme == "masked":
        layer: Any = masked_layers.Layer(masked_layers.layer_spec(ROWS, D, O), parameters=CHECKED)
    else:
        layer = Layer(D, O, ROWS, backend=scheme, parameters=CHECKED, seed=None)
    states = layer.states()
    said = [one_time_values(train(each)) for each in (layer, *(layer.resumed(states) for _ in range(3)))]
    assert all(len(values) > 20 for values in said)
    assert repeated([value for values in said for value in values]) == 0


def test_with_kept_triples_it_would_be() -> None:
    a = normal(1, ROWS, D)
    one, other = two_masked_runs(True, [[a]] * 2, [[dz] for dz in gradients()])
    assert repeated(one_time_values(one.sent) + one_time_values(other.sent)) >= ROWS * D


def test_keys_are_fresh_and_a_state_holds_none() -> None:
    layer = Layer(D, O, ROWS, backend="fresh bfv", seed=None)
    again = layer.resumed()
    keys = [
        message.public_key
        for run in (layer, again)
        for message in run.view.from_host + run.view.from_collaborator
        if isinstance(message, ProjectionKey)
    ]
    assert len(set(keys)) == len(keys) == 4
    for state in layer.states():
        assert set(state) == {"share", "version", "batches", "noise_key"}


# Smoothing noise --------------------------------------------------------------------------------------------------


def keep_the_noise(layer: Layer) -> None:
    """The weak rule: the key in force at the checkpoint is in force for ever."""
    for end in (layer.host, layer.collaborator):
        end._share.noise._later = None


@pytest.mark.parametrize("is_weak", [True, False])
def test_two_weights_under_one_noise_give_exact_inner_products_away(is_weak: bool) -> None:
    """A step of 0, and one of 1/4 for each sample in an output of its own: W' - W is -a/4, and z' - z is -p a^T / 4."""
    layer, a, probe = Layer(D, O, O, seed=None), normal(1, O, D), normal(2, 40, D)
    again = layer.resumed()
    if is_weak:
        keep_the_noise(again)
    seen = []
    for run, step in ((layer, 0.0), (again, 0.25)):
        run.forward(a)
        run.backward(step * np.eye(O, dtype=np.float32), 1.0)
        run.forward(probe)
        seen.append(run.exact_projection())
    quantised = [
        np.rint(values.astype(float) * 2.0**bits).astype(np.int64)
        for values, bits in ((probe, FEATURE_BITS), (a, GRADIENT_FEATURE_BITS))
    ]
    inner_products = quantised[0] @ quantised[1].T
    found = (seen[0] - seen[1]) / 2 ** (STEP_BITS - 2)
    sigma = layer.sigma * 2.0**WEIGHT_BITS / 2 ** (STEP_BITS - 2)
    if is_weak:
        assert np.array_equal(found, inner_products)
    else:
        assert np.mean(found == inner_products) < 0.01
        assert np.std(found - inner_products) == pytest.approx(np.sqrt(2) * sigma, rel=0.2)


RESUMES = 40


def average_error(state_of: Callable[[dict[str, Any]], dict[str, Any]]) -> tuple[float, list[NDArray[np.int64]]]:
    """Deviation of the average answer to one batch, over many resumes from one state, in sigmas; and the answers."""
    layer, a = Layer(D, O, ROWS, seed=None), normal(1, ROWS, D)
    host, collaborator = layer.states()
    answers = []
    for _ in range(RESUMES):
        run = layer.resumed((host, state_of(dict(collaborator))))
        run.forward(a)
        answers.append(run.exact_projection())
    weights = np.rint(layer.weights() * 2.0**WEIGHT_BITS).astype(np.int64)
    exact = np.rint(a.astype(float) * 2.0**FEATURE_BITS).astype(np.int64) @ weights.T
    error = np.mean([answer - exact for answer in answers], axis=0)
    return float(np.std(error)) / (layer.sigma * 2.0**WEIGHT_BITS), answers


def test_fresh_noise_at_every_resume_averages_away() -> None:
    def with_a_fresh_key(state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "noise_key": np.frombuffer(OsRandomness().seed(), np.uint8)}

    error, _ = average_error(with_a_fresh_key)
    assert error < 1.3 / np.sqrt(RESUMES)


def test_resuming_again_and_again_gives_the_same_answer() -> None:
    error, answers = average_error(lambda state: state)
    assert 0.8 < error < 1.2
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
