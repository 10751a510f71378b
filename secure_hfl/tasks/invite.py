"""The invite: the file a Host makes and every collaborator reads, and what both do with it.

    Host  ──invite.json──▶  Collaborator        by any channel
    Host  ◀─fingerprints─▶  Collaborator        read out over the telephone, as with ssh keys

An invite holds no secret: names, addresses and certificates are public. What matters is that nobody changes it on
the way, because each party pins the certificates it finds there. So nobody joins without having been told the host's
fingerprint, or the invite's pairing code (secure_hfl/tasks/confirmation.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError, model_validator

from protocols.core.errors import WrongSession
from protocols.core.sentence import say
from protocols.task.terms import Declared
from secure_hfl.errors import InvalidInvite, SchemeMismatch, TaskError, TermsMismatch
from secure_hfl.identity import Identity
from secure_hfl.schemes import is_plaintext, scheme_names
from secure_hfl.tasks.record import (
    AcceptedLimits,
    Address,
    Label,
    Model,
    Participant,
    PlannedTerms,
    SchemeName,
    TaskId,
    TaskRecord,
    check_certificates,
    check_participants,
    describe,
    new_task_id,
    utc_now,
)
from secure_hfl.tasks.store import TaskStore

MAX_INVITE_BYTES = 1 << 20
INVITE_VERSION: Final = 1
# What the tutorial's listings have where a task's id belongs.
PLACEHOLDERS = frozenset({"YOUR_TASK_ID", "TASK_ID"})


class Invite(Model):
    """A task as its Host describes it to the collaborators."""

    version: Literal[1]
    task_id: TaskId
    name: Label
    scheme: SchemeName
    address: Address
    host: Participant
    collaborators: tuple[Participant, ...]
    terms: PlannedTerms = PlannedTerms()

    @model_validator(mode="after")
    def _check_parties(self) -> Invite:
        check_certificates(self.participants)
        check_participants(self.host, self.collaborators)
        strangers = set(self.terms.may_train or ()) - {each.name for each in self.collaborators}
        if strangers:
            raise ValueError(f"may_train names {sorted(strangers)[0]!r}, who is no collaborator of the task")
        return self

    @property
    def participants(self) -> tuple[Participant, ...]:
        """The host, then the collaborators."""
        return (self.host, *self.collaborators)

    @classmethod
    def of(cls, record: TaskRecord) -> Invite:
        """The invite to a stored task."""
        return cls(
            version=INVITE_VERSION,
            task_id=record.task_id,
            name=record.name,
            scheme=record.scheme,
            address=record.address,
            host=record.host,
            collaborators=record.collaborators,
            terms=record.terms,
        )

    @classmethod
    def parse(cls, data: bytes, source: str = "invite") -> Invite:
        """Read an invite from bytes that nobody has checked.

        Raises:
            InvalidInvite: says what is wrong, and in which field of `source`.
        """
        if len(data) > MAX_INVITE_BYTES:
            raise InvalidInvite(
                say(
                    "{source}: an invite has at most {most} bytes, this has {n}",
                    source=source,
                    most=MAX_INVITE_BYTES,
                    n=len(data),
                )
            )
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise InvalidInvite(say("{source}: {why}", source=source, why=describe(error))) from error

    @classmethod
    def read(cls, path: Path) -> Invite:
        """Read an invite file.

        Raises:
            InvalidInvite: the file cannot be read, is too large, or is not an invite.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_INVITE_BYTES + 1)
        except OSError as error:
            raise InvalidInvite(
                say("{path}: {error}; ask the host for the invite file", path=path, error=error.strerror)
            ) from error
        if len(data) > MAX_INVITE_BYTES:
            raise InvalidInvite(
                say("{path}: an invite has at most {most} bytes, this has more", path=path, most=MAX_INVITE_BYTES)
            )
        return cls.parse(data, str(path))

    def write(self, path: Path) -> None:
        """Write a new invite file, mode 0600: it is not secret, but only its owner should be able to change it.

        Raises:
            TaskError: the file exists already or cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(self.model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise TaskError(say("{path}: {error}; give a new file name", path=path, error=error.strerror)) from error


def create_task(
    store: TaskStore,
    identity: Identity,
    name: str,
    address: str,
    scheme: str,
    collaborators: Mapping[str, bytes],
    host_name: str | None = None,
    terms: PlannedTerms | None = None,
) -> tuple[TaskRecord, Invite]:
    """Make a task that this party hosts, store it, and return it with the invite for the collaborators.

    Args:
        store: this party's tasks.
        identity: this party's key and certificate.
        name: what people call the task.
        address: "host:port" under which collaborators reach this party.
        scheme: how the projection layer is protected; "plain" hides nothing.
        collaborators: the certificate (PEM) of each, under the name that the task is to know it by.
        host_name: this party's name in the task; the identity's name by default.
        terms: what is planned for the whole task; goes into the invite, and no run may ask for more.

    Raises:
        TaskError: an argument is wrong; the message says which.
    """
    try:
        host = Participant(name=host_name or identity.name, role="host", certificate_pem=identity.certificate_pem)
        invite = Invite(
            version=INVITE_VERSION,
            task_id=new_task_id(),
            name=name,
            scheme=scheme,
            address=address,
            host=host,
            collaborators=tuple(
                Participant(name=party, role="collaborator", certificate_pem=pem)
                for party, pem in collaborators.items()
            ),
            terms=terms or PlannedTerms(),
        )
    except ValidationError as error:
        raise TaskError(say("cannot create the task: {why}", why=describe(error))) from error
    return store.create(_record(invite, host)), invite


def join_task(
    store: TaskStore,
    identity: Identity,
    invite: Invite,
    scheme: str | None = None,
    limits: AcceptedLimits | None = None,
) -> TaskRecord:
    """Store a task that another party hosts.

    Args:
        store: this party's tasks.
        identity: this party's key and certificate; the invite must have it among the collaborators.
        invite: what the host sent; the caller has compared it with what the host told
            (`secure_hfl.tasks.confirmation`).
        scheme: the scheme this party agrees to. None accepts any that is installed and encrypts; "plain" must
            be said.
        limits: what this party allows at most.

    Raises:
        InvalidInvite: the invite is not for this identity.
        TermsMismatch: the host plans more than this party allows. Has both numbers.
        SchemeMismatch: the invite asks for another scheme, or for one that does not encrypt and nobody here said so.
        TaskExists: this home has the task already.
    """
    own = _own_part(invite, identity)
    if scheme is None:
        _require_encryption(invite)
    if scheme is not None and scheme != invite.scheme:
        raise SchemeMismatch(
            say(
                "the invite to {name!r} asks for scheme {scheme}, this side for {ours}; agree with the host on "
                "one, the task is created with it",
                name=invite.name,
                scheme=invite.scheme,
                ours=scheme,
            )
        )
    limits = limits or AcceptedLimits()
    _check_terms(invite, limits)
    return store.create(_record(invite, own).model_copy(update={"limits": limits}))


def _own_part(invite: Invite, identity: Identity) -> Participant:
    """Whom the invite calls by this identity's certificate: a collaborator."""
    own = next((party for party in invite.participants if party.fingerprint == identity.fingerprint), None)
    if own is None:
        listed = ", ".join(f"{party.name!r} {party.fingerprint}" for party in invite.collaborators)
        raise InvalidInvite(
            say(
                "the invite to {name!r} is not for this identity: its own certificate is {fingerprint}, the "
                "invite is for {listed}; send the host this identity's certificate and ask for a new invite",
                name=invite.name,
                fingerprint=identity.fingerprint,
                listed=listed,
            )
        )
    if own.role == "host":
        raise InvalidInvite(
            say("this identity hosts {name!r}: send the invite to the collaborators instead", name=invite.name)
        )
    return own


def _check_terms(invite: Invite, limits: AcceptedLimits) -> None:
    plan = invite.terms
    declared = Declared(max_rounds=plan.max_rounds, projection_lr=plan.projection_lr)
    try:
        limits.limits.check("this side", declared, plan.max_width, is_final=False)
    except WrongSession as error:
        raise TermsMismatch(
            say("the invite to {name!r} is for more than this side allows: {error}", name=invite.name, error=str(error))
        ) from error


def _require_encryption(invite: Invite) -> None:
    """Raises `SchemeMismatch` for a scheme that must be asked for by name."""
    asked = invite.scheme
    agree = say("if you agree, say so with scheme {scheme} (--scheme {scheme})", scheme=asked)
    if asked not in scheme_names():
        raise SchemeMismatch(
            say(
                "the invite to {name!r} asks for scheme {asked}, which is not installed here; install its "
                "package first, or {agree}",
                name=invite.name,
                asked=asked,
                agree=agree,
            )
        )
    if is_plaintext(asked):
        raise SchemeMismatch(
            say(
                "the invite to {name!r} asks for scheme {asked}: features and gradients would travel unencrypted "
                "for the host to read; {agree}",
                name=invite.name,
                asked=asked,
                agree=agree,
            )
        )


def resolve_task(store: TaskStore, reference: str, chosen: str | None = None) -> TaskRecord:
    """The task that a script means by `launch_task(reference)`.

    Args:
        store: this party's tasks.
        reference: an id or name, or one of the tutorial's placeholders ("YOUR_TASK_ID", "TASK_ID").
        chosen: the task that the run's options name, if any.

    Raises:
        TaskNotFound: nothing matches, or a placeholder leaves several candidates; the message lists them.
        TaskError: the script and the options name different tasks.
    """
    if reference not in PLACEHOLDERS:
        record = store.get(reference)
        if chosen is not None and store.get(chosen).task_id != record.task_id:
            raise TaskError(
                say(
                    "the script is for task {task_id} ({name!r}), the run's options say {chosen!r}; use the same "
                    "one, or YOUR_TASK_ID in the script",
                    task_id=record.task_id,
                    name=record.name,
                    chosen=chosen,
                )
            )
        return record
    if chosen is not None:
        return store.get(chosen)
    return store.only_unfinished()


def _record(invite: Invite, own: Participant) -> TaskRecord:
    now = utc_now()
    return TaskRecord(
        task_id=invite.task_id,
        name=invite.name,
        role=own.role,
        party=own.name,
        address=invite.address,
        scheme=invite.scheme,
        participants=invite.participants,
        terms=invite.terms,
        created_at=now,
        updated_at=now,
    )
