"""Runs that were interrupted and went on: what may be lost, what must fit, and what is found when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from benchmarks.harness.pump import H
from protocols.core.sender import Sender
from protocols.transcript.auditor import audit, audit_run
from protocols.transcript.errors import Severity
from protocols.transcript.format import lines_of
from protocols.transcript.report import AuditReport
from tests.protocols.transcript.interrupted_runs import Run, check_run, interrupted, length
from tests.protocols.transcript.recorded_runs import check, transcripts
from tests.protocols.whole_task import Case
from tests.vectors.verify_transcript import verify

PLAIN = Case("plain", rounds=2, batches=(4, 2))
SECURE = [
    Case(rounds=1, batches=(4, 2)),
    Case(rounds=1, batches=(4, 2), trainable=False, skip=0),
    Case("paillier", rounds=1, batches=(3,)),
    Case("masked", rounds=1, batches=(4, 2)),
    Case("masked", rounds=1, batches=(4, 2), trainable=False),
]
TWO = (79,)
"""In the second batch of PLAIN's first training round: the host has sent the gradient, and it has not arrived."""


def reports(host: list[bytes], collaborator: list[bytes]) -> Iterator[AuditReport]:
    """From either end, and from both."""
    yield check_run(host)
    yield check_run(collaborator, name="collaborator")
    yield check_run(host, collaborator)
    yield check_run(collaborator, host, name="collaborator")


def assert_holds(host: list[bytes], collaborator: list[bytes]) -> None:
    for report in reports(host, collaborator):
        assert not [str(f) for f in report.findings if f.severity is not Severity.NOTE]
        assert report.is_finished
    for files in ((host,), (collaborator,), (host, collaborator)):
        verify(*map(list, files))


@pytest.mark.parametrize("start", [0, 1])
def test_a_run_may_be_cut_anywhere(start: int) -> None:
    for cut in [*range(start, 20, 2), *range(20 + 9 * start, length(PLAIN), 19)]:
        assert_holds(*interrupted(PLAIN, (cut,)))


@pytest.mark.parametrize("case", SECURE, ids=str)
def test_a_run_of_any_scheme_may_be_cut_anywhere(case: Case) -> None:
    """Everything is fresh in the second conversation: keys, ciphertexts, one-time masks."""
    whole = length(case)
    for cut in [whole // 2] if case.scheme == "paillier" else range(whole // 6, whole, whole // 3):
        assert_holds(*interrupted(case, (cut,)))


CUTS = {
    "in training, twice in set-up": (80, 30, 40),
    "in the set-up, and again before it": (30, 9, 14, 100),
    "late, then early four times": (100, 20, 20, 20, 25),
    "twice while joining": (3, 3, 60),
    "before anything was agreed on": (2, 1, 0),
}
"""Messages of each conversation that come before the cut."""


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("older", [0, 1])
def test_a_run_may_be_cut_again_and_again(cuts: tuple[int, ...], older: int) -> None:
    """Also when somebody's newest checkpoint is lost, so that all go back to an older one."""
    assert_holds(*interrupted(PLAIN, cuts, older if cuts[0] > 50 else 0))


@pytest.mark.parametrize("case", [SECURE[0], SECURE[3]], ids=str)
def test_what_stands_after_a_checkpoint_is_done_again(case: Case) -> None:
    host, collaborator = interrupted(case, (length(case) - 12, 60, 40), older=1)
    assert_holds(host, collaborator)
    assert len(host) == 4


def test_checkpoints_may_be_made_at_the_ends_of_rounds_only() -> None:
    host, collaborator = interrupted(PLAIN, TWO, every=0)
    assert_holds(host, collaborator)
    assert check_run(host).resumes[0].place == "the end of the set-up"


def test_the_report_says_where_a_run_went_on_and_what_was_lost() -> None:
    host, collaborator = interrupted(PLAIN, (*TWO, 3, 30))
    report = check_run(host, collaborator)
    assert [each.conversation for each in report.resumes] == [2, 3, 4]
    assert (report.resumes[0].lost_from_host, report.resumes[0].lost_from_collaborator) == (1, 0)
    assert [each.file for each in report.resumes] == ["host-2", "host-3", "host-4"]
    assert report.resumes[0].place == "batch 1 of training round 1"
    assert (report.resumes[0].phase, report.resumes[0].round, report.resumes[0].batch) == ("train", 1, 1)
    assert (report.resumes[1].lost_from_host, report.resumes[1].lost_from_collaborator) == (1, 0)  # the manifest
    assert [file.end for file in report.files] == [0] * 4 + [1] * 3
    assert [file.conversation for file in report.files] == [1, 2, 3, 4, 1, 2, 3]
    assert [file.is_finished for file in report.first_end] == [False, False, False, True]
    assert report.messages == sum(file.messages for file in report.first_end)
    assert json.loads(json.dumps(asdict(report)))["resumes"][0]["round"] == 1
    lost = {each.lost_from_host for cut in range(60, 80, 3) for each in check_run(*interrupted(PLAIN, (cut,))).resumes}
    assert lost >= {0, 1}
    for cut in range(60, 80, 3):
        rows = [report.resumes[0] for report in reports(*interrupted(PLAIN, (cut,)))]
        assert len({(row.lost_from_host, row.lost_from_collaborator) for row in rows}) == 1


def test_a_run_that_began_again_before_its_first_checkpoint() -> None:
    report = check_run(*interrupted(PLAIN, (20,)))
    assert report.resumes[0].place == "the beginning"
    assert report.by_round["psi", 0][0] > check(transcripts(PLAIN)[0]).by_round["psi", 0][0]


def test_a_run_without_interruption_is_reported_as_before() -> None:
    host, collaborator = transcripts(PLAIN)
    names = ("host", "collaborator")
    one = audit(lines_of([host]), lines_of([collaborator]), names=names)
    assert one == audit_run([lines_of([host])], [lines_of([collaborator])], names=(names[:1], names[1:]))
    assert not one.resumes
    assert not one.findings


def test_who_learned_what_is_of_all_conversations_together() -> None:
    host, _ = interrupted(SECURE[0], (length(SECURE[0]) - 12,))
    alone, together = check(host[1]), check_run(host)
    assert alone.ledger is not None
    assert together.ledger is not None
    assert not any("of its own sample ids" in each for each in alone.ledger.host_learned)
    assert any("of its own sample ids" in each for each in together.ledger.host_learned)


def test_what_both_had_counts_as_signed_once_they_went_on() -> None:
    host, collaborator = interrupted(PLAIN, TWO)
    alone = check(host[0]).files[0]
    report = check_run(host)
    for at, sender in enumerate(Sender):
        both = min(file.count(b"\ne " + sender.value.encode()) for file in (host[0], collaborator[0]))
        assert alone.signed_by_both[at] < both == report.files[0].signed_by_both[at]
    # A conversation that was cut before anything in it was signed has signed nothing.
    run = Run(PLAIN)
    run.converse(80)
    run.converse(6)
    assert check_run(run.files[H]).files[0].signed_by_both == alone.signed_by_both
