"""The leakage ledger: for each message type, what it is, who can read it, what its receiver learns, and why no more.

One table for people and programs: the README's table, the transcripts' auditor and the tests go by it. It is about
parties that follow the protocol and think about what they see (semi-honest); the network sees TLS records only. In the
sentences, {host} and {collaborator} stand for the two parties.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from protocols.core.message import Message
from protocols.layer.messages import FeatureShape, InitialFactor, InitialShare, ProjectionKey, StepSkipped
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
    TripleOperand,
    TripleProduct,
    TripleRequest,
)
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient
from protocols.task.abort import Abort
from protocols.task.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.task.manifest import Hello, Manifest, ManifestAccepted
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.messages import Checkpoint, Countersignature


class Content(str, Enum):
    """What a message is to somebody who reads it off the channel, TLS taken away."""

    PUBLIC = "public"
    CIPHERTEXT = "ciphertext"
    MASKED = "masked share"
    RESULT = "result"
    PLAINTEXT = "plaintext"


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
    """

    content: Content
    readers: str
    host_learns: str
    collaborator_learns: str
    argument: str
    is_fresh: bool = False


_BOTH = "both parties"
_NO_DATA = "It is about the run, not about data."
_HOST_KEY = "whoever holds the key of {host}"
_COLLABORATOR_KEY = "whoever holds the key of {collaborator}"
_NOBODY = "nobody alone"
_SEMANTIC = "Semantic security: BFV parameters by the Homomorphic Encryption Standard (2018); Paillier (EUROCRYPT '99)."
_FLOODED = "Re-randomised and flooded by 40 bits over all noise that depends on the sender (protocols/he/)."
_UNIFORM = "One-time pad in Z_{{2^59}}: uniform whatever it hides (Beaver, CRYPTO 1991)."
_SMOOTHED = "Gaussian noise above the smoothing parameter of the weights' lattice (Micciancio, Regev 2007)."
_PROJECTION = "the smoothed projection z + e of each batch of {collaborator}'s features, by weights that nobody knows"
_GRADIENT = (
    "the smoothed gradient da + e' of its own features and the power of two that bounds dz: something about labels"
)
_DDH = "Decisional Diffie-Hellman on Curve25519, with fresh scalars and orders for every pair and run."
_HMAC = "HMAC-SHA256 under the session id, over ids that both parties hold; equal or not is all it shows."


def _public(learns: str, argument: str = _NO_DATA, is_fresh: bool = False) -> LedgerEntry:
    return LedgerEntry(Content.PUBLIC, _BOTH, learns, learns, argument, is_fresh)


def _hidden(readers: str, argument: str, host: str = "", collaborator: str = "") -> LedgerEntry:
    return LedgerEntry(Content.CIPHERTEXT, readers, host, collaborator, argument, True)


def _masked(argument: str = _UNIFORM, host: str = "", collaborator: str = "") -> LedgerEntry:
    return LedgerEntry(Content.MASKED, _NOBODY, host, collaborator, argument, True)


LEDGER: Mapping[type[Message], LedgerEntry] = {
    Abort: _public("that, where and why a party stopped", "One line without values, ids or paths."),
    Hello: _public(
        "the peer's feature key, scheme and whether its model is trained; after an interruption also its "
        "checkpoints' tags and how far its last conversation went",
        is_fresh=True,
    ),
    Manifest: _public(
        "the parties' feature keys, the scheme and its parameters; after an interruption also how many "
        "messages the host had exchanged with each collaborator"
    ),
    ManifestAccepted: _public(""),
    PsiOpen: _public(
        "the size of the peer's set of sample ids", "No PSI of this kind hides it (De Cristofaro, Tsudik 2010)."
    ),
    PsiPoints: _hidden("nobody: the sender's scalar is used once and forgotten", _DDH),
    PsiDigests: LedgerEntry(
        Content.RESULT,
        "{host}, for ids that it holds itself",
        "which of its own sample ids {collaborator} holds (the pairwise intersection)",
        "",
        _DDH + " A digest of an id that {collaborator} lacks looks random.",
        True,
    ),
    PsiResult: LedgerEntry(
        Content.RESULT,
        "{collaborator}: positions in its own secret order",
        "",
        "which of its own sample ids all parties hold (the final intersection)",
        "Bits in {collaborator}'s order; no id of another party, and not the pairwise intersection.",
    ),
    SplitDigest: _public("whether both split the intersection alike, and into how many samples", _HMAC),
    BatchOpen: _public("the size of each batch, and whether both use the same rows", _HMAC),
    EpochEnd: _public("how many batches a round has"),
    RoundStart: _public(""),
    TaskFinished: _public("after how many rounds the task ended"),
    FinishAcknowledged: _public(""),
    FeatureShape: _public("how many features {collaborator}'s model gives"),
    StepSkipped: _public("that {host} trained nothing on a batch"),
    PlainFeatures: LedgerEntry(
        Content.PLAINTEXT,
        _BOTH,
        "EVERY FEATURE of {collaborator}, in the clear",
        "",
        "Not protected: both parties asked for scheme plain by name.",
    ),
    PlainGradient: LedgerEntry(
        Content.PLAINTEXT,
        _BOTH,
        "",
        "the gradient da of its features for every batch, IN THE CLEAR, which tells about labels",
        "Not protected: both parties asked for scheme plain by name.",
    ),
    ProjectionKey: _public("the peer's public key", "A public key, fresh for every session.", is_fresh=True),
    InitialFactor: _hidden(_COLLABORATOR_KEY, _SEMANTIC),
    InitialShare: _hidden(_COLLABORATOR_KEY, _FLOODED + " What it decrypts to is a uniform share."),
    HostShare: _hidden(_HOST_KEY, _SEMANTIC),
    CollaboratorShare: _hidden(_COLLABORATOR_KEY, _SEMANTIC),
    Projection: _hidden(_HOST_KEY, f"{_FLOODED} {_SMOOTHED}", host=_PROJECTION),
    StepGradient: _hidden(_HOST_KEY, _SEMANTIC),
    FeatureGradient: _hidden(_COLLABORATOR_KEY, f"{_FLOODED} {_SMOOTHED}", collaborator=_GRADIENT),
    WeightGradient: _hidden(_HOST_KEY, _FLOODED + " What it decrypts to is masked by a fresh uniform matrix."),
    CheckQuery: _hidden(_HOST_KEY, _SEMANTIC + " The combination in the clear is random."),
    CheckReply: _hidden(_HOST_KEY, "Both halves are uniform, and add up to z r, which {host} knows (Freivalds 1977)."),
    TripleRequest: _public("how many one-time masks are made"),
    TripleOperand: _hidden("whoever holds the sender's key", _SEMANTIC + " It hides a uniform mask."),
    TripleProduct: _hidden("whoever holds the receiver's key", _FLOODED + " What it decrypts to is a uniform share."),
    MaskedShare: _masked(),
    MaskedFeatures: _masked(f"{_UNIFORM} The second half follows from z + e. {_SMOOTHED}", host=_PROJECTION),
    MaskedGradientFeatures: _masked(),
    MaskedGradient: _masked(f"{_UNIFORM} The second half follows from da + e'. {_SMOOTHED}", collaborator=_GRADIENT),
    MaskedStep: _masked(),
    MaskedCheck: _masked(_UNIFORM + " The answer adds up to z r, which {host} knows (Freivalds 1977)."),
    Checkpoint: _public("", "A digest of what the receiver has, and of the versions of the sender's software."),
    Countersignature: _public("", "A signature of what the receiver signed before."),
}
"""Every message type that may cross the wire."""

_HOST_NEVER_SEES: tuple[tuple[str, frozenset[type[Message]]], ...] = (
    ("{collaborator}'s features", frozenset({PlainFeatures})),
    ("{collaborator}'s model and its weights", frozenset()),
    ("the weights of the projection layer", frozenset({PlainFeatures})),
    ("sample ids of {collaborator} that it does not hold itself", frozenset()),
)
_COLLABORATOR_NEVER_SEES: tuple[tuple[str, frozenset[type[Message]]], ...] = (
    ("labels", frozenset()),
    ("{host}'s features and models", frozenset()),
    ("its own projected features", frozenset({PlainFeatures})),
    ("predictions", frozenset()),
    ("any gradient", frozenset({FeatureGradient, MaskedGradient, PlainGradient})),
    ("the weights of the projection layer", frozenset()),
    ("sample ids of {host} outside of the final intersection", frozenset()),
    ("anything of other collaborators", frozenset()),
)


@dataclass(frozen=True)
class RunLedger:
    """Who learned what in one run, in words.

    Attributes:
        host, collaborator: the parties' names.
        host_learned, collaborator_learned: of each other's data.
        host_did_not_see, collaborator_did_not_see: what no message of this run could tell them.
        both_learned: names, counts and other things about the run.
    """

    host: str
    collaborator: str
    host_learned: tuple[str, ...]
    host_did_not_see: tuple[str, ...]
    collaborator_learned: tuple[str, ...]
    collaborator_did_not_see: tuple[str, ...]
    both_learned: tuple[str, ...]


def ledger_of_run(
    host: str,
    collaborator: str,
    from_host: Collection[type[Message]],
    from_collaborator: Collection[type[Message]],
) -> RunLedger:
    """The ledger of a run in which these types of messages crossed the wire."""

    def said(sentences: Collection[str]) -> tuple[str, ...]:
        filled = (sentence.format(host=host, collaborator=collaborator) for sentence in sentences if sentence)
        return tuple(dict.fromkeys(filled))

    def unseen(table: tuple[tuple[str, frozenset[type[Message]]], ...]) -> list[str]:
        return [what for what, shown_by in table if shown_by.isdisjoint(crossed)]

    crossed = {*from_host, *from_collaborator}
    data = [kind for kind, entry in LEDGER.items() if kind in crossed and entry.content is not Content.PUBLIC]
    public = [entry for kind, entry in LEDGER.items() if kind in crossed and entry.content is Content.PUBLIC]
    return RunLedger(
        host,
        collaborator,
        said([LEDGER[kind].host_learns for kind in data if kind in from_collaborator]),
        said(unseen(_HOST_NEVER_SEES)),
        said([LEDGER[kind].collaborator_learns for kind in data if kind in from_host]),
        said(unseen(_COLLABORATOR_NEVER_SEES)),
        said([entry.host_learns for entry in public]),
    )
