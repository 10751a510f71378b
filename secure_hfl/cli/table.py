"""`secure-hfl table`: a task from a table without a line of code, by a script that it writes and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secure_hfl.cli.output import console, plain
from secure_hfl.cli.run import CheckpointEvery, Proxy, Resume, Rounds, Scheme, Seed, Task, Traceback, start_script
from secure_hfl.errors import ConfigurationError

if TYPE_CHECKING:
    from secure_hfl.tables.inspection import Found, Wishes
    from secure_hfl.tables.sources import Source

Data = Annotated[
    Path | None, typer.Option("--data", metavar="FILE", help="The table: a .parquet file, else CSV.", dir_okay=False)
]
Sql = Annotated[
    str | None,
    typer.Option(
        "--sql",
        metavar="URL",
        help="A database that SQLAlchemy knows, or adbc+DRIVER://... Its password: $SECURE_HFL_SQL_PASSWORD.",
    ),
]
Query = Annotated[
    str | None, typer.Option("--query", metavar="SQL", help="What gives the table, in order; with --sql.")
]
Id = Annotated[str, typer.Option("--id", metavar="COLUMN", help="The column of ids, kept as they are written.")]
IdMaybe = Annotated[
    str | None, typer.Option("--id", metavar="COLUMN", help="The column of ids. Without it, columns are listed.")
]
LabelColumn = Annotated[str, typer.Option("--label", metavar="COLUMN", help="The column to predict.")]
LabelMaybe = Annotated[str | None, typer.Option("--label", metavar="COLUMN", help="The column to predict, if any.")]
LabelKindOption = Annotated[
    str, typer.Option("--label-kind", metavar="KIND", help="regression or classes. Default: found.")
]
WithUnlabelled = Annotated[
    bool, typer.Option("--with-unlabelled", help="Keep rows without a label: predicted, and never trained on.")
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="COLUMN=TYPE",
        help="numeric, boolean, category, date, date:dmy, date:mdy or date:ymd, in place of what is found.",
    ),
]
Drop = Annotated[list[str] | None, typer.Option("--drop", metavar="COLUMN", help="Leave this column out.")]
Missing = Annotated[
    list[str] | None,
    typer.Option("--missing", metavar="TEXT", help="What stands for no value, beside '', NA, NULL ..."),
]
Decimal = Annotated[
    str | None, typer.Option("--decimal", metavar="MARK", help="Before fractions: . or , where that is not clear.")
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", metavar="MARK", help="Between the cells of a CSV file. Default: found.")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Of a CSV file; cp1252, for example. Default: UTF-8.")
]
TestShare = Annotated[
    float, typer.Option("--test-share", min=0.01, max=0.9, help="Of the samples, for validation. All parties alike.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", min=1, help="Samples in a batch. All parties alike.")
]
LabelEpsilon = Annotated[
    float | None,
    typer.Option(
        "--label-epsilon", min=0.01, max=20, help="Protect training labels for the whole task; 3, for example."
    ),
]
Save = Annotated[
    Path | None,
    typer.Option("--save", metavar="DIRECTORY", file_okay=False, help="For the script. Default: <table>-task here."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a script that is there and says something else.")]
OnlySave = Annotated[bool, typer.Option("--only-save", help="Write the script, and do not run it.")]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=1, help="For the other parties to come: who starts by hand.")
]

table = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train on tables without code: CSV, Parquet, or a SQL query.",
)


def register(app: typer.Typer) -> None:
    """Add `table` and the commands below it."""
    table.command("show", help="What is found in a table, before any task. Nothing is sent or written.")(show)
    table.command("host", help="Run a task as its Host, with the label and columns of a table.")(host)
    table.command("collaborator", help="Run a task as a Collaborator, with the columns of a table.")(collaborator)
    app.add_typer(table, name="table")


def show(
    id: IdMaybe = None,
    data: Data = None,
    sql: Sql = None,
    query: Query = None,
    label: LabelMaybe = None,
    label_kind: LabelKindOption = "",
    with_unlabelled: WithUnlabelled = False,
    types: Types = None,
    drop: Drop = None,
    missing: Missing = None,
    decimal: Decimal = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
) -> None:
    """Types, missing values, and what would be left out."""
    from secure_hfl.tables.columns import look
    from secure_hfl.tables.inspection import inspect
    from secure_hfl.tables.summary import print_columns, print_summary

    wishes = _wishes(
        id or "", label=label, label_kind=label_kind, with_unlabelled=with_unlabelled, types=types, drop=drop,
        missing=missing, decimal=decimal, delimiter=delimiter, encoding=encoding,
    )  # fmt: skip
    source = _source(data, sql, query, wishes)
    if id is None:
        print_columns(console(), source.where, look(source, wishes.missing))
    else:
        print_summary(console(), source.where, inspect(source, wishes))


def host(
    id: Id,
    label: LabelColumn,
    data: Data = None,
    sql: Sql = None,
    query: Query = None,
    task: Task = None,
    label_kind: LabelKindOption = "",
    with_unlabelled: WithUnlabelled = False,
    types: Types = None,
    drop: Drop = None,
    missing: Missing = None,
    decimal: Decimal = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    test_share: TestShare = 0.2,
    batch_size: BatchSize = None,
    rounds: Rounds = None,
    scheme: Scheme = None,
    seed: Seed = None,
    resume: Resume = False,
    checkpoint_every: CheckpointEvery = None,
    label_epsilon: LabelEpsilon = None,
    wait: Wait = 300,
    save: Save = None,
    overwrite: Overwrite = False,
    only_save: OnlySave = False,
    show_traceback: Traceback = False,
) -> None:
    """Write host.py and host.json, and run them."""
    wishes = _wishes(
        id, label=label, label_kind=label_kind, with_unlabelled=with_unlabelled, types=types, drop=drop,
        missing=missing, decimal=decimal, delimiter=delimiter, encoding=encoding, test_share=test_share,
        batch_size=batch_size,
    )  # fmt: skip
    script = _prepare("host", wishes, (data, sql, query), task, save, overwrite, wait, label_epsilon)
    if only_save:
        return
    options = {"rounds": rounds, "checkpoint_every": checkpoint_every}
    start_script(script, show_traceback, task=task, scheme=scheme, seed=seed, resume=resume or None, **options)


def collaborator(
    id: Id,
    data: Data = None,
    sql: Sql = None,
    query: Query = None,
    task: Task = None,
    types: Types = None,
    drop: Drop = None,
    missing: Missing = None,
    decimal: Decimal = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    test_share: TestShare = 0.2,
    batch_size: BatchSize = None,
    scheme: Scheme = None,
    seed: Seed = None,
    resume: Resume = False,
    proxy: Proxy = None,
    wait: Wait = 300,
    save: Save = None,
    overwrite: Overwrite = False,
    only_save: OnlySave = False,
    show_traceback: Traceback = False,
) -> None:
    """Write collaborator.py and collaborator.json, and run them."""
    wishes = _wishes(
        id, types=types, drop=drop, missing=missing, decimal=decimal, delimiter=delimiter, encoding=encoding,
        test_share=test_share, batch_size=batch_size,
    )  # fmt: skip
    script = _prepare("collaborator", wishes, (data, sql, query), task, save, overwrite, wait)
    if not only_save:
        start_script(script, show_traceback, task=task, scheme=scheme, seed=seed, resume=resume or None, proxy=proxy)


def _wishes(id: str, **said: Any) -> Wishes:
    from secure_hfl.tables.inspection import Wishes

    types = {}
    for option in said["types"] or ():
        name, equals, kind = option.rpartition("=")
        if not (name and equals and kind):
            raise ConfigurationError(f"--type {option}: write COLUMN=TYPE, for example 'zip=category'")
        types[name] = kind
    if said["decimal"] not in (None, ".", ","):
        raise ConfigurationError(f"--decimal is . or , and not {said['decimal']!r}")
    if said["delimiter"] is not None:
        said["delimiter"] = "\t" if said["delimiter"] in ("\\t", "tab") else said["delimiter"]
        if len(said["delimiter"]) != 1:
            raise ConfigurationError("--delimiter is one character, or tab")
    found = Wishes.taken_from(id, {**said, "types": types})
    assert found is not None  # noqa: S101 - there is an id
    return found


def _source(data: Path | None, sql: str | None, query: str | None, wishes: Wishes) -> Source:
    from secure_hfl.tables.sources import open_source

    if (data is None) == (sql is None) or (sql is None) != (query is None):
        raise ConfigurationError("say --data FILE, or --sql URL with --query SQL")
    return open_source(sql if data is None else data, query, wishes.delimiter, wishes.encoding)


def _prepare(
    role: str,
    wishes: Wishes,
    place: tuple[Path | None, str | None, str | None],
    task: str | None,
    save: Path | None,
    overwrite: bool,
    wait: float,
    label_epsilon: float | None = None,
) -> Path:
    """Look at the table, and write the script. Nothing is written unless the table and the task are right."""
    from secure_hfl.tables.inspection import inspect
    from secure_hfl.tables.script import TableScript
    from secure_hfl.tables.sources import without_password
    from secure_hfl.tables.summary import print_summary

    data, sql, query = place
    source = _source(*place, wishes)
    found = inspect(source, wishes)
    arguments = {"feature_key": _party(role, task), **_arguments(role, found, label_epsilon), "schedule_timeout": wait}
    address = str(data.resolve()) if data is not None else without_password(str(sql))
    script = TableScript(role, found.spec, address, query, arguments)
    directory = save or Path(f"{'query' if data is None else data.stem}-task")
    print_summary(console(), source.where, found)
    path = script.write(directory, overwrite)
    console().print(
        plain(f"Written: {path} and {path.with_suffix('.json').name}, to edit and run: secure-hfl {role} {path}")
    )
    return path


def _arguments(role: str, found: Found, label_epsilon: float | None) -> dict[str, Any]:
    from secure_hfl.tables import networks

    if role != "host":
        return {}
    return {
        "max_rounds": networks.rounds(found.rows),
        "projection": found.spec.network.projection,
        "projection_lr": networks.PROJECTION_RATE,
        **({} if label_epsilon is None else {"label_epsilon": label_epsilon}),
    }


def _party(role: str, task: str | None) -> str:
    """What the task calls this party. Raises unless it has this role there."""
    from secure_hfl.home import home_directory
    from secure_hfl.tasks import TaskStore, resolve_task

    record = resolve_task(TaskStore(home_directory()), "YOUR_TASK_ID", task)
    if record.role != role:
        raise ConfigurationError(
            f"task {record.name!r} makes this party the {record.role}: secure-hfl table {record.role}"
        )
    return record.party
