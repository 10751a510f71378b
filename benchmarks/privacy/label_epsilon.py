"""Training labels drawn by randomised response: what each epsilon costs the task, and what attacks still find.

    python -m benchmarks.privacy.label_epsilon [--json FILE] [--png DIR] [--quick]

Two tasks: MNIST "is it a 0", and all ten digits. The bound of `RandomizedResponse` says how much training tells of one
label to who knows everything else. It does not hide what features tell of labels: a good model is to tell that. So the
published attacks are scored on canaries: rows whose labels were thrown by a coin, of which features tell nothing. Their
AUC on the *true* labels of canaries is at most e^epsilon / (1 + e^epsilon) on average over draws; which of the 500 were
drawn wrongly is chance, so who knows all drawn labels is scored beside them. Their AUC on the *drawn* labels shows that
it is not the attack that fails.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.privacy import tasks
from benchmarks.privacy.figures import draw_epsilons
from benchmarks.privacy.label_inference import completion, gradient_attacks
from benchmarks.privacy.scores import auc
from benchmarks.privacy.tables import print_lines
from benchmarks.privacy.views import Run, Setting, Task, Views
from secure_hfl.bench.machine import machine
from secure_hfl.privacy.randomized_response import RandomizedResponse

Scores = dict[str, Any]
EPSILONS = (None, 4.0, 3.0, 2.0, 1.0)
CANARIES = 500
ATTACKS = ("norm", "cosine", "norm, all epochs", "direction, all epochs", "spectral, all epochs")


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.privacy.label_epsilon", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--json", type=Path, help="write all scores here")
    parser.add_argument("--png", type=Path, help="write the curves into this directory")
    parser.add_argument("--quick", action="store_true", help="one seed and less data")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about, started = machine(), time.process_time()
    found = {"task": curves(options.quick), "attacks": attacks(options.quick), "completion": completed(options.quick)}
    seconds = time.process_time() - started
    for title, lines in found.items():
        print_lines(Console(width=150), title, lines)
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "seconds": seconds, **found}, indent=1) + "\n")
    if options.png:
        options.png.mkdir(parents=True, exist_ok=True)
        draw_epsilons(options.png / "privacy_label_epsilon.png", found["task"])


def made(quick: bool) -> list[Task]:
    """Both tasks."""
    zero, digits = tasks.is_it_a_zero(*((1500, 1000) if quick else ())), _ten_digits(quick)
    return [zero, digits]


def _ten_digits(quick: bool) -> Task:
    task = tasks.halves(tutorial=False, train=1500 if quick else 4000, epochs=3 if quick else 10)
    return replace(task, name="MNIST, ten digits")


def setting(task: Task, epsilon: float | None, **others: Any) -> Setting:
    """With a layer as wide as the features."""
    privacy = None if epsilon is None else RandomizedResponse(epsilon, task.classes)
    return Setting(projection=task.widths[1], privacy=privacy, **others)


def curves(quick: bool) -> list[Scores]:
    """Each task at each epsilon: the mean, least and largest over seeds."""
    lines = []
    seeds = range(1 if quick else 3)
    for task in made(quick):
        for epsilon in EPSILONS:
            for corrects in (True, False) if epsilon is not None else (False,):
                views = [Run(task, setting(task, epsilon, seed=seed, corrects=corrects)).train() for seed in seeds]
                scores, accuracies = [each.score for each in views], [each.accuracy for each in views]
                lines.append(
                    {
                        "task": task.name,
                        "epsilon": epsilon,
                        "corrected": corrects,
                        "wrong labels": float(np.mean([_wrong(task, each) for each in views])),
                        "measure": "AUC" if task.classes == 2 else "accuracy",
                        "score": float(np.mean(scores)),
                        "least": min(scores),
                        "largest": max(scores),
                        "accuracy": float(np.mean(accuracies)),
                    }
                )
    return lines


def _wrong(task: Task, views: Views) -> float:
    """The share of the training labels that are."""
    return float((views.labels != task.labels.numpy())[: task.train].mean())


def attacks(quick: bool) -> list[Scores]:
    """The attacks on a binary task's gradients, on canaries."""
    plain = made(quick)[0]
    chosen = np.random.default_rng(0)
    canaries = chosen.choice(plain.train, CANARIES, replace=False)
    labels = plain.labels.clone()
    labels[canaries] = torch.from_numpy(chosen.integers(0, 2, CANARIES))
    task = replace(plain, labels=labels)
    lines = []
    for epsilon in EPSILONS:
        views = _only(Run(task, setting(task, epsilon)).train(), canaries)
        line: Scores = {"epsilon": epsilon, "bound": 1.0 if epsilon is None else 1 / (1 + math.exp(-epsilon))}
        line["all drawn labels known"] = auc(views.labels[canaries], labels.numpy()[canaries] == 1)
        for what, truth in (("drawn", views.labels), ("true", labels.numpy())):
            scores = gradient_attacks(views, truth)
            line[f"{what} labels"] = max(scores[attack] for attack in ATTACKS)
        lines.append(line)
    return lines


def _only(views: Views, chosen: NDArray[np.int64]) -> Views:
    """What was seen of these rows."""
    kept = []
    for rows, da in views.batches:
        own = np.isin(rows, chosen)
        kept.append((rows[own], None if da is None else da[own]))
    return replace(views, batches=kept)


def completed(quick: bool) -> list[Scores]:
    """Model completion on the ten digits: how many of the other true labels four known ones of each digit tell."""
    task = _ten_digits(quick)
    lines = []
    for epsilon in EPSILONS:
        views = Run(task, setting(task, epsilon)).train()
        lines.append({"epsilon": epsilon, "task accuracy": views.accuracy, **completion(views, task, per_class=4)})
    return lines


if __name__ == "__main__":
    main()
