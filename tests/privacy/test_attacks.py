"""Attacks on what a collaborator receives in training, from real roles: they work, and noise helps."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import exp, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.privacy.inversion import known_features, separation
from benchmarks.privacy.label_inference import gradient_attacks
from benchmarks.privacy.views import OTHER, Run, Setting, Task, Views
from protocols.schemes.plain.host import PlainHost
from secure_hfl import GaussianNoise, MarvellNoise, MaxNormNoise, RandomizedResponse

WIDTH = 4
LAYER = Setting(projection=WIDTH)


@lru_cache
def task() -> Task:
    """One in ten is positive, and the collaborator's columns say which."""
    random = torch.Generator().manual_seed(1)
    labels = (torch.rand(400, generator=random) < 0.1).long()
    host, other = torch.randn(2, 400, 6, generator=random)
    other[:, 0] += labels
    return Task(
        name="synthetic",
        host=host,
        other=other,
        labels=labels,
        train=320,
        host_bottom=lambda: nn.Linear(6, WIDTH),
        other_bottom=lambda: nn.Sequential(nn.Linear(6, WIDTH), nn.Tanh()),
        widths=(WIDTH, WIDTH),
        rows=64,
        epochs=8,
        learning_rate=0.05,
    )


@lru_cache
def undefended() -> Views:
    return Run(task(), LAYER).train()


def attacks(views: Views) -> dict[str, float]:
    return gradient_attacks(views, task().labels.numpy())


def test_without_noise_gradients_give_the_labels_away() -> None:
    scores = attacks(undefended())
    assert scores["norm"] > 0.95
    assert scores["cosine"] > 0.95
    assert scores["spectral, all epochs"] > 0.95


@pytest.mark.parametrize(
    "noise",
    [lambda: GaussianNoise(0.01, 4.0), MaxNormNoise, lambda: MarvellNoise(16.0)],
    ids=["gauss", "max", "marvell"],
)
def test_noise_takes_most_of_it_away(noise: object) -> None:
    scores = attacks(Run(task(), replace(LAYER, noise=noise)).train())  # type: ignore[arg-type]
    assert scores["norm"] < 0.7
    assert scores["cosine"] < 0.8


@lru_cache
def labels_by_a_coin() -> Task:
    """Columns say nothing of them, so that all that is found of one is found in training."""
    random = torch.Generator().manual_seed(2)
    return replace(task(), labels=torch.randint(0, 2, (400,), generator=random))


@pytest.mark.parametrize("epsilon", [None, 2.0, 1.0])
def test_attacks_over_all_epochs_find_drawn_labels_and_no_more(epsilon: float | None) -> None:
    """Of true ones no attack can have an AUC of more than e^epsilon / (1 + e^epsilon), give or take 320 draws."""
    privacy = None if epsilon is None else RandomizedResponse(epsilon, 2)
    views = Run(labels_by_a_coin(), replace(LAYER, privacy=privacy)).train()
    found = {
        name: max(score for attack, score in gradient_attacks(views, labels).items() if not attack.endswith("95%"))
        for name, labels in (("drawn", views.labels), ("true", labels_by_a_coin().labels.numpy()))
    }
    assert found["drawn"] > 0.95
    if epsilon is None:
        assert found["true"] > 0.95
        return
    bound = 1 / (1 + exp(-epsilon))
    assert bound - 0.1 < found["true"] < bound + 4 * sqrt(bound * (1 - bound) / 320)


def test_a_frozen_bottom_model_shows_nothing_to_attack() -> None:
    views = Run(task(), replace(LAYER, trainable=False, noise=lambda: GaussianNoise(0.01, 4.0))).train()
    assert [da for _, da in views.batches] == [None] * 40
    assert attacks(views) == {}


def test_a_frozen_bottom_models_layer_learns_from_gradients_without_noise() -> None:
    frozen = replace(LAYER, trainable=False)
    noised = replace(frozen, noise=lambda: GaussianNoise(0.01, 4.0))
    weights = []
    for setting in (frozen, noised):
        run = Run(task(), setting)
        run.train()
        weights.append(run.layer.weights()["weight"])
    assert np.array_equal(*weights)


def test_a_seeded_run_repeats() -> None:
    setting = replace(LAYER, noise=lambda: MarvellNoise(4.0))
    runs = [Run(task(), setting).train() for _ in range(2)]
    for (_, one), (_, other) in zip(runs[0].batches, runs[1].batches, strict=True):
        assert one is not None
        assert other is not None
        assert np.array_equal(one, other)
    assert any(not np.array_equal(one[1], other[1]) for one, other in zip(runs[0].batches, undefended().batches))


@pytest.mark.parametrize("noise", [None, GaussianNoise(0.01, 1.0), MarvellNoise(4.0)], ids=str)
def test_the_gradient_and_the_layer_come_from_the_same_noised_gradient(noise: GaussianNoise | None) -> None:
    """W moves by -lr dz'^T a with the dz' behind da = dz' W: no other noise, and not dz itself."""
    run = Run(task(), replace(LAYER, noise=lambda: noise, batches=1))
    assert isinstance(run.layer, PlainHost)
    before = run.layer.weights()["weight"]
    before = before.copy()
    rows = torch.randperm(task().train, generator=torch.Generator().manual_seed(1))[: task().rows]
    with torch.no_grad():
        a = run.other(task().other[rows]).numpy().astype(float)
    views = run.train()
    (received,) = [da for _, da in views.batches]
    assert received is not None
    behind = np.linalg.solve(before.T, received.astype(float).T).T
    rate = run.optimizer.projection_lr[OTHER]
    assert run.layer.weights()["weight"] - before == pytest.approx(-rate * behind.T @ a, rel=1e-3, abs=1e-8)
    assert np.allclose(behind, views.dz[0], rtol=1e-3, atol=1e-7) == (noise is None)


def test_in_one_look_a_square_layer_hides_no_features_from_who_knows_some_and_a_narrow_one_does() -> None:
    views = undefended()
    assert known_features(views.z, views.a, 0.05) < 1e-6
    narrow = Run(task(), Setting(projection=2, trainable=False)).train()
    assert known_features(narrow.z, narrow.a, 0.05) > 0.1


def test_source_separation_works_on_independent_features() -> None:
    random = np.random.default_rng(0)
    a = random.laplace(size=(2000, 5))
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    assert separation(a @ rotation, a) < 0.05
    assert separation(random.normal(size=(2000, 5)), a) > 0.9
