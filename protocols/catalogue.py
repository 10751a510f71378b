"""Every message type that may cross the wire. The codec, the transcript and the tests go by this list."""

from __future__ import annotations

from protocols.agreement import Hello, Manifest, ManifestAccepted
from protocols.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.control import Abort
from protocols.masking.messages import (
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
from protocols.message import Message
from protocols.projection.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    InitialFactor,
    InitialShare,
    Projection,
    ProjectionKey,
    StepGradient,
    WeightGradient,
)
from protocols.projection.plain import PlainFeatures, PlainGradient
from protocols.projection.roles import FeatureShape, StepSkipped
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.training import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.messages import Checkpoint, Countersignature

MESSAGE_TYPES: tuple[type[Message], ...] = (
    Abort,
    Hello,
    Manifest,
    ManifestAccepted,
    PsiOpen,
    PsiPoints,
    PsiDigests,
    PsiResult,
    SplitDigest,
    BatchOpen,
    EpochEnd,
    RoundStart,
    TaskFinished,
    FinishAcknowledged,
    FeatureShape,
    StepSkipped,
    PlainFeatures,
    PlainGradient,
    ProjectionKey,
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
    TripleRequest,
    TripleOperand,
    TripleProduct,
    MaskedShare,
    MaskedFeatures,
    MaskedGradientFeatures,
    MaskedGradient,
    MaskedStep,
    MaskedCheck,
    Checkpoint,
    Countersignature,
)
