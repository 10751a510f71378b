"""Terms of a whole task on the command line: what the host plans (`task create`), what is allowed (`task join`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from protocols.core.wording import plural
from secure_hfl.errors import TaskError

if TYPE_CHECKING:
    from secure_hfl.tasks import AcceptedLimits, PlannedTerms

T = TypeVar("T")

PlanRounds = Annotated[int, typer.Option("--max-rounds", metavar="N", min=0, help="Plan: at most N rounds. 0: open.")]
PlanWidth = Annotated[
    int, typer.Option("--max-width", metavar="N", min=0, help="Plan: projections of at most N outputs. 0: not said.")
]
PlanRate = Annotated[
    float, typer.Option("--max-projection-lr", metavar="X", min=0, help="Plan: learning rate at most X. 0: not said.")
]
MayTrain = Annotated[
    list[str] | None,
    typer.Option(
        "--may-train",
        metavar="NAME",
        help="Only these collaborators may train their models, for which they are shown gradients; repeat for more. "
        "Default: all.",
    ),
]
NobodyTrains = Annotated[
    bool, typer.Option("--nobody-trains", help="No collaborator may be shown gradients: all their models are frozen.")
]
MostRounds = Annotated[int, typer.Option("--max-rounds", metavar="N", min=0, help="Allow at most N rounds. 0: any.")]
MostWidth = Annotated[
    int, typer.Option("--max-width", metavar="N", min=0, help="Allow projections of at most N outputs. 0: any.")
]
MostRate = Annotated[
    float, typer.Option("--max-projection-lr", metavar="X", min=0, help="Allow learning rates up to X. 0: any.")
]
MostRows = Annotated[
    int, typer.Option("--max-rows", metavar="N", min=0, help="Allow batches of at most N samples. 0: any.")
]
MostIds = Annotated[
    int, typer.Option("--max-ids", metavar="N", min=0, help="Allow at most N samples in common. 0: any.")
]
LeastOthers = Annotated[
    int,
    typer.Option(
        "--least-others",
        metavar="N",
        min=0,
        help="The host may get this party's projections only in a sum with those of at least N other collaborators.",
    ),
]
PlanFusion = Annotated[
    str, typer.Option("--fusion", help="Plan: the host gets the sum of all projections only. Default: each by itself.")
]
MostPredictions = Annotated[
    int,
    typer.Option(
        "--max-predictions", metavar="N", min=0, help="Allow N predictions of each sample, over all sessions. 0: any."
    ),
]
MostAsked = Annotated[
    int,
    typer.Option(
        "--max-asked-a-day", metavar="N", min=0, help="Let predictions ask about N ids in a day. 0: any number."
    ),
]


def planned(
    max_rounds: int,
    max_width: int,
    max_projection_lr: float,
    may_train: list[str] | None,
    nobody_trains: bool,
    fusion: str = "separate",
) -> PlannedTerms:
    """The plan that these options make. Raises `TaskError`."""
    from secure_hfl.tasks import PlannedTerms

    if may_train and nobody_trains:
        raise TaskError("--may-train and --nobody-trains contradict each other: give one of them")
    trainers = tuple(may_train) if may_train else () if nobody_trains else None
    return _checked(
        lambda: PlannedTerms(
            max_rounds=max_rounds,
            max_width=max_width,
            projection_lr=max_projection_lr,
            may_train=trainers,
            fusion=cast(Any, fusion),  # checked there
        )
    )


def allowed(**limits: float) -> AcceptedLimits:
    """The limits that these options make: fields of `AcceptedLimits`. Raises `TaskError`."""
    from secure_hfl.tasks import AcceptedLimits

    return _checked(lambda: AcceptedLimits.model_validate(limits))


def _checked(make: Callable[[], T]) -> T:
    from pydantic import ValidationError

    from secure_hfl.tasks.record import describe

    try:
        return make()
    except ValidationError as error:
        raise TaskError(describe(error)) from error


def planned_text(terms: PlannedTerms) -> str:
    """What a task's plan says, on one line."""
    if terms.may_train is None:
        trainers = "every collaborator may be shown gradients"
    else:
        trainers = f"{', '.join(terms.may_train) or 'no collaborator'} may be shown gradients"
    most = {
        "rounds": terms.max_rounds,
        "projection width": terms.max_width,
        "projection_lr": terms.projection_lr,
    }
    sums = ["the host gets the sum of all projections only"] if terms.fusion == "sum" else []
    return "; ".join([*(f"at most {value:g} {name}" for name, value in most.items() if value), trainers, *sums])


def allowed_text(limits: AcceptedLimits) -> str:
    """What this party allows, on one line."""
    names = {"rounds": "rounds", "width": "projection width", "projection_lr": "projection_lr"}
    names |= {"rows": "samples in a batch", "ids": "samples in common"}
    names |= {"predictions": "predictions of a sample", "asked_a_day": "ids asked for in a day"}
    values = {name: getattr(limits, field) for field, name in names.items()}
    said = [f"at most {value:g} {name}" for name, value in values.items() if value]
    if limits.least_others:
        said.append(f"projections only in a sum with at least {plural(limits.least_others, 'other')}")
    return "; ".join(said) or "as the host likes"
