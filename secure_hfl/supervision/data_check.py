"""The data check of a task: its script is tried out alone, as `secure-hfl check` does, in a process of its own.

The process leaves its verdict in the task's directory, `console/check-verdict.json`. What a `DataChecker` in the script
says is kept with the task as well, and a task whose `DataChecker` says no does not start.

A dry run knows only this party's ids. Where a script counts on those that all parties hold, as the tutorial's does, it
may stop at an id that no real run would see. Such a verdict is "unsure": the page says so, and the task may start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from secure_hfl.errors import TaskStateError
from secure_hfl.files import write_private
from secure_hfl.supervision.local_party import CONSOLE, party_environment
from secure_hfl.supervision.script_folders import Choice
from secure_hfl.supervision.supervised import Started, Supervised
from secure_hfl.tasks import TaskStore
from secure_hfl.tasks.record import utc_now

VERDICT = "check-verdict.json"
IDS = "check-ids.txt"
MAX_DETAIL = 2000

CHECK_COMMAND = (sys.executable, "-m", "secure_hfl.supervision.checking")


class CheckFinding(BaseModel):
    """One step of the dry run. `status`: "ok", "warn" or "fail"."""

    model_config = ConfigDict(frozen=True)

    step: str
    status: Literal["ok", "warn", "fail"]
    detail: str


class CheckVerdict(BaseModel):
    """What a check came to.

    Attributes:
        verdict: "ready", "unsure" (see the module) or "not ready".
        script: which was checked.
        findings: step by step.
        error: what ended it, where that was no step.
        checked_at: when.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Literal["ready", "unsure", "not ready"]
    script: str
    findings: tuple[CheckFinding, ...] = ()
    error: str = ""
    checked_at: AwareDatetime

    @classmethod
    def of(cls, script: str, findings: Sequence[CheckFinding], knows_ids: bool, error: str = "") -> CheckVerdict:
        """The verdict on these findings. `knows_ids`: the ids that all parties hold were given."""
        failed = [finding for finding in findings if finding.status == "fail"]
        is_checkers = any(finding.step.endswith(".verify_data") for finding in failed)
        steps = [finding.step for finding in findings]
        # Nothing before the split depends on others' ids.
        is_after_split = "split_dataset" in steps and all(
            finding.step in steps and steps.index(finding.step) > steps.index("split_dataset") for finding in failed
        )
        if not failed and not error:
            verdict: Literal["ready", "unsure", "not ready"] = "ready"
        elif failed and not error and is_after_split and not is_checkers and not knows_ids:
            verdict = "unsure"
        else:
            verdict = "not ready"
        return cls(
            verdict=verdict, script=script, findings=tuple(findings), error=error[:MAX_DETAIL], checked_at=utc_now()
        )


class DataCheckRun:
    """The check of one task.

    Args:
        store: where the task is.
        task_id: its full id.
    """

    def __init__(self, store: TaskStore, task_id: str) -> None:
        self._store, self.task_id = store, task_id
        self._directory = store.directory(task_id) / CONSOLE
        self._process = Supervised(self._directory, "check")

    @property
    def is_running(self) -> bool:
        """Whether one is under way."""
        return self._process.is_alive()

    @property
    def last(self) -> Started | None:
        """The last one that was started here."""
        return self._process.last()

    def verdict(self) -> CheckVerdict | None:
        """The last one's; None while one is under way, and before the first."""
        last = self._process.last()
        if last is None or last.process.is_alive():
            return None
        script = last.what.get("label", "")
        try:
            found = CheckVerdict.model_validate_json((self._directory / VERDICT).read_bytes())
        except (OSError, ValidationError):
            found = None
        if found is None or found.checked_at < last.began_at:
            why = self._process.last_line() or "the check ended without a verdict"
            return CheckVerdict(verdict="not ready", script=script, error=why, checked_at=last.began_at)
        return found

    def is_outdated(self) -> bool:
        """Whether the script has been changed, or removed, since it was checked."""
        last = self._process.last()
        if last is None:
            return False
        try:
            return Path(last.what.get("script", "")).stat().st_mtime > last.began_at.timestamp()
        except OSError:
            return True

    def start(self, script: Choice, ids: bytes = b"") -> None:
        """Begin one. `ids`: those that all parties hold, one a line, where they are known.

        Raises:
            TaskStateError: one is under way, or the task runs.
        """
        record = self._store.get(self.task_id)

        def may_start() -> None:
            if self._store.is_live(self.task_id):
                raise TaskStateError("the task is running; its data was taken as it is")
            write_private(self._directory / IDS, ids)

        command = [*CHECK_COMMAND, record.task_id, str(script.path), script.label]
        environment = party_environment(self._store.home, script.environment)
        what = {"script": str(script.path), "key": script.key, "label": script.label}
        self._process.start(command, what, environment, script.path.parent, may_start)
