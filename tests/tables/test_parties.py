"""Two tables train a network: in memory, with prediction, resumption, labels alone; and the script that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from secure_hfl import RandomizedResponse, mock_context
from secure_hfl.cli.script import execute
from secure_hfl.errors import ConfigurationError, SecureHflError
from secure_hfl.prediction.alone import PredictingAlone
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.run_options import RunOptions
from secure_hfl.tables import TableCollaborator, TableHost
from secure_hfl.tables.encoding import Encoding
from secure_hfl.tables.figures import figures
from secure_hfl.tables.script import TableScript
from secure_hfl.tables.spec import LabelKind
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions


def people() -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """A clinic's and a laboratory's table; both are needed to tell who is ill."""
    draws = np.random.RandomState(3)
    age, marker = draws.normal(50, 10, 260), draws.normal(0, 1, 260)
    score = (age - 50) / 10 + 1.5 * marker
    group = np.where(marker > 0.3, "A", np.where(marker < -0.8, "B", "C"))
    names = [f"{row:03d}" for row in range(260)]
    host = pandas.DataFrame({"pid": names, "age": age, "outcome": np.where(score > 0, "ill", "well"), "score": score})
    seen = pandas.date_range("2024-01-01", periods=260)
    other = pandas.DataFrame({"pid": names, "marker": marker, "group": group, "seen": seen})
    other.loc[5, "marker"] = None
    return host.iloc[:230].drop(columns="score"), other.iloc[30:]


def with_weights(scheduler: Any, *methods: str) -> Any:
    """Models that no generator of the process has a part in: both parties build theirs at one time."""
    for seed, method in enumerate(methods):
        original = getattr(scheduler, method)

        def build(make: Any = original, seed: int = seed) -> nn.Module:
            model: nn.Module = make()
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                parameter.data.normal_(0, 0.3, generator=generator)
            return model

        setattr(scheduler, method, build)
    return scheduler


def schedulers(**host: Any) -> dict[str, Any]:
    """Of the two tables."""
    ours, theirs = people()
    ours = host.pop("data", ours)
    given = {"id": "pid", "feature_key": HOST, "label": "outcome", "log_rounds": 1, **host}
    return {
        HOST: with_weights(TableHost(ours, **given), "build_feature_model", "build_infer_model"),
        COLLABORATOR: with_weights(
            TableCollaborator(theirs, id="pid", feature_key=COLLABORATOR), "build_feature_model"
        ),
    }


def trained(directory: Path, scheme: str, options: RunOptions, **host: Any) -> MemoryParties:
    """Both parties of a task that has finished."""
    parties = MemoryParties(directory, scheme, options, schedulers=schedulers(**host))
    parties.execute()
    assert not parties.errors, parties.errors
    return parties


def test_two_tables_train_and_predict_people_of_other_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parties = trained(tmp_path, "plain", RunOptions(rounds=7))
    rounds = parties.metrics(HOST).rounds
    assert rounds[-1].accuracy is not None
    assert rounds[-1].accuracy > 0.7  # of some 40 people; guessing comes to 0.5
    kept = parties.runs[HOST].bench.assignment.results / "encoding.json"
    assert kept.stat().st_mode & 0o077 == 0
    train_ids = parties.schedulers[HOST].train_ids
    # Tables that hold none of those trained on: nothing is fitted again.
    monkeypatch.setattr(Encoding, "fit", None)
    ours, theirs = people()
    known = theirs[~theirs.pid.isin(train_ids)]
    fresh = ours[ours.pid.isin(known.pid)].copy()
    truth = dict(zip(fresh.pid, fresh.outcome))
    spec = parties.schedulers[HOST].spec
    spec = spec.model_copy(update={"reading": spec.reading.model_copy(update={"with_unlabelled": True})})
    parties.schedulers[HOST] = TableHost(fresh.drop(columns="outcome"), spec=spec, feature_key=HOST)
    parties.schedulers[COLLABORATOR] = TableCollaborator(
        known, spec=parties.schedulers[COLLABORATOR].spec, feature_key=COLLABORATOR
    )
    found = Sessions(parties).predict([*truth, "259"])
    classes = [spec.label.classes[int(found[each].argmax())] for each in truth]
    assert found.reasons["259"] == "party0 does not hold it"
    assert np.mean([said == true for said, true in zip(classes, truth.values())]) == pytest.approx(rounds[-1].accuracy)


def test_a_task_goes_on_with_the_encoding_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parties = MemoryParties(tmp_path, "plain", schedulers=schedulers())

    def losses(fails_in: tuple[int, int] | None, **options: Any) -> list[float]:
        parties.schedulers = schedulers()
        parties.begin(RunOptions(rounds=3, seed=5, **options))
        host = parties.schedulers[HOST]
        iterate = host.iterate_train_feature

        def some(model: Any, ids: Any) -> Any:
            for number, batch in enumerate(iterate(model, ids)):
                if (host.current_round, number) == fails_in:
                    raise OSError("the disk is gone")
                yield batch

        host.iterate_train_feature = some
        parties.execute()
        assert bool(parties.errors) is (fails_in is not None)
        return [each for each in parties.metrics(HOST).batch_losses if each is not None]

    whole = losses((3, 3), checkpoint_every=100)  # of two rounds, and more
    first = losses((2, 2), checkpoint_every=100)
    assert first == whole[: len(first)]
    monkeypatch.setattr(Encoding, "fit", None)
    again = losses(None, resume=True)
    assert again[: len(whole)] == whole


def test_a_regression_is_predicted_in_the_label_s_own_unit(tmp_path: Path) -> None:
    ours, _ = people()
    numbers = ours.assign(outcome=100 + 20 * (ours.age - 50) / 10)
    made = schedulers()
    made[HOST] = TableHost(numbers, id="pid", label="outcome", feature_key=HOST, max_rounds=6)
    parties = MemoryParties(tmp_path, "plain", schedulers=made)
    parties.execute()
    assert not parties.errors
    wanted = dict(zip(numbers.pid, numbers.outcome))
    found = Sessions(parties).predict([f"{row:03d}" for row in range(40, 60)])
    error = [float(found[each]) - wanted[each] for each in found.ids]
    assert np.sqrt(np.mean(np.square(error))) < 12  # its standard deviation is 20


def test_a_table_of_labels_makes_a_host_without_features(tmp_path: Path) -> None:
    ours, _ = people()
    made = schedulers()
    made[HOST] = TableHost(ours[["pid", "outcome"]], id="pid", label="outcome", feature_key=HOST, max_rounds=6)
    assert not made[HOST].is_feature_holder
    parties = MemoryParties(tmp_path, "plain", schedulers=made)
    parties.execute()
    assert not parties.errors, parties.errors
    accuracy = parties.metrics(HOST).rounds[-1].accuracy
    assert accuracy is not None
    assert accuracy > 0.55  # about 0.8, of some 40 people


def test_protected_labels_are_not_weighed_by_true_ones() -> None:
    ours, _ = people()
    privacy = RandomizedResponse(2.0, 2)
    host = TableHost(ours, id="pid", label="outcome", label_privacy=privacy)
    outputs, labels = torch.randn(8, 2), torch.tensor([0, 1] * 4)
    assert host.loss(outputs, labels) == privacy.loss(outputs, labels)
    same = TableHost(ours, id="pid", label="outcome", label_epsilon=2.0)
    assert same.loss(outputs, labels) == privacy.loss(outputs, labels)
    with pytest.raises(ConfigurationError, match="protects classes"):
        TableHost(ours.assign(outcome=ours.age * 2), id="pid", label="outcome", label_epsilon=2.0)


def test_a_column_that_tells_the_label_is_named(caplog: pytest.LogCaptureFixture) -> None:
    ours, _ = people()
    with caplog.at_level("WARNING", logger="secure_hfl"):
        TableHost(ours, id="pid", label="outcome")
        assert not caplog.records
        code = ours.outcome.map({"ill": "discharged late", "well": "discharged"})
        TableHost(ours.assign(code=code), id="pid", label="outcome")
        TableHost(ours.assign(outcome=ours.age * 2 + 1), id="pid", label="outcome")
    told = [record.getMessage().split("'")[1] for record in caplog.records]
    assert told == ["code", "age"]


def test_the_script_that_is_written_trains_as_the_class_does(tmp_path: Path) -> None:
    ours, theirs = people()
    for table, role in ((ours, "host"), (theirs, "collaborator")):
        table.to_csv(tmp_path / f"{role}.csv", index=False)
    written = {}
    for role, make in (("host", TableHost), ("collaborator", TableCollaborator)):
        label = {"label": "outcome"} if role == "host" else {}
        scheduler = make(tmp_path / f"{role}.csv", id="pid", **label)
        script = TableScript(role, scheduler.spec, str(tmp_path / f"{role}.csv"), None, {"feature_key": "us"})
        path = script.write(tmp_path / "scripts", overwrite=False)
        written[role] = path, scheduler
        assert "pickle" not in path.read_text()
        assert ours.pid[3] not in path.with_suffix(".json").read_text()
    found = {}
    for role, (path, scheduler) in written.items():
        for name in ("class", "script"):
            torch.manual_seed(11)
            with mock_context(peers={"lab": 16} if role == "host" else {}) as mock:
                if name == "script":
                    assert execute(path) is None
                else:
                    scheduler.feature_key = "us"
                    scheduler.launch_task("YOUR_TASK_ID")
            found[role, name] = [(each.step, each.status, each.detail) for each in mock.findings]
        assert found[role, "class"] == found[role, "script"]
        assert {status for _, status, _ in found[role, "script"]} == {"ok"}
    assert "losses" in str(found["host", "class"])
    edited, spec, data = written["host"][0].with_suffix(".json"), written["host"][1].spec, str(tmp_path / "host.csv")
    edited.write_text(edited.read_text().replace('"hidden": 16', '"hidden": 64'))
    with pytest.raises(SecureHflError, match=r"host\.json is there and says something else"):
        TableScript("host", spec, data, None, {"feature_key": "us"}).write(tmp_path / "scripts", overwrite=False)


def test_what_a_host_s_table_must_have() -> None:
    ours, theirs = people()
    with pytest.raises(ConfigurationError, match=r"needs id=\.\.\. and label="):
        TableHost(ours, id="pid")
    spec = TableCollaborator(theirs, id="pid").spec
    with pytest.raises(ConfigurationError, match="no label, so it is a Collaborator's"):
        TableHost(theirs, spec=spec)
    with pytest.raises(SecureHflError, match="say which column has the ids"):
        TableCollaborator(theirs)


def test_figures() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 1.5], [0.0, 0.5]])
    found = figures(LabelKind.BINARY, logits, torch.tensor([0, 1, 0, 1]))
    assert (found["accuracy"], found["auc"]) == (0.75, 0.875)
    found = figures(LabelKind.REGRESSION, torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 2.0]))
    assert (found["rmse"], found["r2"]) == (0.5**0.5, -1.0)


def test_a_fallback_head_predicts_in_the_labels_own_unit(tmp_path: Path) -> None:
    ours, _ = people()
    rows = ours.assign(score=1000 + 100 * (ours["age"] - 50)).drop(columns="outcome")
    given = {"label": "score", "label_kind": "regression", "fallback": True}
    parties = MemoryParties(tmp_path, "plain", RunOptions(rounds=4), schedulers=schedulers(data=rows, **given))
    parties.execute()
    assert not parties.errors, parties.errors
    host: Any = parties.schedulers[HOST]
    side = HostSide(host, *Sessions._assigned(parties.runs[HOST].bench.assignment))
    found = PredictingAlone(side).predict(list(rows["pid"]))
    truth = torch.tensor(rows["score"].to_numpy())
    spread = float(truth.std())
    assert float((found.outputs[:, 0] - truth).abs().mean()) < 0.8 * spread, "not of the standardised label"
