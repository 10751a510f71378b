"""What a task discloses, said before anybody signs: for each collaborator, who learns what if it goes as planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.schemes.registry import registered_names
from protocols.transcript.expected_ledger import expected_ledger
from protocols.transcript.run_ledger import RunLedger
from secure_hfl.schemes import find_scheme, is_plaintext
from secure_hfl.tasks import PlannedTerms

ASSUMED_ROUNDS = 1
"""Where the plan leaves the number open; the page says so."""


@dataclass(frozen=True)
class Statement:
    """Of one task.

    Attributes:
        ledgers: for each collaborator with the host; none for a scheme that is not installed here.
        is_plaintext: features cross in the clear.
        rounds: for how many it is written.
        is_open: whether the plan leaves the number of rounds open.
    """

    ledgers: tuple[RunLedger, ...]
    is_plaintext: bool
    rounds: int
    is_open: bool


def statement_of(
    scheme: str, host: str, collaborators: Sequence[str], terms: PlannedTerms, about: Sequence[str] | None = None
) -> Statement:
    """What these parties' task discloses.

    Args:
        scheme: its name.
        host, collaborators: their names.
        terms: what the host plans.
        about: the collaborators whose part is wanted; default: all.
    """
    find_scheme(scheme)
    rounds = terms.max_rounds or ASSUMED_ROUNDS
    summed = tuple(collaborators) if terms.fusion == "sum" else ()
    ledgers = tuple(
        expected_ledger(
            scheme,
            host,
            name,
            rounds,
            is_trained=terms.may_train is None or name in terms.may_train,
            summed=summed,
        )
        for name in (collaborators if about is None else about)
        if scheme in registered_names()
    )
    return Statement(ledgers, is_plaintext(scheme), rounds, terms.max_rounds == 0)
