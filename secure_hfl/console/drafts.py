"""A task while it is being put together. Between the two pages of the form its parts travel in the form itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError
from starlette.datastructures import FormData

from protocols.core.sentence import say, text_of
from secure_hfl.console.forms import bytes_of, count_in, files_in, rate_in, text_in
from secure_hfl.errors import IdentityError, TaskError
from secure_hfl.identity import MAX_CERTIFICATE_BYTES, check_certificate
from secure_hfl.tasks import AcceptedLimits, PlannedTerms
from secure_hfl.tasks.record import describe

LIMITS = ("rounds", "width", "rows", "ids", "least_others", "predictions", "asked_a_day")
"""What a party that joins can bound, in whole numbers; `projection_lr` is a rate."""


@dataclass(frozen=True)
class Collaborator:
    """One of a task to be.

    Attributes:
        name: in the task.
        own_name: what its certificate says.
        pem: the certificate.
        fingerprint: of it.
        may_train: whether it may be shown gradients.
    """

    name: str
    own_name: str
    pem: str
    fingerprint: str
    may_train: bool


def uploaded(form: FormData) -> list[Collaborator]:
    """The collaborators whose certificates were uploaded, each under the name that it says.

    Raises:
        TaskError: a file is no certificate of a party, or there is none.
    """
    found = []
    for file in files_in(form, "certificates"):
        try:
            pem = bytes_of(file, MAX_CERTIFICATE_BYTES, "a certificate").decode("ascii", "replace")
            certificate = check_certificate(pem.encode("ascii", "replace"))
        except IdentityError as error:
            raise TaskError(
                say(
                    "{file}: {error}; ask that party for what its page Identity gives",
                    file=file.filename,
                    error=text_of(error),
                )
            ) from error
        found.append(Collaborator(certificate.name, certificate.name, pem, certificate.fingerprint, True))
    if not found:
        raise TaskError("a task has one collaborator or more: choose the certificate files that they have sent")
    return found


def reviewed(form: FormData) -> list[Collaborator]:
    """The collaborators as the second page sent them back, with the names that the task is to call them.

    Raises:
        TaskError: the page's fields do not fit together.
    """
    names, pems = form.getlist("party"), form.getlist("certificate")
    if len(names) != len(pems) or not all(isinstance(each, str) for each in (*names, *pems)):
        raise TaskError("the form is not complete: begin again with the page Create a task")
    found = []
    for at, (name, pem) in enumerate(zip(names, pems, strict=True)):
        certificate = check_certificate(str(pem).encode("ascii", "replace"))
        may_train = text_in(form, f"trains_{at}") == "yes"
        found.append(Collaborator(str(name).strip(), certificate.name, str(pem), certificate.fingerprint, may_train))
    return found


def planned_terms(form: FormData, collaborators: list[Collaborator]) -> PlannedTerms:
    """What the host plans.

    Raises:
        TaskError: a number is out of range; says which.
    """
    trainers = tuple(each.name for each in collaborators if each.may_train)
    try:
        return PlannedTerms(
            max_rounds=count_in(form, "max_rounds"),
            max_width=count_in(form, "max_width"),
            projection_lr=rate_in(form, "projection_lr"),
            may_train=None if len(trainers) == len(collaborators) else trainers,
            fusion=cast(Any, text_in(form, "fusion") or "separate"),  # checked there
        )
    except ValidationError as error:
        raise TaskError(say("cannot create the task: {why}", why=describe(error))) from error


def accepted_limits(form: FormData) -> AcceptedLimits:
    """What a party that joins allows.

    Raises:
        TaskError: a number is out of range; says which.
    """
    try:
        return AcceptedLimits(
            projection_lr=rate_in(form, "projection_lr"), **{name: count_in(form, name) for name in LIMITS}
        )
    except ValidationError as error:
        raise TaskError(say("cannot join so: {why}", why=describe(error))) from error
