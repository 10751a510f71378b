"""A party's sides of the projection layers, and what the manifest says of each."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from protocols.layer.interface import LayerSpec
from secure_hfl.engine.layers import Layers, layer_spec

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


def test_a_layer_is_as_the_manifest_fixes_it() -> None:
    manifest: Any = SimpleNamespace(
        feature_keys=("bank", "shop"),
        projection_widths=(3, 0),
        has_projection=True,
        trainable=(True, False),
        session=bytes(32),
    )
    assert layer_spec(manifest, "bank", 32, 4, None) == SPEC
    shop = layer_spec(manifest, "shop", 32, 5, 9)
    assert (shop.width_out, shop.trainable, shop.seed) == (5, False, 9), "0 is as wide as the features"
    manifest.has_projection = False
    assert layer_spec(manifest, "bank", 32, 4, None).width_out is None
