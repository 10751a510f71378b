"""How good predictions are where the Host has labels: accuracy, AUC, confusion, calibration (by torchmetrics)."""

from __future__ import annotations

import importlib.util

import torch
from pydantic import BaseModel

from protocols.core.errors import MissingExtra
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.outcome import Predictions

BINS = 10


class Evaluation(BaseModel):
    """Figures over the samples that were predicted.

    Attributes:
        samples, missing: how many were, and how many of the request were not.
        classes: 2 and more.
        accuracy: the share that is right.
        auc: area under the ROC curve, mean over classes; None where one class only has samples.
        confusion: [classes][classes] counts; rows: true, columns: predicted.
        calibration_error: expected distance of confidence and accuracy, over `BINS` bins of confidence (l1).
        reliability: for each bin with samples: mean confidence, accuracy, samples.
    """

    samples: int
    missing: int
    classes: int
    accuracy: float
    auc: float | None
    confusion: list[list[int]]
    calibration_error: float
    reliability: list[tuple[float, float, int]]


class NumberEvaluation(BaseModel):
    """The same where numbers are predicted: a regression.

    Attributes:
        samples, missing: see `Evaluation`.
        rmse, mae: root of the mean square, and mean size, of the errors, in the label's unit.
        r2: the share of the labels' variance that is explained; None where all are alike.
    """

    samples: int
    missing: int
    rmse: float
    mae: float
    r2: float | None


def check_torchmetrics() -> None:
    """Raise `MissingExtra` unless torchmetrics is installed."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise MissingExtra("evaluation needs torchmetrics: pip install 'secure-hfl[evaluate]'")


def evaluate(found: Predictions) -> Evaluation:
    """The figures of predictions that came with labels.

    One output is taken for the logit of class 1, several for the logits (or log-probabilities) of as many classes.

    Raises:
        ConfigurationError: there is no label for each, or they are not class numbers.
        MissingExtra: torchmetrics is not installed.
    """
    check_torchmetrics()
    from torchmetrics.functional.classification import multiclass_auroc, multiclass_calibration_error

    truth, scores = _labels(found), _probabilities(found.outputs)
    classes = scores.shape[1]
    if int(truth.max()) >= classes or int(truth.min()) < 0:
        raise ConfigurationError(f"labels must be class numbers from 0 to {classes - 1}")
    guessed = scores.argmax(1)
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    for true, guess in zip(truth.tolist(), guessed.tolist()):
        confusion[true, guess] += 1
    several = len(truth.unique()) > 1
    auc = float(multiclass_auroc(scores, truth, classes, average="macro")) if several else None
    return Evaluation(
        samples=len(truth),
        missing=_missing(found),
        classes=classes,
        accuracy=float((guessed == truth).float().mean()),
        auc=auc,
        confusion=confusion.tolist(),
        calibration_error=float(multiclass_calibration_error(scores, truth, classes, n_bins=BINS, norm="l1")),
        reliability=_reliability(scores, truth),
    )


def evaluate_numbers(found: Predictions) -> NumberEvaluation:
    """The figures of predictions that are numbers. Raises `ConfigurationError` if there is no label for each."""
    _check_labels(found)
    truth = torch.tensor([float(each) for each in found.labels], dtype=torch.float64)
    errors = found.outputs[:, 0].double() - truth
    spread = float(((truth - truth.mean()) ** 2).mean())
    mean_square = float((errors**2).mean())
    return NumberEvaluation(
        samples=len(truth),
        missing=_missing(found),
        rmse=mean_square**0.5,
        mae=float(errors.abs().mean()),
        r2=1 - mean_square / spread if spread > 0 else None,
    )


def _missing(found: Predictions) -> int:
    return len({each for each in found.ids if each not in found.at})


def _labels(found: Predictions) -> torch.Tensor:
    _check_labels(found)
    return torch.tensor([int(each) for each in found.labels])


def _check_labels(found: Predictions) -> None:
    if not len(found.outputs):
        raise ConfigurationError("none of the ids could be predicted, so there is nothing to evaluate")
    if len(found.labels) != len(found.outputs):
        raise ConfigurationError(
            "evaluation needs a label for each sample: the Host's iterator must yield (features, labels)"
        )


def _probabilities(outputs: torch.Tensor) -> torch.Tensor:
    """[n, classes], from logits."""
    if outputs.shape[1] == 1:
        of_one = torch.sigmoid(outputs[:, 0])
        return torch.stack([1 - of_one, of_one], 1)
    return torch.softmax(outputs, 1)


def _reliability(scores: torch.Tensor, truth: torch.Tensor) -> list[tuple[float, float, int]]:
    confidence, guessed = scores.max(1)
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    rows = []
    for each in range(BINS):
        here = bins == each
        if int(here.sum()):
            right = (guessed[here] == truth[here]).float().mean()
            rows.append((float(confidence[here].mean()), float(right), int(here.sum())))
    return rows
