"""A host shows two collaborators of one task different manifests: other rounds, other parties, another protection.

Each transcript by itself holds, as it always did: each collaborator has accepted and signed what it was shown. Beside
each other they tell.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness.pump import C
from secure_hfl.audit.audit_files import Audited, Verdict, audit_files
from secure_hfl.audit.report_text import State, checks
from tests.protocols.whole_task import Case, Task

CASE = Case("plain", rounds=1, batches=(4, 2))
BOTH = Case("plain", rounds=1, batches=(4, 2), names=("patient", "shop"))


def written(directory: Path, *tasks: Task) -> list[Path]:
    """Each collaborator's own transcript."""
    paths = []
    for task in tasks:
        for line in task.lines:
            path = directory / line.name / "hospital-1.transcript"
            path.parent.mkdir()
            path.write_bytes(line.wire.files[C])
            paths.append(path)
    return paths


def state(audited: Audited) -> tuple[State, str]:
    (check,) = [each for each in checks(audited) if each.name.startswith("The host showed all")]
    return check.state, check.remark


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(tmp_path_factory.mktemp("honest"), Task(BOTH).run())


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Each is told that it is the only collaborator."""
    tasks = [Task(Case("plain", rounds=1, batches=(4, 2), names=(name,))).run() for name in BOTH.names]
    return written(tmp_path_factory.mktemp("lied"), *tasks)


def test_one_manifest_for_all_holds(honest: list[Path]) -> None:
    audited = audit_files(honest[0], others=honest[1:])
    assert audited.verdict is Verdict.HOLDS, audited.report.findings
    assert state(audited) == (State.HOLDS, "compared with 1 other collaborator")


def test_each_transcript_alone_holds(lied_to: list[Path]) -> None:
    for path in lied_to:
        audited = audit_files(path)
        assert audited.verdict is Verdict.HOLDS, audited.report.findings
        assert state(audited) == (State.HOLDS, "it names one collaborator")


def test_a_transcript_of_several_collaborators_alone_was_not_compared(honest: list[Path]) -> None:
    audited = audit_files(honest[0])
    assert state(audited) == (State.SKIPPED, "give other collaborators' transcripts of this task with --other")


def test_beside_each_other_they_tell(lied_to: list[Path]) -> None:
    audited = audit_files(lied_to[0], others=lied_to[1:])
    assert audited.verdict is Verdict.FAILS
    (finding,) = [each for each in audited.report.findings if each.kind == "ManifestsDiffer"]
    assert finding.problem == "the host showed patient and shop different manifests of one task"
    assert "collaborators (patient and shop)" in finding.expected
    assert state(audited)[0] is State.FAILS
