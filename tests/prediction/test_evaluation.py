"""Figures of predictions with labels, and the model card of a finished task."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import secure_hfl.prediction.alone
import secure_hfl.schedulers.host
from benchmarks.harness.scripts import tiny
from secure_hfl.errors import ConfigurationError, UserCodeError
from secure_hfl.prediction.alone import labels_beside
from secure_hfl.prediction.card import card_page, model_card, read_evaluation
from secure_hfl.prediction.evaluation import Evaluation, evaluate, evaluate_numbers
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.prediction.outcome import Predictions
from secure_hfl.run_options import RunOptions
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions, trained

needs_torchmetrics = pytest.mark.skipif(
    importlib.util.find_spec("torchmetrics") is None, reason="needs the extra evaluate"
)
FIGURES = Evaluation(
    samples=4,
    missing=1,
    classes=2,
    accuracy=0.75,
    auc=0.5,
    confusion=[[2, 0], [1, 1]],
    calibration_error=0.1,
    reliability=[(0.9, 0.75, 4)],
)


def predictions(outputs: list[list[float]], labels: tuple[Any, ...]) -> Predictions:
    ids = tuple(str(at) for at in range(len(outputs)))
    at = {each: number for number, each in enumerate(ids)}
    return Predictions((*ids, "x"), torch.tensor(outputs), at, {"x": "nobody holds it"}, labels)


@needs_torchmetrics
@pytest.mark.parametrize("width", [1, 2], ids=["one logit", "two logits"])
def test_figures_of_two_classes(width: int) -> None:
    logits = [4.0, 2.0, -1.0, -3.0]  # for class 1; the truth is 1, 0, 1, 0
    outputs = [[each] if width == 1 else [0.0, each] for each in logits]
    figures = evaluate(predictions(outputs, (torch.tensor(1), torch.tensor(0), 1, 0)))
    assert (figures.samples, figures.missing, figures.classes) == (4, 1, 2)
    assert figures.accuracy == 0.5
    assert figures.confusion == [[1, 1], [1, 1]]
    assert figures.auc == 0.75  # of the four pairs of a 1 and a 0, three are in order
    sure = [1 / (1 + math.exp(-abs(each))) for each in logits]
    by_hand = (abs((sure[0] + sure[3]) / 2 - 1) * 2 + sure[1] + sure[2]) / 4  # 0.98 and 0.95 share a bin; 0.88, 0.73
    assert figures.calibration_error == pytest.approx(by_hand, abs=1e-4)
    assert sum(count for _, _, count in figures.reliability) == 4


@needs_torchmetrics
def test_classes_without_samples_do_not_count_in_the_area() -> None:
    outputs = [[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [4.0, 1.0, 0.0], [1.0, 4.0, 0.0]]
    figures = evaluate(predictions(outputs, (0, 1, 0, 1)))
    assert (figures.auc, sorted(figures.roc)) == (1.0, [0, 1])
    assert evaluate(predictions(outputs, (1, 1, 1, 1))).auc is None


@needs_torchmetrics
def test_without_labels_there_is_nothing_to_evaluate() -> None:
    with pytest.raises(ConfigurationError, match="must yield \\(features, labels\\)"):
        evaluate(predictions([[1.0]], ()))
    with pytest.raises(ConfigurationError, match="class numbers from 0 to 1"):
        evaluate(predictions([[1.0]], (2,)))
    with pytest.raises(ConfigurationError, match=r"some are not whole.*class_names = \(\)"):
        evaluate(predictions([[1.0]], (0.7,)))
    for label, kind in ((None, "NoneType"), (torch.tensor([0, 1]), "Tensor"), ("ill", "str")):
        with pytest.raises(ConfigurationError, match=f"one number as the label of a sample, not a {kind}"):
            evaluate(predictions([[1.0]], (label,)))
    with pytest.raises(ConfigurationError, match="some are not finite"):
        evaluate_numbers(predictions([[1.0]], (math.nan,)))
    with pytest.raises(ConfigurationError, match="has 2 outputs"):
        evaluate_numbers(predictions([[1.0, 2.0]], (1.0,)))


def test_numbers_are_evaluated_as_such_and_stand_in_a_card(parties: MemoryParties, tmp_path: Path) -> None:
    figures = evaluate_numbers(predictions([[1.0], [3.0], [5.0]], (1, torch.tensor(2.0), 6.0)))
    assert (figures.samples, figures.missing, figures.mae) == (3, 1, pytest.approx(2 / 3))
    assert (figures.rmse, figures.r2) == (pytest.approx((2 / 3) ** 0.5), pytest.approx(1 - 2 / 14))
    assert evaluate_numbers(predictions([[1.0], [3.0]], (2, 2))).r2 is None
    (tmp_path / "figures.json").write_text(figures.model_dump_json())
    task = parties.runs[HOST].bench.assignment
    card = model_card(task.store, task.store.get(task.record.task_id), read_evaluation(tmp_path / "figures.json"))
    page = card_page(card)
    assert "Variance explained" in page
    assert "True class" not in page
    assert "Mean confidence" not in page


def test_classes_that_have_names_are_predicted_by_name() -> None:
    found = replace(predictions([[0.5, 2.0], [3.0, 1.0]], ()), classes=("well", "ill"))
    assert [row[3] for row in found.rows()] == ["ill", "well", None]
    assert found.of(["1"]).classes == ("well", "ill")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> MemoryParties:
    return trained(tmp_path_factory.mktemp("trained"), "plain")


@pytest.mark.parametrize("name", [HOST, COLLABORATOR])
def test_a_card_has_parties_protection_and_transcripts(parties: MemoryParties, name: str, tmp_path: Path) -> None:
    task = parties.runs[name].bench.assignment
    record = task.store.get(task.record.task_id)
    (tmp_path / "figures.json").write_text(FIGURES.model_dump_json())
    card = json.loads(json.dumps(model_card(task.store, record, read_evaluation(tmp_path / "figures.json"))))
    assert [each["name"] for each in card["parties"]] == [HOST, COLLABORATOR]
    assert card["protection"]["scheme"] == "plain"
    assert (card["training"]["rounds"], card["training"]["samples_in_common"]) == (1, 96)
    (kept,) = card["transcripts"].values()
    assert kept["verdict"] == "holds"
    assert len(kept["sha256"]) == 1
    page = card_page(card)
    for said in (record.task_id, *kept["sha256"].values(), card["parties"][0]["certificate"], "True class"):
        assert said in page
    assert "True class" not in card_page(model_card(task.store, record))


def test_a_file_that_is_no_evaluation_is_refused_and_not_shown(tmp_path: Path) -> None:
    for text in ("{}", "patient-4711\n"):
        (tmp_path / "figures.json").write_text(text)
        with pytest.raises(ConfigurationError, match="no evaluation that secure-hfl evaluate --json wrote") as raised:
            read_evaluation(tmp_path / "figures.json")
        assert "4711" not in str(raised.value)


@needs_torchmetrics
def test_a_host_evaluates_from_python(parties: MemoryParties, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(parties)
    monkeypatch.setattr(secure_hfl.schedulers.host, "predicting_host", lambda scheduler, reference: sessions)
    own = Sessions._assigned(parties.runs[HOST].bench.assignment)
    monkeypatch.setattr(secure_hfl.prediction.alone, "find_prediction", lambda *arguments: own)
    host: Any = parties.schedulers[HOST]
    ids = ["33", "37", "38", "100", "nobody's"]
    found = host.predict(ids)
    truth = torch.stack([torch.as_tensor(each) for each in tiny.labels_of([int(each) for each in found.at])])
    right = [found.outputs[row].argmax() == label for row, label in zip(found.at.values(), truth)]
    figures = host.evaluate(ids)
    assert isinstance(figures, Evaluation)
    assert (figures.samples, figures.missing) == (len(found.at), len(ids) - len(found.at))
    assert figures.samples > 1
    assert figures.accuracy == pytest.approx(sum(map(int, right)) / len(right))
    assert figures == Evaluation.model_validate_json(figures.model_dump_json())


def test_a_host_with_labels_only_is_evaluated(tmp_path: Path) -> None:
    """Predictions ask for no label, since it may predict ids that it has nothing of; an evaluation does."""
    cases = {HOST: {"arguments": {"is_feature_holder": False}, "confirms_batches": True}}
    parties = MemoryParties(tmp_path, "plain", RunOptions(rounds=1), cases)
    host: Any = parties.schedulers[HOST]
    head = tiny.top(1)
    host.build_infer_model = lambda: head
    parties.execute()
    assert not parties.errors, parties.errors
    found = predictions([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], ())
    found = replace(found, ids=("33", "100", "5"), at={"33": 1, "100": 0, "5": 2})
    side = HostSide(host, *Sessions._assigned(parties.runs[HOST].bench.assignment))
    assert labels_beside(side, found).labels == tuple(tiny.labels_of([100, 33, 5]))
    host.iterate_test_feature = lambda model, ids: iter([tiny.labels_of([1, 2])])
    with pytest.raises(UserCodeError, match="iterate_test_feature yields 2 labels for one id"):
        side.party.features.labels_of(["100"])
