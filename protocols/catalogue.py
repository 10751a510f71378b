"""Every message type that may cross the wire. The codec, the transcript and the tests go by this list."""

from __future__ import annotations

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
