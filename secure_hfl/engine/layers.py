"""This party's sides of the projection layers, by the collaborator's feature key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from protocols.core.distance import DistanceBudget
from protocols.core.message import Array
from protocols.layer.interface import STOCK_BYTES, LayerSide, LayerSpec
from protocols.task.manifest import Manifest

LayerT = TypeVar("LayerT", bound=LayerSide)


class Layers(Generic[LayerT]):
    """One a collaborator.

    Attributes:
        specs: what each is like.
        by_key: the layers.
    """

    def __init__(self) -> None:
        self.specs: dict[str, LayerSpec] = {}
        self.by_key: dict[str, LayerT] = {}

    def add(self, spec: LayerSpec, layer: LayerT) -> LayerT:
        """One more, or a new one in place of an interrupted conversation's."""
        self.specs[spec.feature_key], self.by_key[spec.feature_key] = spec, layer
        return layer

    def clear(self) -> None:
        """Let go of all: keys, stocks and tables, tens of megabytes a layer."""
        self.specs.clear()
        self.by_key.clear()

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Rows and width of the features of each."""
        return {key: (spec.rows, spec.width_in) for key, spec in self.specs.items()}

    def states(self) -> dict[str, Mapping[str, Array]]:
        """What a checkpoint keeps of each."""
        return {key: layer.state() for key, layer in self.by_key.items()}

    def rows_shown(self) -> dict[str, int]:
        """How many rows of each frozen bottom model have crossed."""
        shown = {key: layer.rows_shown for key, layer in self.by_key.items()}
        return {key: count for key, count in shown.items() if count is not None}

    def weights(self) -> dict[str, Mapping[str, Array]]:
        """What the results keep of each."""
        return {key: layer.weights() for key, layer in self.by_key.items()}


def declared_batches(manifest: Manifest, samples: tuple[int, int], rows: int, is_trained: bool) -> int | None:
    """How many batches the run has at most, tests included, as far as it was declared; None: it was not.

    Args:
        manifest: says for how many rounds the host means to train, and on how many batches of each.
        samples: of training, and of testing. Both are gone through once a round at most.
        rows: of a batch.
        is_trained: whether the bottom model is. A frozen one's features cross once.
    """
    rounds = manifest.max_rounds
    if not rounds:
        return None
    train, test = (-(-count // rows) for count in samples)
    a_round = min(train, manifest.max_batches or train)
    return (a_round + test) * rounds if is_trained else min(train, a_round * rounds) + test


def layer_spec(
    manifest: Manifest,
    key: str,
    rows: int,
    width: int,
    seed: int | None,
    samples: tuple[int, int],
    budget: DistanceBudget,
    stock_bytes: int = STOCK_BYTES,
) -> LayerSpec:
    """A collaborator's layer, as the manifest fixes it, for features [rows, width]; `samples` as above.

    Args:
        budget: what this party may still show in it.
        stock_bytes: memory for what a peer has made and not used.
    """
    at = manifest.feature_keys.index(key)
    return LayerSpec(
        feature_key=key,
        width_in=width,
        width_out=(manifest.projection_widths[at] or width) if manifest.has_projection else None,
        rows=rows,
        trainable=manifest.trainable[at],
        session=manifest.session,
        seed=seed,
        budget=budget,
        stock_bytes=stock_bytes,
        batches=declared_batches(manifest, samples, rows, manifest.trainable[at]),
        summands=manifest.others_in_sum + 1,
    )
