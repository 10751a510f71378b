"""What holds across the two directions of a conversation, as tables for `order.py`."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.layer.interface import StepSkipped
from protocols.psi.messages import PsiDigests, PsiOpen
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    FeatureGradient,
    HostShare,
    InitialFactor,
    InitialShare,
    Projection,
    ProjectionKey,
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
)
from protocols.schemes.plain.roles import PlainFeatures, PlainGradient
from protocols.task.agreement import Hello, Manifest, ManifestAccepted
from protocols.task.alignment import SplitDigest
from protocols.task.rounds import FinishAcknowledged, TaskFinished
from protocols.transcript.chain import Sender
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.transcript.transitions import Kind

H, C = Sender.HOST, Sender.COLLABORATOR

_BATCH_FEATURES = (Projection, MaskedFeatures, PlainFeatures)

ANSWERS: Mapping[tuple[Sender, Kind], tuple[Kind, ...]] = {
    (H, Manifest): (Hello,),
    (C, ManifestAccepted): (Manifest,),
    (C, PsiDigests): (PsiOpen,),
    (H, SplitDigest): (SplitDigest,),
    (C, InitialFactor): (ProjectionKey,),
    (H, InitialShare): (InitialFactor,),
    (H, CheckQuery): (Projection,),
    (C, CheckReply): (CheckQuery,),
    (H, StepGradient): (Projection,),
    (C, WeightGradient): (StepGradient,),
    (H, HostShare): (InitialFactor, ProjectionKey, WeightGradient),
    (H, StepSkipped): _BATCH_FEATURES,
    (H, MaskedCheck): (MaskedFeatures,),
    (H, MaskedGradient): (MaskedGradientFeatures,),
    (H, MaskedStep): (MaskedGradientFeatures,),
    (H, PlainGradient): (PlainFeatures,),
    (C, FinishAcknowledged): (TaskFinished,),
    (H, Countersignature): (Checkpoint,),
    (C, Countersignature): (Checkpoint,),
}
"""A message that answers one of these, which the peer must have sent at the same place."""

ONCE_A_BATCH = frozenset({CheckQuery, MaskedCheck, PlainGradient, StepSkipped})
"""What the tables alone would let come again."""

ONE_TIME: Mapping[tuple[Sender, Kind], str] = {
    (H, MaskedShare): "M",
    (H, MaskedCheck): "M",
    (C, MaskedFeatures): "A",
    (C, MaskedGradientFeatures): "A'",
    (C, MaskedShare): "N",
    (H, MaskedGradient): "D",
    (H, MaskedStep): "G",
}
"""Which one-time mask of its triple a message uses up; `index` says whose triple, and each serves once."""

BATCH_ENDS = (HostShare, StepSkipped, MaskedStep, PlainGradient)
"""With one of these the host ends a training batch."""

STEPS = (StepGradient, MaskedStep)
"""The host moves the weights to their next version."""

BEHIND_STEP = (FeatureGradient, WeightGradient)
"""About the version that the batch's step has just left."""
