"""The terms of a run: what the scheduler asks for or allows, and what the task record says; the stricter counts."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.task.terms import Declared, RunLimits
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.contract import CollaboratorScheduler, HostScheduler
from secure_hfl.errors import ConfigurationError
from secure_hfl.run_options import RunOptions
from secure_hfl.tasks import PlannedTerms


def declared_by(scheduler: HostScheduler, options: RunOptions, plan: PlannedTerms) -> Declared:
    """What the host says of the whole run before it begins. `plan`: of the task."""
    rounds = options.rounds
    if rounds is None:
        rounds = 0 if scheduler.decides_when_finished else scheduler.max_rounds
    privacy = scheduler.label_privacy if options.seed is None else None
    return Declared(
        max_rounds=rounds or plan.max_rounds,
        projection_lr=float(scheduler.projection_lr),
        label_epsilon=0.0 if privacy is None else float(privacy.epsilon),
    )


def check_plan(declared: Declared, widths: Sequence[int] | None, task: Assignment) -> None:
    """Compare what the host's run asks for with what its task was created with.

    Raises:
        ConfigurationError: it is more. The collaborators have joined a task of that plan.
    """
    terms = task.record.terms
    asked = (
        ("max_rounds", declared.max_rounds, terms.max_rounds),
        ("projection", max(widths or (0,)), terms.max_width),
        ("projection_lr", declared.projection_lr, terms.projection_lr),
    )
    for name, wanted, most in asked:
        if most and wanted > most:
            raise ConfigurationError(
                f"{name}: task {task.record.name!r} was created with at most {most:g}, and this run asks for "
                f"{wanted:g}. Lower it, or create another task"
            )


def trainers(scheduler: HostScheduler, task: Assignment) -> frozenset[str] | None:
    """Whom the host lets see gradients: those whom both its scheduler and its task name. None: everybody."""
    said = [each for each in (scheduler.may_train, task.record.terms.may_train) if each is not None]
    return frozenset.intersection(*map(frozenset, said)) if said else None


def limits_of(scheduler: CollaboratorScheduler, task: Assignment) -> RunLimits:
    """What a collaborator allows: the strictest of its scheduler, of what it joined with, and of the invite's plan."""
    record = task.record
    plan = RunLimits(record.terms.max_width, record.terms.max_rounds, record.terms.projection_lr)
    return record.limits.limits.stricter(plan).stricter(scheduler.run_limits or RunLimits())
