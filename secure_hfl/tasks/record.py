"""What a party knows about a task: one frozen, validated record. The store keeps it, the command line shows it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from enum import Enum
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from protocols.core.envelope import MAX_ROUND
from protocols.core.randomness import OsRandomness
from protocols.core.sentence import say, text_of
from protocols.task.terms import MAX_COUNT, MAX_OTHERS, MAX_RATE, MAX_WIDTH_LIMIT, RunLimits
from secure_hfl.errors import IdentityError
from secure_hfl.identity import check_certificate, fingerprint_of, rewritten

MAX_CERTIFICATE_BYTES = 16 * 1024
MAX_COLLABORATORS = 64
MAX_SHOWN = 64

SEPARATE, SUM = FUSIONS = "separate", "sum"
"""What the host gets: each collaborator's projection, or the sum of all."""


def new_task_id() -> str:
    """128 unguessable bits as 26 characters of lower-case base32, so that it is easy to select, copy and read out."""
    return base64.b32encode(OsRandomness().bytes(16)).decode("ascii").rstrip("=").lower()


def utc_now() -> datetime:
    """The wall clock, with its zone."""
    return datetime.now(timezone.utc)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port"; an IPv6 host stands in brackets and is returned without them.

    Raises:
        ValueError: not such an address.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", address)
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise ValueError(
            say("an address reads host:port with a port from 1 to 65535, not {address!r}", address=address)
        )
    return match[1] or match[2], int(match[3])


def _check_label(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be printable text on one line without spaces at its ends")
    return value


def _check_address(value: str) -> str:
    split_address(value)
    return value


Label = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_check_label)]
Address = Annotated[str, Field(max_length=300), AfterValidator(_check_address)]
TaskId = Annotated[str, Field(pattern=r"^[0-9a-z]{26,32}$")]
SchemeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
CertificatePem = Annotated[bytes, Field(min_length=1, max_length=MAX_CERTIFICATE_BYTES), AfterValidator(rewritten)]
Role = Literal["host", "collaborator"]


class Model(BaseModel):
    """Frozen, strict, and closed: an unknown or mistyped field is an error, not a guess."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class TaskState(str, Enum):
    """created → running → finished or failed; a failed task may run again."""

    CREATED = "created"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class Participant(Model):
    """A party of a task: the name the task knows it by, and the certificate that its peers pin."""

    name: Label
    role: Role
    certificate_pem: CertificatePem

    @property
    def fingerprint(self) -> str:
        """The certificate's fingerprint, to be compared over the telephone."""
        return fingerprint_of(self.certificate_pem)


class DataCheck(Model):
    """The verdict of the last `DataChecker` that ran for the task."""

    passed: bool
    message: str
    checked_at: AwareDatetime


class PlannedTerms(Model):
    """What the host plans for the whole task; collaborators join it on these terms. 0: the plan does not say.

    Attributes:
        max_width: of any projection layer; a layer as wide as its features is not counted.
        projection_lr: at most.
        may_train: collaborators who may be shown gradients; None: all.
        fusion: "sum" if the host gets the sum of all projections only.
    """

    max_rounds: int = Field(default=0, ge=0, le=MAX_ROUND)
    max_width: int = Field(default=0, ge=0, le=MAX_WIDTH_LIMIT)
    projection_lr: float = Field(default=0.0, ge=0, lt=MAX_RATE, allow_inf_nan=False)
    may_train: tuple[Label, ...] | None = None
    fusion: Literal["separate", "sum"] = "separate"


class AcceptedLimits(Model):
    """What this party allows in a task that it joins (`RunLimits`). 0: as the host likes."""

    width: int = Field(default=0, ge=0, le=MAX_WIDTH_LIMIT)
    rounds: int = Field(default=0, ge=0, le=MAX_ROUND)
    projection_lr: float = Field(default=0.0, ge=0, lt=MAX_RATE, allow_inf_nan=False)
    rows: int = Field(default=0, ge=0, le=MAX_COUNT)
    ids: int = Field(default=0, ge=0, le=MAX_COUNT)
    least_others: int = Field(default=0, ge=0, le=MAX_OTHERS)
    predictions: int = Field(default=0, ge=0, le=MAX_COUNT)
    asked_a_day: int = Field(default=0, ge=0, le=MAX_COUNT)

    @property
    def limits(self) -> RunLimits:
        """As the protocol takes them."""
        return RunLimits(**self.model_dump())


def check_participants(host: Participant, collaborators: tuple[Participant, ...]) -> None:
    """Raise `ValueError` unless this is one host and its collaborators, all with different names and certificates."""
    everyone = (host, *collaborators)
    wrong = [p.name for p in everyone if p.role != ("host" if p is host else "collaborator")]
    if wrong:
        raise ValueError(f"participant {wrong[0]!r} has the wrong role: a task has one host, the others collaborate")
    if not 1 <= len(collaborators) <= MAX_COLLABORATORS:
        raise ValueError(
            say("a task has 1 to {most} collaborators, not {n}", most=MAX_COLLABORATORS, n=len(collaborators))
        )
    names: set[str] = set()
    owners: dict[str, str] = {}
    for party in everyone:
        # Names that differ in case only would be told apart by the program and mixed up by people.
        if party.name.casefold() in names:
            raise ValueError(say("two participants are called {name!r}; give each a name of its own", name=party.name))
        if party.fingerprint in owners:
            raise ValueError(
                say("{one!r} and {other!r} have the same certificate", one=owners[party.fingerprint], other=party.name)
            )
        names.add(party.name.casefold())
        owners[party.fingerprint] = party.name


def check_certificates(participants: Iterable[Participant]) -> None:
    """Raise `ValueError` unless every certificate is one that this project accepts, today.

    Invites are checked so; stored records are not, or an expired certificate would hide the tasks it was used in.
    """
    for party in participants:
        try:
            check_certificate(party.certificate_pem)
        except IdentityError as error:
            raise ValueError(
                say("the certificate of {name!r}: {error}", name=party.name, error=text_of(error))
            ) from error


class TaskRecord(Model):
    """One task as this party sees it.

    `participants` has the host first. `metrics` is whatever JSON the Host's tests reported; `artifacts` are paths of
    files that the task left here. Times are UTC.
    """

    task_id: TaskId
    name: Label
    role: Role
    party: Label
    address: Address
    scheme: SchemeName
    participants: tuple[Participant, ...]
    state: TaskState = TaskState.CREATED
    data_check: DataCheck | None = None
    rounds_finished: int = Field(default=0, ge=0)
    failure: str | None = None
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    artifacts: tuple[str, ...] = ()
    terms: PlannedTerms = PlannedTerms()
    limits: AcceptedLimits = AcceptedLimits()
    created_at: AwareDatetime = Field(default_factory=utc_now)
    updated_at: AwareDatetime = Field(default_factory=utc_now)

    @model_validator(mode="after")
    def _check_parties(self) -> TaskRecord:
        if not self.participants:
            raise ValueError("a task has participants")
        check_participants(self.participants[0], self.participants[1:])
        if not any(p.name == self.party and p.role == self.role for p in self.participants):
            raise ValueError(f"{self.party!r} is not a {self.role} among the participants")
        return self

    @property
    def host(self) -> Participant:
        """The party that holds the labels and serves the others."""
        return self.participants[0]

    @property
    def collaborators(self) -> tuple[Participant, ...]:
        """The parties that connect to the host, in the invite's order."""
        return self.participants[1:]

    @property
    def finished(self) -> bool:
        """Whether nothing more can happen to this task."""
        return self.state is TaskState.FINISHED


def describe(error: ValidationError) -> str:
    """One line for the first problems that pydantic found: where, and what."""
    problems: list[str] = []
    for detail in error.errors(include_url=False, include_input=False)[:3]:
        # A part may be an unknown field's name, which a stranger chose: control characters are shown escaped.
        where = ".".join(repr(str(part)[:MAX_SHOWN])[1:-1] for part in detail["loc"])
        raised = detail.get("ctx", {}).get("error")
        what = text_of(raised) if isinstance(raised, ValueError) else detail["msg"]
        problems.append(say("{where}: {what}", where=where, what=what) if where else what)
    more = error.error_count() - len(problems)
    if len(problems) == 1 and not more:
        return problems[0]
    return "; ".join(problems) + (f"; and {more} more" if more > 0 else "")
