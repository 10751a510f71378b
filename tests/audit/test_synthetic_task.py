"""The transcripts that benchmarks.transcript measures are such that an audit has nothing to say against them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.transcript import SyntheticTask
from protocols.core.sender import Sender
from secure_hfl.audit.audit_files import audit_files


def test_a_synthetic_task_is_in_order_from_both_ends(tmp_path: Path) -> None:
    task = SyntheticTask(tmp_path)
    task.run(700)
    audited = audit_files(*(task.paths[sender] for sender in Sender))
    assert not audited.report.findings
    assert audited.report.is_finished
