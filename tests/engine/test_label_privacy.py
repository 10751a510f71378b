"""Which labels a run trains on, and what stops it before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.harness.scripts.cases import Method
from benchmarks.harness.scripts.tiny import TEST_IDS, TRAIN_IDS, labels_of
from protocols.core.envelope import Phase
from protocols.task.alignment import BatchOpen
from protocols.task.resumption import ResumePoint
from secure_hfl import GaussianNoise, RandomizedResponse
from secure_hfl.audit.audit_files import audit_files
from secure_hfl.errors import TaskFailed
from secure_hfl.run_options import RunOptions
from tests.engine.memory_channel import cut_off
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties

TRUE = dict(zip(TRAIN_IDS, labels_of(list(TRAIN_IDS)).tolist()))
ROUNDS = 3


class Seen:
    """What the user's methods get: labels by sample id, round by round, and those of the last test."""

    def __init__(self, parties: MemoryParties) -> None:
        scheduler: Any = parties.schedulers[HOST]
        self.rounds: list[dict[int, int]] = []
        self.test: list[int] = []
        self._ids: list[int] = []
        confirm, train = scheduler.confirm_batch_ids, scheduler.train_a_batch
        scheduler.confirm_batch_ids = lambda ids: self._confirmed(confirm, list(ids))
        scheduler.train_a_batch = lambda features, labels: self._trained(train, scheduler, features, labels)
        test = scheduler.test
        scheduler.test = lambda features, labels: self._tested(test, features, labels)

    def _confirmed(self, confirm: Callable[[list[int]], None], ids: list[int]) -> None:
        self._ids = ids
        confirm(ids)

    def _trained(self, train: Callable[..., None], scheduler: Any, features: Any, labels: torch.Tensor) -> None:
        while len(self.rounds) < scheduler.current_round:
            self.rounds.append({})
        self.rounds[scheduler.current_round - 1].update(zip(self._ids, labels.tolist(), strict=True))
        train(features, labels)

    def _tested(self, test: Callable[..., None], features: Any, labels: list[torch.Tensor]) -> None:
        self.test = torch.cat(labels).tolist()
        test(features, labels)


def parties_with(directory: Path, options: RunOptions | None = None, **case: Any) -> MemoryParties:
    """A host with label privacy."""
    arguments = {"max_rounds": ROUNDS, "log_rounds": 1, "label_privacy": RandomizedResponse(1.0, 2)}
    made = MemoryParties(directory, options=options, cases={HOST: {"confirms_batches": True, **case}})
    for name, value in arguments.items():
        setattr(made.schedulers[HOST], name, value)
    return made


def test_all_rounds_train_on_the_same_drawn_labels_and_tests_see_the_true_ones(tmp_path: Path) -> None:
    parties = parties_with(tmp_path)
    seen = Seen(parties)
    parties.execute()
    assert not parties.errors
    assert len(seen.rounds) == ROUNDS
    assert all(each == seen.rounds[0] for each in seen.rounds)
    assert seen.rounds[0].keys() == TRUE.keys()
    wrong = sum(seen.rounds[0][sample] != label for sample, label in TRUE.items())
    assert 0 < wrong < 40, "of 64, 27 % are wrong"
    assert seen.test == labels_of(list(TEST_IDS)).tolist()
    assert parties.metrics(HOST).label_epsilon == 1.0
    assert parties.metrics(COLLABORATOR).label_epsilon is None
    audited = audit_files(
        *(next(parties.runs[name].bench.assignment.transcripts.iterdir()) for name in (HOST, COLLABORATOR))
    )
    assert audited.report.label_epsilon == 1.0
    assert audited.report.ledger is not None
    assert "each true label is 1-differentially private" in str(audited.report.ledger.collaborator_may_infer)
    directory = parties.runs[HOST].bench.assignment.directory
    assert not list(directory.rglob("label-key*")), "the key is gone with the task"


@pytest.mark.parametrize("loses_newest", [False, True])
def test_labels_are_the_same_after_an_interruption(tmp_path: Path, loses_newest: bool) -> None:
    """Also where a peer has lost its newest checkpoint, or says so, and all go back to before the set-up."""
    parties = parties_with(tmp_path, RunOptions(checkpoint_every=100))
    seen, cuts = Seen(parties), [1]
    before: list[dict[int, int]] = []

    def cut(event: str, values: dict[str, Any]) -> None:
        if event == "batch" and values["round"] == 1 and values["batch"] == 2 and cuts:
            cuts.pop()
            cut_off(*parties.channels)

    def lose(event: str, values: dict[str, Any]) -> None:
        if event == "interrupted":
            before.append(dict(seen.rounds[0]))
            files = (parties.runs[COLLABORATOR].bench.assignment.directory / "checkpoints").glob("checkpoint-*")
            newest = max(files, key=lambda path: path.stat().st_mtime_ns)
            newest.write_bytes(b"" if loses_newest else newest.read_bytes())

    parties.heard[HOST].react, parties.heard[COLLABORATOR].react = cut, lose
    parties.execute()
    assert not parties.errors
    (resumed,) = parties.heard[HOST].named("resumed")
    assert resumed["from"] == str(ResumePoint(Phase.PSI if loses_newest else Phase.SETUP))
    assert before[0].keys() == TRUE.keys()
    assert all(each == before[0] for each in seen.rounds)
    assert parties.metrics(HOST).label_epsilon == 1.0


def test_new_processes_draw_as_before(tmp_path: Path) -> None:
    parties = parties_with(tmp_path)
    scheduler: Any = parties.schedulers[HOST]

    def run(**options: Any) -> list[dict[int, int]]:
        parties.begin(RunOptions(**options))
        seen = Seen(parties)
        parties.execute()
        return seen.rounds

    scheduler.case.raises = Method.ITERATE_TRAIN_FEATURE_LATER
    first, *_ = run()
    assert first.keys() == TRUE.keys()
    scheduler.case.raises = None
    for other in (RandomizedResponse(0.5, 2), None):
        scheduler.label_privacy = other
        parties.begin(RunOptions(resume=True))
        parties.execute(HOST)  # it waits for nobody
        assert isinstance(parties.errors[HOST], TaskFailed)
        assert "this task began with label_privacy of epsilon 1" in str(parties.errors[HOST])
    scheduler.label_privacy = RandomizedResponse(1.0, 2)
    done, *rest = run(resume=True)
    assert (done, rest) == ({}, [first] * (ROUNDS - 1)), "round 1 was over"
    assert not parties.errors


def test_a_task_that_begins_anew_draws_anew(tmp_path: Path) -> None:
    parties = parties_with(tmp_path)
    scheduler: Any = parties.schedulers[HOST]
    drawn = []
    for raises in (Method.ITERATE_TRAIN_FEATURE_LATER, None):
        scheduler.case.raises = raises
        parties.begin(RunOptions())
        seen = Seen(parties)
        parties.execute()
        drawn.append(dict(seen.rounds[0]))
    assert not parties.errors
    assert drawn[0].keys() == drawn[1].keys() == TRUE.keys()
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda scheduler: setattr(scheduler.case, "confirms_batches", False), "call self.confirm_batch_ids"),
        (lambda scheduler: setattr(scheduler, "_batch", lambda rows, out: (out, labels_of(rows).float())), "float32"),
        (lambda scheduler: setattr(scheduler, "_batch", lambda rows, out: (out, labels_of(rows) + 1)), "classes=2"),
        (lambda scheduler: setattr(scheduler, "_batch", lambda rows, out: (out, labels_of(rows)[1:])), "[31]"),
    ],
)
def test_a_batch_without_usable_labels_stops_before_anything_is_sent(
    tmp_path: Path, change: Callable[[Any], None], expected: str
) -> None:
    parties = parties_with(tmp_path)
    change(parties.schedulers[HOST])
    parties.execute()
    error = parties.errors[HOST]
    assert isinstance(error, TaskFailed)
    assert expected in error.detail
    assert expected not in error.reason, "labels are not spoken of to peers"
    sent = parties.metrics(COLLABORATOR).messages | parties.runs[COLLABORATOR].bench.metrics_so_far().messages
    assert BatchOpen.__name__ not in sent
    assert not parties.metrics(HOST).rounds


def test_with_a_seed_no_bound_is_claimed(tmp_path: Path) -> None:
    parties = parties_with(tmp_path, RunOptions(seed=3))
    seen = Seen(parties)
    parties.execute()
    assert not parties.errors
    assert seen.rounds[0] != TRUE
    assert parties.metrics(HOST).label_epsilon is None
    assert parties.runs[COLLABORATOR].bench.state.manifest.label_epsilon == 0.0


@pytest.mark.parametrize(
    ("protection", "is_said"), [({}, True), ({"label_privacy": RandomizedResponse(1.0, 2)}, False)]
)
def test_noise_alone_bounds_no_run_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, protection: dict[str, Any], is_said: bool
) -> None:
    arguments = {"max_rounds": 1, "gradient_noise": GaussianNoise(0.1, 1.0), **protection}
    parties = MemoryParties(tmp_path, cases={HOST: {"confirms_batches": True, "arguments": arguments}})
    parties.execute()
    assert not parties.errors
    assert ("nothing bounds the run: the Host's own models learn" in caplog.text) is is_said
