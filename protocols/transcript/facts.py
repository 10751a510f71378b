"""The counts and sizes of a message that its entry in a transcript repeats, so that an auditor can check the others.

Never a payload, an id or a value of a tensor: how many rows a batch has, which of the one-time masks was used (by
number), how many times the weights have changed. Both parties and whoever sees lengths know these anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.core.message import Message
from protocols.layer.messages import FeatureShape, InitialFactor, InitialShare
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints
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
from protocols.schemes.masked.triples import KINDS, PRODUCTS
from protocols.task.alignment import BatchOpen, EpochEnd
from protocols.task.manifest import Hello
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.messages import Checkpoint, Countersignature

Facts = tuple[int, ...]
Reader = Callable[[Any], Facts]

_VERSIONED = (
    InitialFactor,
    InitialShare,
    HostShare,
    CollaboratorShare,
    Projection,
    StepGradient,
    FeatureGradient,
    WeightGradient,
    CheckQuery,
    CheckReply,
)
_MASKED = (MaskedShare, MaskedGradientFeatures, MaskedCheck)

FACTS: Mapping[type[Message], tuple[tuple[str, ...], Reader]] = {
    Hello: (("is_resuming", "checkpoints"), lambda m: (int(m.is_resuming), len(m.checkpoints))),
    PsiOpen: (("set_size", "chunk"), lambda m: (m.set_size, m.chunk)),
    PsiPoints: (("index",), lambda m: (m.index,)),
    PsiDigests: (("index",), lambda m: (m.index,)),
    BatchOpen: (("rows",), lambda m: (m.rows,)),
    EpochEnd: (("batches",), lambda m: (m.batches,)),
    RoundStart: (
        ("max_batches", "first_batch", "checkpoint_every"),
        lambda m: (m.max_batches, m.first_batch, m.checkpoint_every),
    ),
    TaskFinished: (("rounds",), lambda m: (m.rounds,)),
    FinishAcknowledged: (("rounds",), lambda m: (m.rounds,)),
    FeatureShape: (("rows", "width"), lambda m: (m.rows, m.width)),
    **{kind: (("version",), lambda m: (m.version,)) for kind in _VERSIONED},
    TripleRequest: (("kind", "index", "count"), lambda m: (KINDS.index(m.kind), m.index, m.count)),
    TripleOperand: (("index", "product"), lambda m: (m.index, PRODUCTS.index(m.product))),
    TripleProduct: (("index", "product"), lambda m: (m.index, PRODUCTS.index(m.product))),
    **{kind: (("index", "version"), lambda m: (m.index, m.version)) for kind in _MASKED},
    MaskedFeatures: (("index", "version", "rows", "columns"), lambda m: (m.index, m.version, *m.projection.shape)),
    MaskedGradient: (("index", "version", "rows"), lambda m: (m.index, m.version, len(m.gradient))),
    MaskedStep: (("index", "version", "share_follows"), lambda m: (m.index, m.version, int(m.share_follows))),
    Checkpoint: (("count",), lambda m: (m.count,)),
    Countersignature: (("count",), lambda m: (m.count,)),
}
"""For each type that has any: their names, and how to read them. `kind` counts in KINDS, `product` in PRODUCTS."""

VERSION_AT: Mapping[type[Message], int] = {
    kind: names.index("version") for kind, (names, _) in FACTS.items() if "version" in names
}
"""For each type that is about a version of the weights: which of its facts says so."""


def no_facts(message: Message) -> Facts:
    """A type that `FACTS` does not list has none."""
    return ()


def recorded_of(message: Message) -> Facts:
    """What an entry repeats of a message."""
    return FACTS[type(message)][1](message) if type(message) in FACTS else ()
