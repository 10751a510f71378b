"""What the collaborator makes of its gradients: the labels.

    norm         Li et al.: rare labels have long gradients. One batch, no knowledge.
    cosine       Li et al.: the cosine to the gradient of one sample known to be positive. One batch.
    all epochs   Scores added up per sample over all epochs, since noise that is drawn anew averages out: of the norm;
                 along the mean gradient of five samples known to be positive (direction); and along the direction in
                 which recent gradients vary most (spectral), for which no sample need be known.
    completion   Fu et al.: complete the bottom model with a few known labels, by fine-tuning with a new head, or (which
                 uses all samples, as their MixMatch does) by clusters of its outputs around the known ones. `scratch`
                 is the same with a fresh bottom model: what those labels and the collaborator's columns tell anyhow.

Fu et al.'s direct attack reads the sign of the gradient of a logit. It needs a Host without a top model, which there is
not here.

**Reference** Li et al., Label Leakage and Protection in Two-party Split Learning (ICLR 2022); Fu et al., Label
Inference Attacks Against Vertical Federated Learning (USENIX Security 2022).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from benchmarks.privacy.scores import auc
from benchmarks.privacy.views import Task, Views

Array = NDArray[Any]
KNOWN = 5
MEMORY = 0.9
STEPS, CLUSTER_STEPS = 150, 5


def gradient_attacks(views: Views, labels: Array) -> dict[str, float]:
    """The AUC of each attack on binary labels [n], the mean over batches and for the first two also the 95th
    percentile, which Li et al. report. Empty if there was no gradient to see."""
    positive = labels == 1
    seen = [(rows, da) for rows, da in views.batches if da is not None]
    if not seen:
        return {}
    norms = [auc(np.linalg.norm(da, axis=1), positive[rows]) for rows, da in seen]
    cosines = [_cosine(da, positive[rows]) for rows, da in seen]
    scores = {"norm": _over_batches(norms), "cosine": _over_batches(cosines)}
    scores |= {
        f"{name} 95%": float(np.nanquantile(each, 0.95)) for name, each in (("norm", norms), ("cosine", cosines))
    }
    return scores | _all_epochs(seen, positive)


def _over_batches(each: list[float]) -> float:
    """An attacker may turn its score around."""
    mean = float(np.nanmean(each))
    return max(mean, 1 - mean)


def _cosine(da: Array, positive: Array) -> float:
    """Mean over which positive sample is the known one."""
    directions = da / np.maximum(np.linalg.norm(da, axis=1, keepdims=True), 1e-30)
    cosines = directions @ directions.T
    values = [
        auc(np.delete(cosines[hint], hint), np.delete(positive, hint)) for hint in np.flatnonzero(positive)[:KNOWN]
    ]
    return float(np.nanmean(values)) if len(values) > 1 else float("nan")


def _all_epochs(seen: list[tuple[Array, Array]], positive: Array) -> dict[str, float]:
    """Scores added up by sample. A batch counts relative to its own spread, because gradients shrink in training."""
    trained = np.unique(np.concatenate([rows for rows, _ in seen]))
    known = trained[positive[trained]][:KNOWN]
    names = ("norm", "direction", "spectral")
    sums = {name: np.zeros(len(positive)) for name in names}
    width = seen[0][1].shape[1]
    hinted, top, moment = np.zeros(width), np.zeros(width), np.zeros((width, width))
    for rows, da in seen:
        norms = np.linalg.norm(da, axis=1)
        unit = da / (norms.mean() + 1e-30)
        # Directions move slowly, so the past batches' say helps; so does the last direction's for the sign of the next.
        hinted = MEMORY * hinted + unit[np.isin(rows, known)].sum(axis=0)
        moment = MEMORY * moment + unit.T @ unit
        axis = np.linalg.eigh(moment)[1][:, -1]
        top = axis if axis @ top >= 0 else -axis
        for name, values in zip(names, (norms, unit @ hinted, unit @ top), strict=True):
            sums[name][rows] += (values - values.mean()) / (values.std() + 1e-30)
    judged = np.setdiff1d(trained, known)
    return {f"{name}, all epochs": _over_batches([auc(sums[name][judged], positive[judged])]) for name in names}


def completion(views: Views, task: Task, per_class: int, draws: int = 3) -> dict[str, float]:
    """Accuracy over the training rows whose labels are not known, the mean over draws of the known ones, of the better
    of both ways; from the collaborator's bottom model, and from scratch."""
    labels = task.labels[: task.train].numpy()
    scores: dict[str, Array] = {"completion": np.zeros((draws, 2)), "scratch": np.zeros((draws, 2))}
    for draw in range(draws):
        chosen = np.random.default_rng(draw)
        known = np.concatenate(
            [chosen.choice(np.flatnonzero(labels == each), per_class, replace=False) for each in range(task.classes)]
        )
        unknown = np.setdiff1d(np.arange(task.train), known)
        for name, bottom in (("completion", views.bottom), ("scratch", views.fresh)):
            guesses = _by_clusters(bottom, task, known), _by_fine_tuning(bottom, task, known, draw)
            scores[name][draw] = [(guess == labels)[unknown].mean() for guess in guesses]
    return {name: float(each.mean(axis=0).max()) for name, each in scores.items()}


def _by_clusters(bottom: nn.Module, task: Task, known: Array) -> Array:
    """k-means of the outputs, started at the means of the known samples of each class."""
    bottom.eval()
    with torch.no_grad():
        outputs = bottom(task.other[: task.train]).numpy()
    outputs = (outputs - outputs.mean(axis=0)) / (outputs.std(axis=0) + 1e-12)
    labels = task.labels.numpy()[known]
    means = np.stack([outputs[known][labels == each].mean(axis=0) for each in range(task.classes)])
    for _ in range(CLUSTER_STEPS):
        nearest = _nearest(outputs, means)
        groups = [outputs[nearest == each] for each in range(task.classes)]
        means = np.stack([group.mean(axis=0) if len(group) else mean for group, mean in zip(groups, means)])
    return _nearest(outputs, means)


def _nearest(outputs: Array, means: Array) -> Array:
    nearest: Array = np.square(outputs[:, None] - means).sum(axis=2).argmin(axis=1)
    return nearest


def _by_fine_tuning(bottom: nn.Module, task: Task, known: Array, seed: int) -> Array:
    torch.manual_seed(seed)
    model = nn.Sequential(copy.deepcopy(bottom), nn.Linear(task.widths[1], task.classes))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, weight_decay=1e-3)
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(task.other[known]), task.labels[known]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        guess: Array = model(task.other[: task.train]).argmax(1).numpy()
    return guess
