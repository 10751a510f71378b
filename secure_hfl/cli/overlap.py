"""`secure-hfl overlap`: how many ids the parties of a task have in common, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protocols.core.wording import plural
from secure_hfl.cli.output import console, plain
from secure_hfl.cli.run import Engine
from secure_hfl.errors import ConfigurationError, TaskStateError

if TYPE_CHECKING:
    from secure_hfl.overlap.session import OverlapAssignment

LEAST = 100
MOST_RUNS = 5

Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK", help="The task's id, its first characters, or its name. Default: the only unfinished task."
    ),
]
Ids = Annotated[
    Path | None,
    typer.Option(
        "--ids",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help='This party\'s ids: one a line, or the column "id" of a .csv or .parquet file.',
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="A table: a .parquet file, else CSV; with --id.", dir_okay=False),
]
Id = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Its column of ids.")]
RoundTo = Annotated[
    int, typer.Option("--round-to", metavar="N", min=1, help="Round down to a multiple of N. The same at all parties.")
]
MinIds = Annotated[
    int, typer.Option("--min-ids", metavar="N", min=1, help="Count nothing if either set has fewer ids.")
]
MaxRuns = Annotated[
    int,
    typer.Option("--max-runs", metavar="N", min=1, help="Count with one peer N times at most, over all tasks."),
]
Wait = Annotated[float, typer.Option(metavar="SECONDS", min=1, help="For the other parties to come.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("overlap")(overlap)


def overlap(
    task: Task = None,
    ids: Ids = None,
    data: Data = None,
    id: Id = None,
    round_to: RoundTo = 1,
    min_ids: MinIds = LEAST,
    max_runs: MaxRuns = MOST_RUNS,
    wait: Wait = 300,
    engine: Engine = None,
) -> None:
    """Count the ids that parties have in common, before anything is trained: how many, not which.

    All parties of a task that was created and joined start it. Whoever runs another program than this at the Host can
    find out which.
    """
    from protocols.overlap import Terms
    from secure_hfl.home import home_directory
    from secure_hfl.log import ensure_visible
    from secure_hfl.overlap.runs import RunCount
    from secure_hfl.overlap.session import OverlapSession
    from secure_hfl.tasks import run_lock

    terms, own = Terms(min_ids, round_to), _ids(ids, data, id, min_ids)
    ensure_visible()
    assignment = _assignment(task, engine)
    lock = assignment.store.directory(assignment.record.task_id) / "run.lock"
    if not run_lock.acquire(lock):
        raise TaskStateError(f"task {assignment.record.task_id} is running in process {run_lock.holder(lock)}")
    try:
        runs = RunCount(home_directory(), assignment.party, max_runs)
        found = OverlapSession(assignment, own, terms, runs, wait).run()
    finally:
        run_lock.release(lock)
    for each in found:
        console().print(plain(each.text()))
        console().print(plain(f"Transcript, for secure-hfl audit: {each.transcript}"))


def _assignment(task: str | None, engine: str | None) -> OverlapAssignment:
    from secure_hfl.home import home_directory
    from secure_hfl.identity import Identity
    from secure_hfl.limits import DEFAULT_LIMITS
    from secure_hfl.overlap.session import OverlapAssignment
    from secure_hfl.ray_executor import check_engine
    from secure_hfl.run_options import RunOptions
    from secure_hfl.schemes import load_scheme
    from secure_hfl.tasks import TaskStore, resolve_task

    check_engine(engine)
    home = home_directory()
    store, options = TaskStore(home), RunOptions(task=task, engine=engine)
    record = resolve_task(store, "YOUR_TASK_ID", task)
    if record.finished:
        raise TaskStateError(
            f"task {record.task_id} ({record.name!r}) is finished: its parties have found the ids themselves. Create a "
            "new one to count others"
        )
    scheme, identity = load_scheme(record.scheme), Identity.load_or_create(home)
    return OverlapAssignment(record.role, record.party, record, store, identity, scheme, options, DEFAULT_LIMITS)


def _ids(ids: Path | None, data: Path | None, id: str | None, least: int) -> list[str]:
    """This party's, checked. Errors name positions, never ids."""
    from protocols.core.errors import InvalidInput
    from protocols.psi.ids import check_ids
    from secure_hfl.prediction.id_files import read_ids
    from secure_hfl.tables.ids import ids_of_table

    if (ids is None) == (data is None) or (data is None) != (id is None):
        raise ConfigurationError("say --ids FILE, or --data FILE with --id COLUMN")
    found = read_ids(ids) if ids is not None else ids_of_table(str(data), str(id))
    try:
        check_ids(found)
    except InvalidInput as error:
        raise ConfigurationError(f"{ids or data}: {error}") from error
    if len(found) < least:
        raise ConfigurationError(
            f"{ids or data} has {plural(len(found), 'id')}, fewer than --min-ids {least}: so small a set asks "
            "whether its ids are in the other. Nothing was sent"
        )
    return found
