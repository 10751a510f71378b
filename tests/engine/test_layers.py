"""A party's sides of the projection layers, and what the manifest says of each."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from protocols.core.distance import DistanceBudget
from protocols.layer.interface import LayerSpec
from secure_hfl.engine.layers import Layers, declared_batches, layer_spec

SPEC = LayerSpec("bank", 4, 3, 32, True, bytes(32))


def layer(number: float) -> Any:
    """One that can be told apart."""
    kept = {"share": np.array([number])}
    return SimpleNamespace(state=lambda: kept, weights=lambda: {"weight": kept["share"]})


def test_a_layer_that_is_made_again_takes_the_place_of_the_first() -> None:
    layers: Layers[Any] = Layers()
    layers.add(SPEC, layer(1.0))
    layers.add(replace(SPEC, feature_key="shop", width_in=7), layer(2.0))
    again = layers.add(replace(SPEC, rows=16), layer(3.0))
    assert list(layers.by_key) == ["bank", "shop"]
    assert layers.by_key["bank"] is again
    assert layers.shapes() == {"bank": (16, 4), "shop": (32, 7)}
    assert layers.states()["bank"]["share"] == 3.0
    assert layers.weights()["shop"]["weight"] == 2.0


def spec_of(manifest: Any, key: str, width: int, seed: int | None) -> LayerSpec:
    return layer_spec(manifest, key, 32, width, seed, (100, 33), DistanceBudget())


@pytest.mark.parametrize(
    ("rounds", "batches", "is_trained", "wanted"),
    [
        (10, 0, True, 10 * (4 + 2)),
        (10, 0, False, 4 + 2),
        (0, 0, True, None),
        (0, 3, True, None),
        (10, 3, True, 10 * (3 + 2)),
        (10, 9, True, 10 * (4 + 2)),
        (1, 3, False, 3 + 2),
        (2, 3, False, 4 + 2),
    ],
    ids=[
        *("rounds of both", "frozen: once", "nobody says", "batches only", "batches of a round"),
        *("more batches than there are", "frozen: part of it", "frozen: all in two rounds"),
    ],
)
def test_the_declared_run_is_rounds_of_training_and_of_tests(
    rounds: int, batches: int, is_trained: bool, wanted: int | None
) -> None:
    manifest: Any = SimpleNamespace(max_rounds=rounds, max_batches=batches)
    assert declared_batches(manifest, (100, 33), 32, is_trained) == wanted


def test_a_layer_is_as_the_manifest_fixes_it() -> None:
    manifest: Any = SimpleNamespace(
        feature_keys=("bank", "shop"),
        projection_widths=(3, 0),
        has_projection=True,
        trainable=(True, False),
        session=bytes(32),
        max_rounds=0,
        max_batches=0,
        others_in_sum=0,
    )
    assert spec_of(manifest, "bank", 4, None) == SPEC
    shop = spec_of(manifest, "shop", 5, 9)
    assert (shop.width_out, shop.trainable, shop.seed) == (5, False, 9), "0 is as wide as the features"
    manifest.has_projection = False
    assert spec_of(manifest, "bank", 4, None).width_out is None
