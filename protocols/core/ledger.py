"""The words of the leakage ledger: what a message is, who can read it, what its receiver learns, and why no more.

Every message type that may travel has an entry, declared with it (`protocols.core.wire_format.wire`). It is about
parties that follow the protocol and think about what they see (semi-honest); the network sees TLS records only. In all
sentences {host} and {collaborator} stand for the two parties.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Content(str, Enum):
    """What a message is to somebody who reads it off the channel, TLS taken away."""

    PUBLIC = "public"
    CIPHERTEXT = "ciphertext"
    MASKED = "masked share"
    RESULT = "result"
    PLAINTEXT = "plaintext"


class KeptFromHost(str, Enum):
    """What no message carries to the host, unless its entry says that it `carries` it."""

    FEATURES = "{collaborator}'s features in the clear"
    MODEL = "{collaborator}'s columns, its model and its weights"
    WEIGHTS = "the weights of the projection layer"
    SAMPLE_IDS = "sample ids of {collaborator} that it does not hold itself"


class KeptFromCollaborator(str, Enum):
    """What no message carries to the collaborator, unless its entry says that it `carries` it."""

    LABELS = "labels themselves"
    MODELS = "{host}'s features and models"
    PROJECTED_FEATURES = "its own projected features"
    PREDICTIONS = "predictions"
    GRADIENT = "any gradient"
    WEIGHTS = "the weights of the projection layer"
    SAMPLE_IDS = "sample ids of {host} outside of the final intersection"
    OTHERS = (
        "features of other collaborators in the clear, their models, and their ids outside of the final intersection"
    )


class Inference(Enum):
    """What follows from all messages of a run together, though none of them carries it.

    `protocols.transcript.run_ledger` says how much, from what really ran.
    """

    FEATURES = auto()
    """The host: from linear images of the collaborator's features."""

    LABELS = auto()
    """The collaborator: from gradients."""


Kept = KeptFromHost | KeptFromCollaborator


@dataclass(frozen=True)
class LedgerEntry:
    """One message type.

    Attributes:
        content: its class. CIPHERTEXT is unreadable without a key or scalar, MASKED is uniform by itself, RESULT is an
            agreed output, PLAINTEXT is somebody's data.
        readers: who can read it.
        host_learns, collaborator_learns: what each learns by receiving it; empty: nothing.
        argument: why no more, or the reference.
        is_fresh: drawn anew every time, so that the same bytes twice are a fault.
        carries: what no other message does.
        infers: what its receiver can work out from many of these.
        host_learns_in_sum: what the host learns where it gets a sum over all collaborators only; empty: the same.
    """

    content: Content
    readers: str
    host_learns: str
    collaborator_learns: str
    argument: str
    is_fresh: bool = False
    carries: frozenset[Kept] = frozenset()
    infers: frozenset[Inference] = frozenset()
    host_learns_in_sum: str = ""

    def learned_by_host(self, is_summed: bool) -> str:
        """By receiving it, in such a run."""
        return self.host_learns_in_sum if is_summed and self.host_learns_in_sum else self.host_learns


BOTH = "both parties"
HOST_KEY = "whoever holds the key of {host}"
COLLABORATOR_KEY = "whoever holds the key of {collaborator}"
EITHER_KEY = "part by part, whoever holds the key of {host}, or that of {collaborator}"


def public(learns: str, argument: str = "It is about the run, not about data.", is_fresh: bool = False) -> LedgerEntry:
    """Readable by both, and about the run: names, counts, keys."""
    return LedgerEntry(Content.PUBLIC, BOTH, learns, learns, argument, is_fresh)


def ciphertext(
    readers: str,
    argument: str,
    host: str = "",
    collaborator: str = "",
    carries: frozenset[Kept] = frozenset(),
    infers: frozenset[Inference] = frozenset(),
    host_in_sum: str = "",
) -> LedgerEntry:
    """A fresh encryption, or points under a secret scalar. `host`, `collaborator`: what each learns by opening it."""
    return LedgerEntry(Content.CIPHERTEXT, readers, host, collaborator, argument, True, carries, infers, host_in_sum)


def masked(
    argument: str,
    host: str = "",
    collaborator: str = "",
    carries: frozenset[Kept] = frozenset(),
    infers: frozenset[Inference] = frozenset(),
    host_in_sum: str = "",
) -> LedgerEntry:
    """Under a one-time mask. `host`, `collaborator`: what each learns by what it knows of the mask."""
    return LedgerEntry(Content.MASKED, "nobody alone", host, collaborator, argument, True, carries, infers, host_in_sum)
