"""The messages that every task has, whatever its scheme; a scheme adds its own (`Scheme.messages`)."""

from __future__ import annotations

from protocols.core.message import Message
from protocols.layer.messages import BatchClosed, FeatureShape, FrozenRows, StepSkipped
from protocols.lookup.messages import (
    LookupPoints,
    LookupRefused,
    LookupReplies,
    PopulationDigests,
    PopulationOpen,
    RequestsOver,
    RowsAsked,
    RowsRefused,
)
from protocols.overlap.messages import OverlapDigests, OverlapOpen, OverlapPoints, OverlapSize
from protocols.psi.bucket_messages import PsiBuckets, PsiBucketsTaken
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.task.abort import Abort
from protocols.task.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.task.manifest import Hello, Manifest, ManifestAccepted
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.task.sum_keys import SumKey, SumKeys
from protocols.transcript.messages import Checkpoint, Countersignature

COMMON_MESSAGES: tuple[type[Message], ...] = (
    Abort,
    Hello,
    Manifest,
    ManifestAccepted,
    SumKey,
    SumKeys,
    PsiOpen,
    PsiPoints,
    PsiDigests,
    PsiResult,
    PsiBuckets,
    PsiBucketsTaken,
    SplitDigest,
    BatchOpen,
    EpochEnd,
    RoundStart,
    TaskFinished,
    FinishAcknowledged,
    FeatureShape,
    StepSkipped,
    FrozenRows,
    BatchClosed,
    Checkpoint,
    Countersignature,
    PopulationOpen,
    PopulationDigests,
    LookupPoints,
    LookupReplies,
    LookupRefused,
    RowsAsked,
    RowsRefused,
    RequestsOver,
    OverlapOpen,
    OverlapPoints,
    OverlapDigests,
    OverlapSize,
)
