"""What the Host makes of a whole run: attacks on features over the rounds, and what two ideas against them would buy.

    python -m benchmarks.privacy.rounds [--json FILE] [--png DIR] [--quick]

The attacks are in benchmarks/privacy/whole_run.py and clouds.py. The task is the right halves of 1,000 MNIST digits,
with 1,000 more to test on, batches of 50 and the layer's default learning rate. Bottom models are trained; or frozen;
or they stand still under a layer that moves, as frozen ones did up to protocol version 2. One thread, half a minute.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.privacy import tasks
from benchmarks.privacy.clouds import aligned
from benchmarks.privacy.figures import draw_rounds
from benchmarks.privacy.scores import nmse
from benchmarks.privacy.summed import KNOWN, summed_scores
from benchmarks.privacy.tables import print_lines
from benchmarks.privacy.views import PROJECTION_LR, Run, Setting, Views
from benchmarks.privacy.whole_run import agreement, from_known_rows, inner_products, smoothed, up_to_a_rotation
from protocols.core.randomness import SeededRandomness
from protocols.layer.reference import orthogonal_factor
from secure_hfl.bench.machine import machine

Array = NDArray[Any]
Scores = dict[str, Any]
WIDTHS = (tasks.WIDTH, 5)
PRINTED = (1, 2, 3, 5, 10, 15)
"""Rounds: all are saved."""

DRAWS = 3
"""Of each kind of secret map. The attack's best score is shown: a party draws one, and cannot know how good it is."""

BEST = {"error, as many other rows known": min, "inner products, none known": max, "error, 3 d rows known": min}

BOTTOMS = {
    "trained": Setting(every_round=True),
    "stands still, the layer moves": Setting(every_round=True, stands_still=True),
    "frozen": Setting(every_round=True, trainable=False),
}

UNMOVED = {
    "trained, projection_lr=0": Setting(every_round=True, projection_lr=0.0),
    "stands still, projection_lr=0": Setting(every_round=True, projection_lr=0.0, stands_still=True),
}


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy.rounds", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all scores here")
    parser.add_argument("--png", type=Path, help="write the curves into this directory")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about, started = machine(), time.process_time()
    found = {
        "rounds": over_rounds(BOTTOMS, WIDTHS, options.quick),
        "layers that do not move": over_rounds(UNMOVED, (5,), options.quick),
        "clouds": clouds(options.quick),
        "sums": summed_scores(options.quick),
    }
    seconds = time.process_time() - started
    console = Console(width=150)
    for title, lines in found.items():
        print_lines(console, title, [line for line in lines if line.get("rounds", 1) in PRINTED])
    console.print(f"{seconds:.0f} s of processor time")
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "seconds": seconds, **found}, indent=1) + "\n")
    if options.png:
        options.png.mkdir(parents=True, exist_ok=True)
        draw_rounds(options.png / "privacy_rounds.png", found["rounds"])


# Over the rounds -----------------------------------------------------------------------------------------------------


def over_rounds(bottoms: Mapping[str, Setting], widths: Sequence[int], quick: bool) -> list[Scores]:
    """Each bottom model under a layer of each width, after each round."""
    task = replace(tasks.halves(tutorial=False, train=1000, test=1000, epochs=3 if quick else 15), rows=50)
    lines: list[Scores] = []
    for bottom, setting in bottoms.items():
        for width in widths:
            run = Run(task, replace(setting, projection=width))
            views = smoothed(run.train(), is_frozen=not setting.trainable)
            about = {"bottom model": bottom, "layer": f"20 to {width}", "accuracy": views.accuracy}
            lines += [{**about, **scores} for scores in _each_round(views, setting)]
    return lines


def _each_round(views: Views, setting: Setting) -> Iterator[Scores]:
    for rounds in range(1, len(views.rounds) + 1):
        truth = views.rounds[rounds - 1][1].astype(float)
        looks = [z for z, _ in views.rounds[:rounds]]
        guesses = [from_known_rows(each, truth[:KNOWN]) for each in (looks, looks[-1:])]
        yield {
            "rounds": rounds,
            "error, 50 rows known": min(nmse(guess[KNOWN:], truth[KNOWN:]) for guess in guesses),
            "inner products, none known": _products(views, rounds, setting),
        }


def _products(views: Views, rounds: int, setting: Setting) -> float:
    """Correlation with the true ones: of the round's training rows where the rotation attack is made for the layer,
    else of the test rows."""
    z, truth = (each.astype(float) for each in views.rounds[rounds - 1])
    if setting.trainable and z.shape[1] == truth.shape[1]:
        per_round = len(views.dz) // len(views.rounds)
        own = slice(per_round * (rounds - 1), per_round * rounds)
        steps = [PROJECTION_LR * dz for dz in views.dz]
        batches = zip([z for z, _ in views.projections], steps, strict=True)
        turned = np.concatenate(list(up_to_a_rotation(batches, np.eye(z.shape[1])))[own])
        return agreement(turned @ turned.T, np.concatenate([a for _, a in views.projections[own]]).astype(float))
    one_look = agreement(z @ z.T, truth)
    if setting.stands_still and setting.projection_lr and rounds > 1:
        return max(one_look, agreement(inner_products(views, rounds), truth))
    return one_look


# Other rows of the same population ------------------------------------------------------------------------------------


def clouds(quick: bool) -> list[Scores]:
    """One look through a layer as wide as the features; the same after a secret map of the features at their owner."""
    lines = []
    for name, features in _populations(1000 if quick else 4000):
        random = np.random.default_rng(0)
        half, width = len(features) // 2, features.shape[1]
        rows = features[random.permutation(len(features))]
        seen, others = rows[:half], rows[half : 2 * half]
        layer = orthogonal_factor(SeededRandomness(0, "clouds"), width, width)
        for what, secrets in _secret_maps(width, random).items():
            scores = [_cloud_scores(seen, others, seen @ secret @ layer.T, what == "none") for secret in secrets]
            best = {key: choose(each[key] for each in scores) for key, choose in BEST.items()}
            lines.append({"features": f"{name}, {half} rows", "width": width, "secret map": what, **best})
    return lines


def _cloud_scores(seen: Array, others: Array, z: Array, is_rotation: bool) -> Scores:
    known = 3 * seen.shape[1]
    fitted = from_known_rows([z], seen[:known])
    values = (
        nmse(aligned(z, others, is_rotation), seen),
        agreement(z[:1000] @ z[:1000].T, seen[:1000]),
        nmse(fitted[known:], seen[known:]),
    )
    return dict(zip(BEST, values, strict=True))


def _secret_maps(width: int, random: np.random.Generator) -> dict[str, list[Array]]:
    """A preconditioner: features are multiplied by it before the layer. An orthogonal one is part of W already."""
    return {
        "none": [np.eye(width)],
        "diagonal": [np.diag(np.exp(random.normal(size=width))) for _ in range(DRAWS)],
        "invertible": [random.normal(size=(width, width)) for _ in range(DRAWS)],
    }


def _populations(rows: int) -> Iterator[tuple[str, Array]]:
    """Features that a Host can compute of rows of its own: raw columns, or a bottom model that it has too."""
    from sklearn.datasets import load_breast_cancer, load_digits

    pixels = load_digits().data
    yield "digits, 8 x 8 pixels", pixels[:, pixels.std(axis=0) > 0.1]
    table = load_breast_cancer().data
    scaled = (table - table.mean(axis=0)) / table.std(axis=0)
    yield "breast cancer, all columns", scaled
    yield "breast cancer, 20 columns", scaled[:, [*range(10), *range(20, 30)]]
    torch.manual_seed(1)
    task = tasks.halves(tutorial=True, train=2 * rows, test=0)
    bottom = task.other_bottom().eval()
    with torch.no_grad():
        yield "MNIST halves, the tutorial's model as it begins", bottom(task.other).numpy().astype(float)


if __name__ == "__main__":
    main()
