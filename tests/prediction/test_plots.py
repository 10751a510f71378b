"""An evaluation as a page and as plots; ROC curves are those of the scores."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from secure_hfl.cli import evaluate as command
from secure_hfl.prediction.card import read_evaluation
from secure_hfl.prediction.evaluation import Evaluation, NumberEvaluation, evaluate
from secure_hfl.prediction.evaluation_page import evaluation_page
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.prediction.plots import plots_of, write_plots
from tests.prediction.test_evaluation import FIGURES, needs_torchmetrics, predictions

needs_matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra bench")
WITH_ROC = FIGURES.model_copy(update={"roc": {1: [(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)]}, "alone_accuracy": 0.625})


@needs_torchmetrics
def test_a_curve_has_the_area_that_is_said() -> None:
    """Equal scores are one step, so the order of their samples does not count."""
    logits = [3.0, 1.0, 1.0, 1.0, -2.0, -4.0]
    for labels in ((1, 1, 0, 0, 1, 0), (1, 0, 0, 1, 1, 0)):
        figures = evaluate(predictions([[each] for each in logits], labels))
        (curve,) = figures.roc.values()
        assert (curve[0], curve[-1]) == ((0.0, 0.0), (1.0, 1.0))
        points = torch.tensor(curve, dtype=torch.float64)
        assert float(torch.trapezoid(points[:, 1], points[:, 0])) == pytest.approx(figures.auc, abs=1e-5)
    assert evaluate(predictions([[1.0], [2.0]], (1, 1))).roc == {}


@needs_torchmetrics
def test_a_long_curve_is_thinned_and_keeps_its_area() -> None:
    draws = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (3000,), generator=draws)
    scores = torch.randn(3000, generator=draws) + labels
    figures = evaluate(predictions([[each] for each in scores.tolist()], tuple(labels.tolist())))
    points = torch.tensor(figures.roc[1], dtype=torch.float64)
    assert len(points) <= 202
    assert float(torch.trapezoid(points[:, 1], points[:, 0])) == pytest.approx(figures.auc, abs=5e-3)


@needs_matplotlib
def test_the_page_has_figures_plots_and_numbers() -> None:
    page = evaluation_page("study", WITH_ROC, ("well", "<i>ill"))
    assert page.count("<svg") == 3
    for said in ("Accuracy of the Host alone", "0.625", "as &lt;i&gt;ill", "ROC: area 0.500, for &lt;i&gt;ill"):
        assert said in page
    assert "<i>" not in page
    assert "img-src" not in page
    numbers = evaluation_page("study", NumberEvaluation(samples=2, missing=0, rmse=1.0, mae=0.5, r2=0.25))
    assert "Variance explained" in numbers
    assert "<svg" not in numbers


@needs_matplotlib
def test_plots_are_written_as_svg_and_png(tmp_path: Path) -> None:
    written = write_plots(plots_of(WITH_ROC, ("0", "1")), tmp_path / "plots")
    assert [each.name for each in written] == [
        *("roc.svg", "roc.png", "calibration.svg", "calibration.png", "confusion.svg", "confusion.png")
    ]
    assert all(each.read_bytes()[:4] in (b"\x89PNG", b"<?xm") for each in written)
    without = Evaluation.model_validate({**FIGURES.model_dump(), "roc": {}})
    assert [plot.name for plot in plots_of(without, ("0", "1"))] == ["calibration", "confusion"]


@needs_torchmetrics
@needs_matplotlib
def test_the_command_writes_what_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Host:
        task_id = "0123"
        is_feature_holder = True

        def predict(self, ids: list[str], reference: str) -> Predictions:
            assert (ids, reference) == (["0", "1"], "study")
            return predictions([[2.0], [-1.0]], (1, 0))

    def run(script: Path, wanted: type, command: str, run: Any, task: str, show: bool) -> None:
        run(Host(), task)

    alone = predictions([[2.0], [1.0]], (1, 0))
    monkeypatch.setattr(command, "run_in_place_of_training", run)
    monkeypatch.setattr("secure_hfl.prediction.alone.predicted_beside", lambda *asked: alone)
    ids, files = tmp_path / "ids.txt", [tmp_path / name for name in ("f.json", "f.html", "plots")]
    ids.write_text("0\n1\n")
    command.evaluate(tmp_path / "host.py", ids, "study", *files)
    kept = read_evaluation(files[0])
    assert isinstance(kept, Evaluation)
    assert (kept.accuracy, kept.alone_accuracy) == (1.0, 0.5)
    assert "evaluation of 0123" in files[1].read_text()
    assert len(list(files[2].iterdir())) == 6
