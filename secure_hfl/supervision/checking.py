"""Run as a process: `python -m secure_hfl.supervision.checking TASK SCRIPT LABEL`. Its verdict: see data_check.py."""

from __future__ import annotations

import sys
from pathlib import Path

from protocols.core.errors import SecureHflError
from secure_hfl.cli.check_scripts import Checked, check_scripts
from secure_hfl.dry_run.findings import Assumptions
from secure_hfl.files import write_private
from secure_hfl.home import home_directory
from secure_hfl.run_options import RunOptions, activate
from secure_hfl.supervision.data_check import IDS, MAX_DETAIL, VERDICT, CheckFinding, CheckVerdict
from secure_hfl.supervision.local_party import CONSOLE
from secure_hfl.tasks import TaskStore


def check(store: TaskStore, task_id: str, script: Path, label: str) -> CheckVerdict:
    """Check a script and keep the verdict."""
    sys.dont_write_bytecode = True
    record = store.get(task_id)
    directory = store.directory(record.task_id) / CONSOLE
    activate(RunOptions(task=record.task_id, scheme=record.scheme))
    ids = _lines(directory / IDS)
    try:
        checked, error = check_scripts([script], Assumptions(intersection=ids)), ""
    except SecureHflError as problem:
        checked, error = [], str(problem)
    findings = [
        CheckFinding(step=finding.step, status=finding.status, detail=finding.detail[:MAX_DETAIL])
        for each in checked
        for finding in each.findings
    ]
    verdict = CheckVerdict.of(label, findings, ids is not None, error)
    _keep_checkers_verdict(store, record.task_id, checked)
    write_private(directory / VERDICT, verdict.model_dump_json(indent=1).encode())
    return verdict


def _keep_checkers_verdict(store: TaskStore, task_id: str, checked: list[Checked]) -> None:
    """What a `DataChecker` says is the task's, as when the script is run."""
    said = [finding for each in checked if each.party is None for finding in each.findings]
    if said:
        worst = next((finding for finding in said if finding.status == "fail"), said[-1])
        store.record_data_check(task_id, worst.status != "fail", worst.detail)


def _lines(path: Path) -> frozenset[str] | None:
    try:
        found = frozenset(line for line in path.read_text("utf-8").splitlines() if line)
    except OSError:
        return None
    return found or None


if __name__ == "__main__":
    _task_id, _script, _label = sys.argv[1:]
    check(TaskStore(home_directory()), _task_id, Path(_script), _label)
