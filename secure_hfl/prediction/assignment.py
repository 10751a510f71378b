"""What a party is to predict with: a finished task of its own, and where the files of its predictions go.

<task directory>/predictions/
    transcripts/        one of each session and peer, as of a training
    checkpoints/        what the sessions have shown (spent.json); no checkpoint
    counts.sqlite       a collaborator's: predictions so far (secure_hfl/prediction/budget.py)
    failed-test.txt     a collaborator's: the host has failed a test (secure_hfl/failed_test.py)
    serving.lock        a collaborator's: which process serves
    log.txt
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secure_hfl import run_options
from secure_hfl.distant_work import as_distant, distant_work
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.errors import ConfigurationError, TaskNotFound, TaskStateError
from secure_hfl.home import home_directory, make_private_directory
from secure_hfl.identity import Identity
from secure_hfl.limits import DEFAULT_LIMITS
from secure_hfl.prediction.trained import Training
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import load_scheme
from secure_hfl.tasks import TaskRecord, TaskStore, resolve_task
from secure_hfl.tasks.invite import PLACEHOLDERS

DIRECTORY = "predictions"


@dataclass(frozen=True)
class PredictionAssignment(Assignment):
    """One party's part in the predictions of one task. Its directory is that of the predictions."""

    @property
    def directory(self) -> Path:
        """See the base."""
        path = self.store.directory(self.record.task_id) / DIRECTORY
        make_private_directory(path)
        return path

    @property
    def results(self) -> Path:
        """See the base. What `tb_writer` writes while `test` is asked for predictions goes there."""
        path = self.directory / "results"
        make_private_directory(path)
        return path


def finished_task(store: TaskStore, reference: str, chosen: str | None) -> TaskRecord:
    """The finished task that is meant. Arguments as those of `resolve_task`.

    Raises:
        TaskNotFound: nothing matches, or several do.
        TaskStateError: it is not finished.
    """
    if reference in PLACEHOLDERS and chosen is None:
        finished = [record for record in store.list() if record.finished]
        if not finished:
            raise TaskNotFound(f"no task in {store.home} has finished, and predictions need one that has")
        if len(finished) != 1:
            listed = ", ".join(f"{each.task_id} ({each.name!r})" for each in finished[:10])
            raise TaskNotFound(f"finished tasks here: {listed}; say with which to predict (--task ID)")
        return finished[0]
    record = resolve_task(store, reference, chosen)
    if not record.finished:
        raise TaskStateError(
            f"task {record.task_id} ({record.name!r}) is {record.state.value}; predictions need a finished one"
        )
    return record


def find_prediction(scheduler: PartyScheduler, role: str, reference: str) -> tuple[PredictionAssignment, Training]:
    """Look up what a scheduler is to predict with.

    Args:
        scheduler: the user's.
        role: the one that it can play.
        reference: the task's id, prefix, name, or the tutorial's placeholder.

    Raises:
        SecureHflError: there is no such finished task, or the script or the results do not fit it.
    """
    options, home = run_options.current(), home_directory()
    store = TaskStore(home)
    record = finished_task(store, reference, options.task)
    if record.role != role:
        raise ConfigurationError(
            f"task {record.name!r} made this party the {record.role}, but the script is of a {role}"
        )
    identity = Identity.load_or_create(home)
    training = Training.of(store.directory(record.task_id), record)
    trained_as = training.name_of(role)
    if scheduler.feature_key != trained_as:
        raise ConfigurationError(
            f"feature_key: the task was trained with this party as {trained_as!r}, the script says "
            f"{scheduler.feature_key!r}. Predict with the script that it was trained with"
        )
    limits = scheduler.limits or DEFAULT_LIMITS
    if options.limits is not None:
        limits = limits.changed(options.limits)
    distant = distant_work(options.engine)
    own = RunOptions(task=options.task, progress=options.progress, limits=options.limits, engine=options.engine)
    scheme = load_scheme(training.terms.scheme, as_distant(distant))
    return PredictionAssignment(role, trained_as, record, store, identity, scheme, own, limits, distant), training
