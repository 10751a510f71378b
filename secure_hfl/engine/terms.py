"""The terms of a run: what the scheduler asks for or allows, and what the task record says; the stricter counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocols.task.manifest import SUM_KEY
from protocols.task.terms import Declared, RunLimits
from secure_hfl.engine.assignment import Assignment
from secure_hfl.engine.contract import CollaboratorScheduler, HostScheduler
from secure_hfl.engine.widths import projection_widths, with_option
from secure_hfl.errors import ConfigurationError
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import Scheme
from secure_hfl.tasks import PlannedTerms
from secure_hfl.tasks.record import SUM


def declared_by(scheduler: HostScheduler, options: RunOptions, plan: PlannedTerms) -> Declared:
    """What the host says of the whole run before it begins. `plan`: of the task."""
    rounds = scheduler.max_rounds if options.rounds is None else options.rounds
    privacy = scheduler.label_privacy if options.seed is None else None
    return Declared(
        max_rounds=rounds or plan.max_rounds,
        max_batches=options.batches or 0,
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
    if terms.projection_lr and not declared.projection_lr:
        raise ConfigurationError(
            f"projection_lr: task {task.record.name!r} was created with at most {terms.projection_lr:g}, and 0 says "
            "nothing to the collaborators. Take a small one, or create another task"
        )


def check_before_waiting(scheduler: HostScheduler, task: Assignment) -> None:
    """What can be known of a host's own plan before any collaborator has come.

    Raises:
        ConfigurationError: the task's plan, its parties, its scheme or this party's own limits do not allow it.
    """
    names = [each.name for each in task.record.collaborators]
    if task.party in names:
        raise ConfigurationError(
            f"feature_key: {task.party!r} is a collaborator's name in task {task.record.name!r}; take another"
        )
    strangers = sorted(set(scheduler.may_train or ()) - set(names))
    if strangers:
        raise ConfigurationError(
            f"may_train names {', '.join(strangers)}, and task {task.record.name!r} calls its collaborators "
            f"{', '.join(names)}"
        )
    asked = with_option(scheduler.projection, task.options.projection)
    # A single collaborator says only when it comes by which key it goes (protocols/task/feature_keys.py).
    keys = list(asked) if isinstance(asked, Mapping) and len(names) == len(asked) == 1 else names
    widths = projection_widths(asked, task.scheme, keys)
    check_plan(declared_by(scheduler, task.options, task.record.terms), widths, task)
    if is_summed(scheduler, task):
        check_sum(task.scheme, widths, [task.party, *names])
    widest = max(widths or (0,))
    if widest > task.limits.width:
        raise ConfigurationError(
            f"projection: a layer of {widest} outputs, and this party's own limit width is {task.limits.width}. Lower "
            "it, or raise the limit (docs/operations.md)"
        )


def is_summed(scheduler: HostScheduler, task: Assignment) -> bool:
    """Whether the host is to get the sum of all projections only.

    Raises:
        ConfigurationError: its task was created for a sum, and the scheduler wants each by itself.
    """
    if task.record.terms.fusion == SUM and scheduler.fusion != SUM:
        raise ConfigurationError(
            f"fusion: task {task.record.name!r} was created with --fusion sum, and the script asks for each projection "
            'by itself. Set fusion="sum", or create another task'
        )
    return scheduler.fusion == SUM


def check_sum(scheme: Scheme, widths: Sequence[int] | None, keys: Sequence[str]) -> None:
    """Raise `ConfigurationError` unless there can be a sum of projections.

    Args:
        scheme: of the task.
        widths: of the projections; None: no layer.
        keys: feature keys of all parties, the host's first.
    """
    if not scheme.can_sum:
        raise ConfigurationError(
            f"fusion: scheme {scheme.name!r} cannot add projections that nobody sees. Take bfv, paillier or masked, or "
            'fusion="separate"'
        )
    if len(keys) < 3:
        raise ConfigurationError('fusion: a sum is of two collaborators or more. Set fusion="separate"')
    if len(set(widths or ())) != 1:
        listed = ", ".join(str(width or "that of the features") for width in widths or ())
        raise ConfigurationError(
            f"fusion: projections that are added have one width, and these have {listed}. Give all the same projection"
        )
    if SUM_KEY in keys:
        raise ConfigurationError(
            f"fusion: a party is called {SUM_KEY!r}, which is where feature_projection has the sum. Call it otherwise"
        )


def trainers(scheduler: HostScheduler, task: Assignment) -> frozenset[str] | None:
    """Whom the host lets see gradients: those whom both its scheduler and its task name. None: everybody."""
    said = [each for each in (scheduler.may_train, task.record.terms.may_train) if each is not None]
    return frozenset.intersection(*map(frozenset, said)) if said else None


def limits_of(scheduler: CollaboratorScheduler, task: Assignment) -> RunLimits:
    """What a collaborator allows: the strictest of its scheduler, of what it joined with, and of the invite's plan."""
    record = task.record
    others = len(record.collaborators) - 1 if record.terms.fusion == SUM else 0
    plan = RunLimits(record.terms.max_width, record.terms.max_rounds, record.terms.projection_lr, least_others=others)
    return record.limits.limits.stricter(plan).stricter(scheduler.run_limits or RunLimits())
