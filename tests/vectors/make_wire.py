"""One example of every message, and its bytes: `python -m tests.vectors.make_wire > tests/vectors/wire.json`.

The bytes are the contract between versions: a change of this file's output is a change of the protocol.
"""

from __future__ import annotations

import json

import numpy as np

from benchmarks.harness.known_messages import MESSAGE_TYPES, known_catalogue
from protocols.core.envelope import Envelope, Phase
from protocols.core.message import Message
from protocols.layer.messages import (
    BatchClosed,
    EqualityConfirmation,
    EqualityProof,
    FeatureShape,
    FrozenRows,
    InitialFactor,
    InitialShare,
    ProjectionKey,
    SecretsCommitment,
    StepSkipped,
)
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
from protocols.overlap import OverlapDigests, OverlapOpen, OverlapPoints, OverlapSize
from protocols.psi.bucket_messages import PsiBuckets, PsiBucketsTaken
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    FeatureGradient,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedCheckReply,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.masked.triple_messages import TripleOperand, TripleProduct, TripleRequest
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.test_messages import (
    FormQuery,
    MarkQuery,
    RelationQuery,
    RelationReply,
    SameShareQuery,
    ShareMark,
    ShareQuery,
)
from protocols.task.abort import Abort
from protocols.task.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.task.manifest import Hello, Manifest, ManifestAccepted
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.task.sum_keys import SumKey, SumKeys
from protocols.transcript.messages import Checkpoint, Countersignature
from protocols.wire.codec import encode


def _bytes(count: int, start: int = 0) -> bytes:
    return bytes((start + 7 * at) % 256 for at in range(count))


def _ring(*shape: int) -> np.ndarray:
    count = int(np.prod(shape))
    return (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(5)).reshape(shape)


def _floats(*shape: int) -> np.ndarray:
    return (np.arange(int(np.prod(shape)), dtype=np.float32) / 8 - 1).reshape(shape)


_SEAM = _bytes(32, 1) + (77).to_bytes(8, "big") + _bytes(32, 2) + (78).to_bytes(8, "big") + _bytes(32, 3)
_PARTS = (_bytes(5), _bytes(200, 3))

EXAMPLES: tuple[Message, ...] = (
    Abort("it went wrong", "party0", "PeerTimeout"),
    Hello(
        *(3, "task", "party1", "bfv", True, False, _bytes(32), True, (_bytes(32, 1), _bytes(32, 2)), _SEAM),
        width_limit=20,
        round_limit=5,
        rate_limit=0.05,
        row_limit=128,
        id_limit=100_000,
        least_others=2,
    ),
    Manifest(
        protocol_version=3,
        task_id="task",
        session=_bytes(32, 5),
        scheme="masked",
        scheme_parameters='{"a": 1}',
        id_normalisation="UTF-8 of NFC",
        host_feature_key="host",
        host_nonce=_bytes(32, 6),
        feature_keys=("a", "b"),
        nonces=(_bytes(32, 7), _bytes(32, 8)),
        trainable=(True, False),
        projection_widths=(0, 300),
        has_projection=True,
        is_reproducible=True,
        calculation_timeout=300.5,
        resumed_from=_bytes(32, 9),
        resumed_phase=5,
        resumed_round=2,
        resumed_batch=7,
        seams=(b"", _SEAM),
        max_rounds=5,
        max_batches=440,
        projection_lr=0.01,
        label_epsilon=2.0,
        may_train=(True, True),
        host_fingerprint=_bytes(32, 24),
        fingerprints=(_bytes(32, 25), _bytes(32, 26)),
        width_limits=(0, 300),
        round_limits=(5, 0),
        rate_limits=(0.0, 0.05),
        row_limits=(128, 0),
        id_limits=(0, 100_000),
        least_others=(0, 2),
        is_summed=False,
    ),
    ManifestAccepted(_bytes(32, 10)),
    PsiOpen(1000, 128, _bytes(32, 11)),
    PsiPoints(3, _bytes(64, 12)),
    PsiDigests(0, _bytes(48, 13)),
    PsiResult(bytes([5, 1]), 3),
    PsiBuckets(39, 260000, 7000, 3, bytes(range(32))),
    PsiBucketsTaken(True, 3),
    SplitDigest(10, _bytes(32, 14), _bytes(32, 15), 0, _bytes(32, 16), _bytes(32, 17)),
    BatchOpen(128, _bytes(32, 18)),
    EpochEnd(79),
    RoundStart(5, 2, 64),
    TaskFinished(3),
    FinishAcknowledged(0),
    FeatureShape(128, 20),
    StepSkipped(),
    PlainFeatures(_floats(3, 2)),
    PlainGradient(_floats(2, 3)),
    ProjectionKey(_bytes(70, 19)),
    InitialFactor(0, _PARTS),
    InitialShare(0, _PARTS[:1]),
    HostShare(1, _PARTS),
    CollaboratorShare(300, _PARTS),
    Projection(2, _PARTS),
    StepGradient(3, _PARTS),
    FeatureGradient(4, -3, _PARTS),
    WeightGradient(5, _PARTS),
    CheckQuery(6, _PARTS, _ring(4)),
    CheckReply(7, _PARTS, _bytes(32, 24)),
    EqualityProof(_bytes(32, 25), _bytes(32, 26)),
    EqualityConfirmation(_bytes(32, 27)),
    ShareQuery(8, 128, _PARTS, _PARTS[:1], _PARTS[1:], _bytes(32, 29)),
    TripleRequest("train", 8, 16),
    TripleOperand(9, 2, "projection", _PARTS),
    TripleProduct(10, 1, "weight_gradient", _PARTS),
    MaskedShare(11, 1, _ring(2, 3)),
    MaskedFeatures(12, 2, _ring(4, 3), _ring(4, 2)),
    MaskedGradientFeatures(13, 3, _ring(4, 3), _ring(2, 3)),
    MaskedGradient(14, 4, 5, _ring(4, 2), _ring(4, 3)),
    MaskedStep(15, 5, 17, _ring(4, 2), (_ring(2, 3),)),
    MaskedCheck(16, 6, _ring(2), _ring(3)),
    MaskedCheckReply(17, 7, _ring(4, 3), _bytes(32, 28)),
    Checkpoint(20, _bytes(32, 20), _bytes(32, 21), _bytes(70, 22)),
    Countersignature(20, _bytes(32, 20), _bytes(71, 23)),
    FrozenRows(2, np.array([300, 1, 301], np.int32)),
    BatchClosed(),
    SecretsCommitment(_bytes(32, 27), _bytes(32, 28)),
    RelationQuery(9, 128, _PARTS, _PARTS[:1], _PARTS[1:]),
    RelationReply(10, _PARTS, 0, _bytes(32, 30)),
    ShareMark(11, _PARTS),
    MarkQuery(11, _PARTS, _bytes(32, 34)),
    FormQuery(12, 128, _bytes(32, 35), _PARTS, _bytes(32, 36)),
    SameShareQuery(13, _PARTS, _PARTS[:1], _bytes(32, 37)),
    SumKey(_bytes(32, 30), _bytes(70, 31)),
    SumKeys((_bytes(32, 30), _bytes(32, 32)), (_bytes(70, 31), _bytes(71, 33))),
    PopulationOpen(1000, 128, _bytes(32, 34)),
    PopulationDigests(3, _bytes(64, 35)),
    LookupPoints(_bytes(64, 36)),
    LookupReplies(_bytes(64, 37)),
    LookupRefused(9),
    RowsAsked(np.array([300, 1, 301], "<u4").tobytes()),
    RowsRefused(bytes([5])),
    RequestsOver(12),
    OverlapOpen(1000, 128, 100, 50, _bytes(32, 38)),
    OverlapPoints(3, _bytes(64, 39)),
    OverlapDigests(3, _bytes(64, 40)),
    OverlapSize(350),
)


def encodings() -> dict[str, str]:
    """Hexadecimal bytes of each example's envelope, by the name of its type."""
    assert {type(example) for example in EXAMPLES} == set(MESSAGE_TYPES)
    envelopes = (Envelope(at * 100, list(Phase)[at % 8], at % 4, at % 3, each) for at, each in enumerate(EXAMPLES))
    return {type(each.message).__name__: encode(each, known_catalogue()).hex() for each in envelopes}


if __name__ == "__main__":
    print(json.dumps(encodings(), indent=1))
