"""Every scheme's whole task, with one collaborator and with two, by the real roles in one thread."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from benchmarks.harness.pump import C, H
from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.task.resumption import ResumePoint
from protocols.transcript.auditor import audit_run
from protocols.transcript.format import lines_of
from protocols.transcript.report import AuditReport
from tests.protocols import kept_layers
from tests.protocols.transcript.interrupted_runs import encoded_position
from tests.protocols.whole_task import Before, Case, Task, ids_of

TWO, THREE = ("patient",), ("patient", "shop")


def case(scheme: str, has_projection: bool, names: tuple[str, ...], trainable: bool = True) -> Case:
    return Case(scheme, trainable, has_projection=has_projection, names=names, tests_every_round=True, skip=1, rounds=2)


SCHEMES = [("plain", False), ("plain", True), ("bfv", True), ("paillier", True), ("masked", True)]
CASES = [
    pytest.param(case(scheme, has_projection, names), id=f"{scheme}{'' if has_projection else '-no-layer'}-{parties}")
    for scheme, has_projection in SCHEMES
    for names, parties in ((TWO, "2-parties"), (THREE, "3-parties"))
    # A second pair of keys takes seconds to make, and shows nothing more.
    if names == TWO or scheme not in ("paillier", "masked")
]
FROZEN = [
    pytest.param(case(scheme, has_projection, TWO, False), id=f"{scheme}{'' if has_projection else '-no-layer'}-frozen")
    for scheme, has_projection in SCHEMES
]
CASES.append(pytest.param(replace(case("masked", True, THREE), is_summed=True), id="masked-3-parties-sum"))
CASES += [*FROZEN, pytest.param(case("masked", True, THREE, False), id="masked-frozen-3-parties")]


Files = list[dict[Sender, bytes]]
"""By connection, what each end has written."""


def files_of(task: Task) -> Files:
    return [{sender: bytes(line.wire.files[sender]) for sender in (H, C)} for line in task.lines]


class Watched(Task):
    """A task whose files are kept as they are when all have made a checkpoint: as if the connections broke there."""

    def __init__(self, of: Case) -> None:
        super().__init__(of, every=2)
        self.broken_at: dict[ResumePoint, Files] = {}

    def save(self, phase: Phase, number: int = 0, batch: int = 0) -> None:
        super().save(phase, number, batch)
        self.broken_at[self.saved[-1].point] = files_of(self)


@lru_cache
def whole(of: Case) -> Watched:
    task = Watched(of)
    task.run()
    return task


@lru_cache
def resumed(of: Case, point: ResumePoint) -> Task:
    """A task that was broken at this checkpoint of `whole`, and went on."""
    first = whole(of)
    saved = next(each for each in first.saved if each.point == point)
    positions = {
        line.name: {sender: encoded_position(files[sender]) for sender in (H, C)}
        for line, files in zip(first.lines, first.broken_at[point], strict=True)
    }
    return Task(of, Before(saved, positions, 1), every=2).run()


def audited(*conversations: Files) -> list[AuditReport]:
    """Each connection's two transcripts, or series of transcripts, compared with each other."""
    reports = []
    for at in range(len(conversations[0])):
        files = {sender: [lines_of([each[at][sender]]) for each in conversations] for sender in (H, C)}
        names = [[f"{sender.role}-{number}" for number, _ in enumerate(files[sender], 1)] for sender in (H, C)]
        reports.append(audit_run(files[H], files[C], names=(names[0], names[1])))
    return reports


def assert_faultless(reports: list[AuditReport]) -> None:
    for report in reports:
        assert report.holds, [str(finding) for finding in report.findings]
        assert report.is_finished


@pytest.mark.parametrize("of", CASES)
def test_a_whole_task(of: Case) -> None:
    task = whole(of)
    shared = set.intersection(*(set(ids_of(party)) for party in range(len(of.names) + 1)))
    for line in task.lines:
        assert line.learnt == shared
        assert [len(z) for z in line.shown] == [*of.batches, 4, 2] * of.rounds
        assert not line.wire.inboxes[H]
        assert not line.wire.inboxes[C]
    assert task.rounds.trained == of.rounds
    assert [saved.point for saved in task.saved] == [
        ResumePoint(Phase.PSI),
        ResumePoint(Phase.SETUP),
        ResumePoint(Phase.TRAIN, 1, 2),
        ResumePoint(Phase.TRAIN, 1),
        ResumePoint(Phase.TEST, 1),
        ResumePoint(Phase.TRAIN, 2, 2),
        ResumePoint(Phase.TRAIN, 2),
        ResumePoint(Phase.TEST, 2),
    ]
    assert_faultless(audited(files_of(task)))


def test_a_masked_task_in_which_every_opening_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pieces of batches too, in tests, and behind steps that were skipped."""
    monkeypatch.setattr(kept_layers, "MASKED_BOUNDS", kept_layers.BOUNDS)
    task = Task(replace(case("masked", True, TWO), batches=(4, 6))).run()
    assert_faultless(audited(files_of(task)))
    assert files_of(task)[0][H].count(b" FormQuery ") == 12, "ten openings of U, two of V"


@pytest.mark.parametrize("of", CASES)
@pytest.mark.parametrize(
    "point", [ResumePoint(Phase.PSI), ResumePoint(Phase.TRAIN, 1, 2), ResumePoint(Phase.TRAIN, 2)], ids=str
)
def test_a_task_goes_on_from_a_checkpoint(of: Case, point: ResumePoint) -> None:
    first, second = whole(of), resumed(of, point)
    assert second.manifest.resume_point == point
    assert second.manifest.session != first.manifest.session
    assert second.rounds.trained == of.rounds
    assert_faultless(audited(first.broken_at[point], files_of(second)))  # among others: no mask and no nonce came twice


@pytest.mark.parametrize("of", CASES)
def test_it_goes_on_as_without_a_break(of: Case) -> None:
    point = ResumePoint(Phase.TRAIN, 1, 2)
    unbroken, broken = whole(of), resumed(of, point)
    noise = 0 if of.scheme == "plain" else 0.01  # of the weights' later versions; it is fresh
    for one, two in zip(unbroken.lines, broken.lines, strict=True):
        kept = one.shown[point.batch :]
        assert [len(z) for z in two.shown] == [len(z) for z in kept]
        for old, new in zip(kept, two.shown, strict=True):
            np.testing.assert_allclose(new, old, rtol=0, atol=noise)
            assert np.abs(old).max() > 0.1
