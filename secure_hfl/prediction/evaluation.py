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
        auc: area under the ROC curve, mean over the classes of `roc`; None where there is none.
        confusion: [classes][classes] counts; rows: true, columns: predicted.
        calibration_error: expected distance of confidence and accuracy, over `BINS` bins of confidence (l1).
        reliability: for each bin with samples: mean confidence, accuracy, samples.
        roc: for each class with samples of it and of others: false and true positive rates, from (0, 0) to (1, 1).
        alone_accuracy: that of the Host's fallback head on the same samples, if one was trained.
    """

    samples: int
    missing: int
    classes: int
    accuracy: float
    auc: float | None
    confusion: list[list[int]]
    calibration_error: float
    reliability: list[tuple[float, float, int]]
    roc: dict[int, list[tuple[float, float]]] = {}
    alone_accuracy: float | None = None


class NumberEvaluation(BaseModel):
    """The same where numbers are predicted: a regression.

    Attributes:
        samples, missing: see `Evaluation`.
        rmse, mae: root of the mean square, and mean size, of the errors, in the label's unit.
        r2: the share of the labels' variance that is explained; None where all are alike.
        alone_rmse: that of the Host's fallback head on the same samples, if one was trained.
    """

    samples: int
    missing: int
    rmse: float
    mae: float
    r2: float | None
    alone_rmse: float | None = None


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
    from torchmetrics.functional.classification import multiclass_calibration_error

    truth, scores = _labels(found), _probabilities(found.outputs)
    classes = scores.shape[1]
    if int(truth.max()) >= classes or int(truth.min()) < 0:
        raise ConfigurationError(f"labels must be class numbers from 0 to {classes - 1}")
    guessed = scores.argmax(1)
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    for true, guess in zip(truth.tolist(), guessed.tolist()):
        confusion[true, guess] += 1
    return Evaluation(
        samples=len(truth),
        missing=_missing(found),
        classes=classes,
        accuracy=float((guessed == truth).float().mean()),
        auc=_auc(scores, truth),
        confusion=confusion.tolist(),
        calibration_error=float(multiclass_calibration_error(scores, truth, classes, n_bins=BINS, norm="l1")),
        reliability=_reliability(scores, truth),
        roc=_roc(scores, truth),
    )


def evaluate_numbers(found: Predictions) -> NumberEvaluation:
    """The figures of predictions that are numbers. Raises `ConfigurationError` if there is no label for each."""
    truth = _numbers(found)
    if found.width != 1:
        raise ConfigurationError(f"each sample has {found.width} outputs, and a number that is predicted is one")
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


def beside(figures: Evaluation | NumberEvaluation, alone: Predictions) -> Evaluation | NumberEvaluation:
    """The same figures with that of the Host's fallback head, for the samples that `alone` has predicted."""
    if isinstance(figures, NumberEvaluation):
        return figures.model_copy(update={"alone_rmse": evaluate_numbers(alone).rmse})
    guessed = _probabilities(alone.outputs).argmax(1)
    right = (guessed == _labels(alone)).float().mean()
    return figures.model_copy(update={"alone_accuracy": float(right)})


def shown_figures(figures: Evaluation | NumberEvaluation) -> dict[str, str]:
    """In words, for people."""
    shown = {"Samples": f"{figures.samples}, {figures.missing} missing"}
    if isinstance(figures, NumberEvaluation):
        named = {
            "Root of the mean square error": figures.rmse,
            "Root of the mean square error, the Host alone": figures.alone_rmse,
            "Mean size of the errors": figures.mae,
            "Variance explained (R2)": figures.r2,
        }
        needed = {"Variance explained (R2)"}
    else:
        named = {
            "Accuracy": figures.accuracy,
            "Accuracy of the Host alone": figures.alone_accuracy,
            "AUC": figures.auc,
            "Calibration error": figures.calibration_error,
        }
        needed = {"AUC"}
    for name, value in named.items():
        if value is not None or name in needed:
            shown[name] = "not known" if value is None else f"{value:.4g}"
    return shown


def _missing(found: Predictions) -> int:
    return len({each for each in found.ids if each not in found.at})


def _labels(found: Predictions) -> torch.Tensor:
    """Class numbers."""
    values = _numbers(found)
    if bool((values != values.round()).any()):
        raise ConfigurationError(
            "labels must be class numbers, and some are not whole. Where outputs are no classes, class_names = () in "
            "the Host's class says so"
        )
    return values.long()


def _numbers(found: Predictions) -> torch.Tensor:
    """The labels, [n] float64."""
    if not len(found.outputs):
        raise ConfigurationError("none of the ids could be predicted, so there is nothing to evaluate")
    if len(found.labels) != len(found.outputs):
        raise ConfigurationError(
            "evaluation needs a label for each sample: the Host's iterator must yield (features, labels)"
        )
    try:
        values = torch.tensor([float(each) for each in found.labels], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):  # torch's own, of a tensor with several numbers
        kind = type(found.labels[0]).__name__
        raise ConfigurationError(f"evaluation needs one number as the label of a sample, not a {kind}") from None
    if not bool(torch.isfinite(values).all()):
        raise ConfigurationError("evaluation needs a label for each sample, and some are not finite")
    return values


def _probabilities(outputs: torch.Tensor) -> torch.Tensor:
    """[n, classes], from logits."""
    if outputs.shape[1] == 1:
        of_one = torch.sigmoid(outputs[:, 0])
        return torch.stack([1 - of_one, of_one], 1)
    return torch.softmax(outputs, 1)


def _auc(scores: torch.Tensor, truth: torch.Tensor) -> float | None:
    """Mean over the classes that have samples: torchmetrics' own has 0 for each other one."""
    from torchmetrics.functional.classification import binary_auroc

    of_each = [float(binary_auroc(scores[:, each], (truth == each).long())) for each in _told_apart(scores, truth)]
    return sum(of_each) / len(of_each) if of_each else None


def _told_apart(scores: torch.Tensor, truth: torch.Tensor) -> list[int]:
    """Classes with samples, and samples of others; of two classes, class 1."""
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    return [each for each in classes if 0 < int((truth == each).sum()) < len(truth)]


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


MOST_POINTS = 200
"""Of one ROC curve; more are thinned."""


def _roc(scores: torch.Tensor, truth: torch.Tensor) -> dict[int, list[tuple[float, float]]]:
    """Of each class against the others; two classes have one curve, of class 1."""
    return {each: _curve(scores[:, each], truth == each) for each in _told_apart(scores, truth)}


def _curve(score: torch.Tensor, is_positive: torch.Tensor) -> list[tuple[float, float]]:
    """False and true positive rates, as the threshold falls; equal scores are one step."""
    order = score.argsort(descending=True)
    score, is_positive = score[order], is_positive[order].double()
    is_last = torch.cat([score[1:] != score[:-1], torch.tensor([True])])
    true = (is_positive.cumsum(0) / is_positive.sum())[is_last]
    false = ((1 - is_positive).cumsum(0) / (1 - is_positive).sum())[is_last]
    steps = -(-len(true) // MOST_POINTS)
    kept = [*range(0, len(true) - 1, steps), len(true) - 1]
    return [(0.0, 0.0), *((round(float(false[at]), 6), round(float(true[at]), 6)) for at in kept)]
