"""How much leaks: attacks on what each party sees, scored; and what noise on gradients costs and buys.

    python -m benchmarks.privacy [--json FILE] [--png DIR] [--quick]

Labels from the collaborator's gradients, features and pictures from the Host's projections, on scheme "plain" with and
without the projection layer; a short run on bfv from the same seed shows that its views are the same up to the
smoothing noise. Anchors show that each attack works where it should. `--json` writes the scores and a few pictures,
which `secure-hfl bench` puts into its report; `--png` (needs matplotlib) draws the curve of accuracy against leakage
and the pictures side by side. Needs scikit-learn. One thread; a minute or two, `--quick` some seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.privacy import tasks
from benchmarks.privacy.figures import draw_curves, draw_pictures, encoded
from benchmarks.privacy.inversion import decoder, known_features, ridge, separation
from benchmarks.privacy.label_inference import completion, gradient_attacks
from benchmarks.privacy.scores import nmse, ssim
from benchmarks.privacy.tables import print_lines
from benchmarks.privacy.views import Run, Setting, Task, Views
from protocols.core.randomness import SeededRandomness
from protocols.layer.reference import orthogonal_factor
from secure_hfl.bench.machine import machine
from secure_hfl.privacy.defence import GaussianNoise, GradientNoise, MarvellNoise, MaxNormNoise

Array = NDArray[Any]
Scores = dict[str, Any]
ATTACKS = ("norm", "cosine", "norm, all epochs", "direction, all epochs", "spectral, all epochs")
GAUSSIAN, MARVELL = (0.25, 0.5, 1.0, 2.0, 4.0), (0.25, 1.0, 4.0, 16.0)
FRACTIONS = (0.01, 0.05)
NARROW = 5


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all scores here")
    parser.add_argument("--png", type=Path, help="write the pictures into this directory")
    parser.add_argument("--quick", action="store_true", help="one seed and less data")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about, started = machine(), time.process_time()
    console = Console(width=None if sys.stdout.isatty() else 150)
    labels = label_leakage(options.quick)
    _print_labels(console, labels)
    completed = model_completion(options.quick)
    print_lines(console, "Model completion, MNIST halves: accuracy with four known labels of each digit", completed)
    inverted, pictures = feature_inversion(options.quick)
    _print_inversion(console, inverted)
    found: dict[str, Any] = {"anchors": anchors(), "bfv beside plain": spot_check()}
    for name, values in found.items():
        console.print(f"{name}: {_rounded(values)}")
    seconds = time.process_time() - started
    console.print(f"{seconds:.0f} s of processor time")
    if options.json:
        everything = {"labels": labels, "completion": completed, "inversion": inverted, **found}
        everything["pictures"] = {name: encoded(own) for name, own in pictures.items()}
        options.json.write_text(json.dumps({"machine": about, "seconds": seconds, **everything}, indent=1) + "\n")
    if options.png:
        options.png.mkdir(parents=True, exist_ok=True)
        draw_curves(options.png / "privacy_labels.png", labels)
        draw_pictures(options.png / "privacy_pictures.png", pictures)


# Labels --------------------------------------------------------------------------------------------------------------


def label_leakage(quick: bool) -> list[Scores]:
    """Each binary task with each defence: the mean over seeds."""
    lines = []
    made = [tasks.breast_cancer(), tasks.is_it_a_zero(*((1500, 1000) if quick else ()))]
    for task in made:
        clip = _usual_norm(task)
        seeds = 1 if quick else 5 if task.train < 1000 else 2
        settings = {"no layer": Setting(), "nothing": Setting(projection=task.widths[1])}
        settings["frozen bottom model"] = replace(settings["nothing"], trainable=False)
        for name, noise in _noises(clip).items():
            settings[name] = replace(settings["nothing"], noise=noise)
        for name, setting in settings.items():
            runs = [_label_scores(task, replace(setting, seed=seed)) for seed in range(seeds)]
            mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
            lines.append({"task": task.name, "defence": name, "clip": clip, **mean})
    return lines


def _noises(clip: float) -> dict[str, Callable[[], GradientNoise]]:
    noises: dict[str, Callable[[], GradientNoise]] = {"MaxNorm": MaxNormNoise}
    for sigma in GAUSSIAN:
        noises[f"Gaussian {sigma:g}"] = lambda sigma=sigma: GaussianNoise(clip, sigma)
    for ratio in MARVELL:
        noises[f"Marvell {ratio:g}"] = lambda ratio=ratio: MarvellNoise(ratio)
    return noises


def _usual_norm(task: Task) -> float:
    """What 95 % of the first epoch's gradients stay under. A lower clip shortens the rare class's gradients only, and
    the model stops learning it."""
    views = Run(replace(task, epochs=1), Setting(projection=task.widths[1])).train()
    return float(np.quantile(np.concatenate([np.linalg.norm(dz, axis=1) for dz in views.dz]), 0.95))


def _label_scores(task: Task, setting: Setting) -> Scores:
    views = Run(task, setting).train()
    scores: Scores = {"task AUC": views.score, "accuracy": views.accuracy}
    scores |= gradient_attacks(views, task.labels.numpy())
    scores["strongest"] = max((scores[attack] for attack in ATTACKS if attack in scores), default=0.5)
    return scores


def model_completion(quick: bool) -> list[Scores]:
    """Fu et al.'s setting: many classes, four labels of each."""
    task = tasks.halves(tutorial=False, train=1500 if quick else 4000, epochs=2 if quick else 10)
    clip, layer = _usual_norm(task), Setting(projection=tasks.WIDTH)
    settings = {"nothing": layer, "frozen bottom model": replace(layer, trainable=False)}
    for name, noise in _noises(clip).items():
        if name in ("MaxNorm", "Gaussian 1", "Gaussian 4"):
            settings[name] = replace(layer, noise=noise)
    lines = []
    for name, setting in settings.items():
        views = Run(task, setting).train()
        scores = completion(views, task, per_class=4)
        lines.append({"defence": name, "task accuracy": views.accuracy, **scores})
    return lines


# Features and pictures -----------------------------------------------------------------------------------------------


def feature_inversion(quick: bool) -> tuple[list[Scores], dict[str, Array]]:
    """The scores of each layer and bottom model, and the first unknown samples' pictures by name."""
    task = tasks.halves(tutorial=True, train=1000 if quick else 4000, epochs=1 if quick else 15)
    truth = task.other.numpy()
    first = round(FRACTIONS[-1] * len(truth))
    shown, lines = {"original": truth[first : first + 10]}, []
    for trainable in (True, False):
        for name, width in (("no layer", None), ("o = d", tasks.WIDTH), ("o < d", NARROW)):
            views = Run(task, Setting(projection=width, trainable=trainable)).train()
            label = f"{name}, {'trained' if trainable else 'frozen'}"
            scores, picture = _invert(views, truth)
            lines.append({"view": label, "width": width, "accuracy": views.accuracy, **scores})
            shown[label] = picture[:10]
    return lines, shown


def _invert(views: Views, truth: Array) -> tuple[Scores, Array]:
    flat = truth.reshape(len(truth), -1)
    scores: Scores = {"features, 5 % known": known_features(views.z, views.a, 0.05)}
    scores["features, ICA"] = separation(views.z, views.a)
    best = np.empty(0)
    for fraction in FRACTIONS:
        known = round(fraction * len(flat))
        rest = truth[known:]
        guesses = {"mean": np.broadcast_to(flat[:known].mean(axis=0), flat[known:].shape)}
        for name, attack in (("ridge", ridge), ("decoder", decoder)):
            guesses[name] = attack(views.z[:known], flat[:known], views.z[known:])
        for name, guess in guesses.items():
            key = f"{name}, {fraction:.0%}"
            scores[f"NMSE {key}"] = nmse(guess, flat[known:])
            scores[f"SSIM {key}"] = ssim(guess.reshape(rest.shape), rest)
        best = min((guesses["ridge"], guesses["decoder"]), key=lambda guess: nmse(guess, flat[known:]))
        best = best.reshape(rest.shape)
    return scores, best


# Does each attack work where it should? ------------------------------------------------------------------------------


def anchors() -> Scores:
    """A bottom model that loses nothing, and features that are independent: what the attacks are made for."""
    task = replace(
        tasks.halves(tutorial=False, epochs=0),
        other_bottom=lambda: nn.Sequential(nn.Flatten(), nn.Linear(392, 392)),
        widths=(tasks.WIDTH, 392),
    )
    views = Run(task, Setting(projection=392, trainable=False)).train()
    truth, known = task.other.numpy(), 500
    guess = ridge(views.z[:known], truth[:known].reshape(known, -1), views.z[known:])
    a = np.random.default_rng(0).laplace(size=(5000, tasks.WIDTH))
    layer = orthogonal_factor(SeededRandomness(0, "anchor"), tasks.WIDTH, tasks.WIDTH)
    return {
        "ridge, linear bottom model, 10 % known: SSIM": ssim(guess.reshape(-1, 28, 14), truth[known:]),
        "ICA, independent features: NMSE": separation(a @ layer.T, a),
    }


def spot_check() -> Scores:
    """A few batches on bfv and on plain, from one seed."""
    task = tasks.is_it_a_zero(1024, 128)
    views = {}
    for scheme in ("plain", "bfv"):
        setting = Setting(scheme=scheme, projection=tasks.WIDTH, batches=6)
        views[scheme] = Run(task, setting).train()
    plain, secure = views["plain"], views["bfv"]
    labels = task.labels.numpy()
    scores: Scores = {}
    for name, one in views.items():
        attacks = gradient_attacks(one, labels)
        scores |= {f"{attack}, {name}": attacks[attack] for attack in ("norm", "cosine")}
    da = [np.concatenate([each for _, each in one.batches if each is not None]) for one in (plain, secure)]
    z = [one.z[: len(secure.z)] for one in (plain, secure)]
    for name, (left, right) in {"da": da, "z": z}.items():
        scores[f"{name}, relative difference"] = float(np.linalg.norm(left - right) / np.linalg.norm(left))
    return scores


# Printing ------------------------------------------------------------------------------------------------------------


def _print_labels(console: Console, lines: list[Scores]) -> None:
    keys = ("task", "defence", "task AUC", "accuracy", *ATTACKS, "strongest")
    shown = [{key: line[key] for key in keys if key in line} for line in lines]
    print_lines(console, "Labels: AUC of each attack (0.5 is nothing, 1 is all), and of the task itself", shown)


def _print_inversion(console: Console, lines: list[Scores]) -> None:
    table = Table(title="Pictures and features from the Host's view (NMSE: 0 is all, 1 is nothing; SSIM: 1 is all)")
    keys = [key for key in lines[0] if key not in ("view", "width")]
    table.add_column("")
    for line in lines:
        table.add_column(line["view"])
    for key in keys:
        table.add_row(key, *(f"{line[key]:.3f}" for line in lines))
    console.print(table)


def _rounded(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in scores.items())


if __name__ == "__main__":
    main()
