"""Parties of several tiny tasks at once, in one process. `LOAD_PLAN` is a JSON list of {task, name, home, case, meet}.

All entries of one home are one party, which launches its tasks together; several homes are several parties, whose runs
share the process only because a test or a benchmark wants few processes. Models are built before anything runs: tasks
share torch's generator. Where `meet` names a FIFO, a collaborator has its first batch with other ids than training's
first once the host hangs. Prints one JSON object: which tasks failed, and why.
"""

import json
import os
from pathlib import Path
from typing import Any

import tiny
import torch

from benchmarks.harness.scripts.cases import Method
from secure_hfl import launch_tasks, logger
from secure_hfl.engine.supervisor import run_together
from secure_hfl.errors import TasksFailed
from secure_hfl.home import HOME_VARIABLE


class Talks:
    """Logs the task's own word whenever it is called."""

    word = ""
    meet = ""
    models: dict[Method, torch.nn.Module] | None = None

    def _returned(self, method: Method, value: Any) -> Any:
        return (self.models or {}).get(method, value)

    def _enter(self, method: Method) -> None:
        if self.case.hangs is method:
            self.schedule_timeout = 0.5  # it has joined; now this is how long it may hang
        logger.info(f"{self.word} is in {method.value}")
        if self.case.hangs is method and self.meet:
            Path(self.meet).write_text("hanging")
        super()._enter(method)


class Host(Talks, tiny.TinyHost):
    """See `tiny`."""


class Collaborator(Talks, tiny.TinyCollaborator):
    """See `tiny`."""

    def _batch(self, rows: list[int], out: torch.Tensor) -> torch.Tensor:
        if self.meet and rows[0] != tiny.TRAIN_IDS[0]:
            Path(self.meet).read_text()
            self.meet = ""
        return super()._batch(rows, out)


def make(entry: dict[str, Any]) -> Host | Collaborator:
    """The scheduler of one entry."""
    case = tiny.Case(**entry["case"])
    models = {Method.BUILD_FEATURE_MODEL: tiny.bottom(case.index)}
    if case.index == 0:
        case.arguments.setdefault("max_rounds", 2)
        models[Method.BUILD_INFER_MODEL] = tiny.top(case.parties)
    scheduler = Collaborator(case) if case.index else Host(case)
    scheduler.models = models
    scheduler.word, scheduler.meet = f"{entry['name']}-speaks", entry.get("meet", "")
    return scheduler


def launch(plan: list[dict[str, Any]]) -> None:
    """Run them all. Raises `TasksFailed`."""
    schedulers = [make(entry) for entry in plan]
    if len({entry["home"] for entry in plan}) == 1:
        os.environ[HOME_VARIABLE] = plan[0]["home"]
        launch_tasks({entry["task"]: scheduler for entry, scheduler in zip(plan, schedulers)})
        return
    runs = {}
    for entry, scheduler in zip(plan, schedulers):
        os.environ[HOME_VARIABLE] = entry["home"]
        runs[f"{entry['name']} {entry['home']}"] = run = scheduler._make_run(entry["task"])
        scheduler._run = run.view
    run_together(runs)


if __name__ == "__main__":
    failed: dict[str, str] = {}
    try:
        launch(json.loads(os.environ["LOAD_PLAN"]))
    except TasksFailed as error:
        failed = {name: str(each) for name, each in error.failed.items()}
        failed["all"] = str(error)
    print(json.dumps({"failed": failed}))
