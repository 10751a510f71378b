"""`secure-hfl task`: create, join, list and show tasks."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from secure_hfl.cli.identity import existing_identity
from secure_hfl.cli.output import console, plain, print_json, table
from secure_hfl.cli.task_purge import purge
from secure_hfl.cli.task_show import COLOURS, details, metric_text, print_files, to_json
from secure_hfl.cli.task_terms import (
    LeastOthers,
    MayTrain,
    MostAsked,
    MostIds,
    MostPredictions,
    MostRate,
    MostRounds,
    MostRows,
    MostWidth,
    NobodyTrains,
    PlanFusion,
    PlanRate,
    PlanRounds,
    PlanWidth,
    allowed,
    allowed_text,
    planned,
    planned_text,
)
from secure_hfl.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secure_hfl.identity import Identity
    from secure_hfl.tasks import Invite, Participant, TaskStore

MAX_CERTIFICATE_FILE = 16 * 1024
DEFAULT_SCHEME = "bfv"

tasks = typer.Typer(help="Create, join, list and show tasks.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What people call the task.")]
Reference = Annotated[str, typer.Argument(metavar="ID", help="Task id, its first characters, or its name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CollaboratorOption = Annotated[
    list[str],
    typer.Option(
        "--collaborator", metavar="NAME=CERT.pem", help="A collaborator and its certificate; repeat for more."
    ),
]
AddressOption = Annotated[
    str, typer.Option("--address", metavar="HOST:PORT", help="Where collaborators reach this party.")
]
SchemeOption = Annotated[str, typer.Option("--scheme", help="How projections are protected: bfv, paillier, ...")]
JoinScheme = Annotated[
    str | None, typer.Option("--scheme", help="Accept this scheme only. Needed for plain, which does not encrypt.")
]
HostFingerprint = Annotated[
    str | None,
    typer.Option(
        "--host-fingerprint",
        metavar="HEX",
        help="What `secure-hfl identity` prints at the host, told by telephone. This or --pairing-code is needed.",
    ),
]
PairingCode = Annotated[
    str | None, typer.Option("--pairing-code", metavar="CODE", help="What `task create` printed at the host.")
]
InviteOption = Annotated[Path, typer.Option("--invite", dir_okay=False, help="The invite file to write.")]
InviteArgument = Annotated[Path, typer.Argument(metavar="INVITE", help="The invite file that the host sent.")]
NewInvite = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="The invite file to write.")]


def register(app: typer.Typer) -> None:
    """Add the `task` group."""
    app.add_typer(tasks, name="task")


@tasks.command()
def create(
    name: Name,
    collaborator: CollaboratorOption,
    address: AddressOption,
    invite: InviteOption,
    scheme: SchemeOption = DEFAULT_SCHEME,
    max_rounds: PlanRounds = 0,
    max_width: PlanWidth = 0,
    max_projection_lr: PlanRate = 0.0,
    may_train: MayTrain = None,
    nobody_trains: NobodyTrains = False,
    fusion: PlanFusion = "separate",
) -> None:
    """Create a task that this party hosts, and write the invite for its collaborators."""
    from secure_hfl.tasks import create_task

    plan = planned(max_rounds, max_width, max_projection_lr, may_train, nobody_trains, fusion)
    certificates = _read_certificates(collaborator)
    if invite.exists():
        raise TaskError(f"{invite}: File exists; give a new file name")
    record, made = create_task(
        store=_store(),
        identity=_identity(),
        name=name,
        address=address,
        scheme=scheme,
        collaborators=certificates,
        terms=plan,
    )
    made.write(invite)
    console().print(plain(f"Created task {record.task_id} ({record.name})"))
    _print_other_names(record.collaborators)
    _print_invite(made, invite)


@tasks.command()
def join(
    invite: InviteArgument,
    host_fingerprint: HostFingerprint = None,
    pairing_code: PairingCode = None,
    scheme: JoinScheme = None,
    max_rounds: MostRounds = 0,
    max_width: MostWidth = 0,
    max_projection_lr: MostRate = 0.0,
    max_rows: MostRows = 0,
    max_ids: MostIds = 0,
    least_others: LeastOthers = 0,
    max_predictions: MostPredictions = 0,
    max_asked_a_day: MostAsked = 0,
) -> None:
    """Join a task that another party hosts, once the host has told you its fingerprint or the pairing code."""
    from secure_hfl.tasks import Invite, check_fingerprint, check_pairing_code, join_task

    store, identity = _store(), _identity()  # a home that others have access to is refused first
    read = Invite.read(invite)
    if host_fingerprint is None and pairing_code is None:
        # What the file says is not shown: a copy of it would confirm nothing.
        raise TaskError(
            f"an invite proves nothing about who wrote it: ask {read.host.name}, by telephone, what `secure-hfl "
            "identity` prints there and give it with --host-fingerprint, or for the pairing code that `task create` "
            "printed, with --pairing-code"
        )
    if host_fingerprint is not None:
        check_fingerprint(read, host_fingerprint)
    if pairing_code is not None:
        check_pairing_code(read, pairing_code)
    most = allowed(
        width=max_width,
        rounds=max_rounds,
        projection_lr=max_projection_lr,
        rows=max_rows,
        ids=max_ids,
        least_others=least_others,
        predictions=max_predictions,
        asked_a_day=max_asked_a_day,
    )
    record = join_task(store, identity, read, scheme, most)
    out = console()
    out.print(plain(f"Joined task {record.task_id} ({record.name}) as {record.party}, scheme {record.scheme}"))
    out.print(plain(f"The host plans: {planned_text(record.terms)}"))
    out.print(plain(f"Allowed here: {allowed_text(record.limits)}"))
    _print_parties(record.participants)


@tasks.command("invite")
def write_invite(reference: Reference, file: NewInvite) -> None:
    """Write the invite of a task that this party hosts once more."""
    from secure_hfl.tasks import Invite

    record = _store().get(reference)
    if record.role != "host":
        raise TaskError(f"task {record.task_id} is hosted by {record.host.name!r}; only the host gives invites")
    invite = Invite.of(record)
    invite.write(file)
    _print_invite(invite, file)


@tasks.command("list")
def list_tasks(as_json: Json = False) -> None:
    """List this party's tasks, the newest first."""
    from secure_hfl.tasks.view import state_of

    store = _store()
    records = store.list()
    if as_json:
        print_json(json.dumps([to_json(store, record) for record in records], indent=2))
        return
    if not records:
        console().print("No tasks here yet. Create one, or join one with an invite.")
        return
    grid = table("ID", "Name", "Role", "State", "Data check", "Rounds", "Scheme", "Updated (UTC)")
    for record in records:
        state = state_of(store, record)
        check = "-" if record.data_check is None else "passed" if record.data_check.passed else "failed"
        grid.add_row(
            plain(record.task_id),
            plain(record.name),
            record.role,
            plain(state, COLOURS[state]),
            check,
            str(record.rounds_finished),
            plain(record.scheme),
            f"{record.updated_at:%Y-%m-%d %H:%M}",
        )
    console().print(grid)


@tasks.command()
def show(reference: Reference, as_json: Json = False) -> None:
    """Show one task: parties and fingerprints, data check, state, results, transcripts."""
    from secure_hfl.tasks.view import transcripts_of

    store = _store()
    record = store.get(reference)
    if as_json:
        print_json(json.dumps(to_json(store, record), indent=2))
        return
    out = console()
    out.print(details(store, record))
    _print_parties(record.participants)
    if record.metrics:
        grid = table("Metric", "Value")
        for name, value in record.metrics.items():
            grid.add_row(plain(name), plain(metric_text(name, value)))
        out.print(grid)
    transcripts = transcripts_of(store, record)
    print_files("Artifact", [path for path in record.artifacts if path not in transcripts])
    print_files("Transcript", transcripts)
    if transcripts:
        out.print("Check what crossed the wire: secure-hfl audit TRANSCRIPT; while the task runs: with --live.")


@tasks.command("open-round")
def open_round(
    reference: Reference,
    number: Annotated[int, typer.Option("--round", metavar="N", min=1, help="The round to open.")],
    output: Annotated[Path, typer.Option("-o", "--output", dir_okay=False, help="The file to write; a new one.")],
    peer: Annotated[str, typer.Option("--peer", metavar="NAME", help="With whom, where there are several.")] = "",
) -> None:
    """Open a round of a task to a judge: SECRET, says which data of this party's the judge will see.

    The party must have run with --keep-for-judge. The judge runs `secure-hfl audit --judge FILE TRANSCRIPT`.
    """
    from protocols.core.sender import Sender
    from secure_hfl.judge.open_round import WARNING
    from secure_hfl.judge.open_round import open_round as write

    store = _store()
    record = store.get(reference)
    if output.exists():
        raise TaskError(f"{output}: File exists; give a new file name")
    try:
        directory, sender = store.directory(record.task_id), Sender[record.role.upper()]
        transcript = write(directory, number, sender, _identity(), output, peer)
    except OSError as error:
        raise TaskError(f"{error.filename}: {error.strerror}") from error
    out = console()
    out.print(plain(f"SECRET: {WARNING}", "bold red"))
    out.print(plain(f"Round {number} of task {record.task_id}, opened: {output}"))
    out.print(plain(f"The judge needs this transcript as well, or the other side's: {transcript}"))


tasks.command("purge")(purge)


def _read_certificates(options: Iterable[str]) -> dict[str, bytes]:
    certificates: dict[str, bytes] = {}
    for option in options:
        name, equals, path = option.partition("=")
        if not (name and equals and path):
            raise TaskError(f"--collaborator {option}: write NAME=CERT.pem, for example bank=bank.pem")
        if name in certificates:
            raise TaskError(f"--collaborator {option}: the name {name!r} is given twice")
        try:
            with open(path, "rb") as file:
                certificates[name] = file.read(MAX_CERTIFICATE_FILE + 1)
        except OSError as error:
            raise TaskError(f"--collaborator {option}: {error.strerror}") from error
        if len(certificates[name]) > MAX_CERTIFICATE_FILE:
            raise TaskError(f"--collaborator {option}: the file is too large for a certificate")
    return certificates


def _print_invite(invite: Invite, file: Path) -> None:
    from secure_hfl.tasks import pairing_code

    out = console()
    out.print(plain(f"Invite for the collaborators: {file}"))
    out.print(plain(f"Pairing code: {pairing_code(invite)}"))
    _print_parties(invite.participants)
    out.print("Tell the collaborators the pairing code, or your fingerprint: task join asks for one of them.")


def _print_other_names(parties: Iterable[Participant]) -> None:
    """Where a certificate was made under another name than the task's."""
    from secure_hfl.identity import check_certificate

    for party in parties:
        own = check_certificate(party.certificate_pem).name
        if own != party.name:
            console().print(
                plain(
                    f"The certificate of {party.name!r} says {own!r}. The task calls that party {party.name!r}, which "
                    f"is its feature_key. If that is not meant, create another with "
                    f"--collaborator {quote(own)}=CERT.pem"
                ),
                soft_wrap=True,
            )


def _print_parties(parties: Iterable[Participant]) -> None:
    out = console()
    grid = table("Participant", "Role", "Certificate fingerprint")
    for party in parties:
        grid.add_row(plain(party.name), party.role, plain(party.fingerprint))
    out.print(grid)
    out.print("Compare the fingerprints with the other parties by another channel, the telephone for example.")


def _store() -> TaskStore:
    from secure_hfl.home import home_directory
    from secure_hfl.tasks import TaskStore

    return TaskStore(home_directory())


def _identity() -> Identity:
    from secure_hfl.home import home_directory

    return existing_identity(home_directory())
