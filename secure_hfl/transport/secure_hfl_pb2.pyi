# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[DType]
    FLOAT32: _ClassVar[DType]
    FLOAT64: _ClassVar[DType]
    INT32: _ClassVar[DType]
    INT64: _ClassVar[DType]
    UINT8: _ClassVar[DType]
    UINT64: _ClassVar[DType]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    JOIN: _ClassVar[Phase]
    PSI: _ClassVar[Phase]
    ALIGN: _ClassVar[Phase]
    SETUP: _ClassVar[Phase]
    TRAIN: _ClassVar[Phase]
    TEST: _ClassVar[Phase]
    FINISH: _ClassVar[Phase]
    OFFLINE: _ClassVar[Phase]
DTYPE_UNSPECIFIED: DType
FLOAT32: DType
FLOAT64: DType
INT32: DType
INT64: DType
UINT8: DType
UINT64: DType
PHASE_UNSPECIFIED: Phase
JOIN: Phase
PSI: Phase
ALIGN: Phase
SETUP: Phase
TRAIN: Phase
TEST: Phase
FINISH: Phase
OFFLINE: Phase

class Frame(_message.Message):
    __slots__ = ("message_length", "chunk", "end")
    MESSAGE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    message_length: int
    chunk: bytes
    end: bool
    def __init__(self, message_length: _Optional[int] = ..., chunk: _Optional[bytes] = ..., end: _Optional[bool] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "data")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: DType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, dtype: _Optional[_Union[DType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("sequence", "phase", "round", "batch", "abort", "hello", "manifest", "manifest_accepted", "psi_open", "psi_points", "psi_digests", "psi_result", "secrets_commitment", "split_digest", "batch_open", "epoch_end", "sum_key", "sum_keys", "round_start", "task_finished", "finish_acknowledged", "frozen_rows", "batch_closed", "feature_shape", "step_skipped", "plain_features", "plain_gradient", "projection_key", "initial_factor", "initial_share", "host_share", "collaborator_share", "projection", "step_gradient", "feature_gradient", "weight_gradient", "check_query", "check_reply", "equality_proof", "equality_confirmation", "share_query", "relation_query", "relation_reply", "triple_request", "triple_operand", "triple_product", "masked_share", "masked_features", "masked_gradient_features", "masked_gradient", "masked_step", "masked_check", "masked_check_reply", "share_mark", "mark_query", "form_query", "checkpoint", "countersignature", "population_open", "population_digests", "lookup_points", "lookup_replies", "lookup_refused", "rows_asked", "rows_refused", "requests_over", "psi_buckets", "psi_buckets_taken", "overlap_open", "overlap_points", "overlap_digests", "overlap_size", "same_share_query")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PSI_OPEN_FIELD_NUMBER: _ClassVar[int]
    PSI_POINTS_FIELD_NUMBER: _ClassVar[int]
    PSI_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    PSI_RESULT_FIELD_NUMBER: _ClassVar[int]
    SECRETS_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BATCH_OPEN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_END_FIELD_NUMBER: _ClassVar[int]
    SUM_KEY_FIELD_NUMBER: _ClassVar[int]
    SUM_KEYS_FIELD_NUMBER: _ClassVar[int]
    ROUND_START_FIELD_NUMBER: _ClassVar[int]
    TASK_FINISHED_FIELD_NUMBER: _ClassVar[int]
    FINISH_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    FROZEN_ROWS_FIELD_NUMBER: _ClassVar[int]
    BATCH_CLOSED_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SHAPE_FIELD_NUMBER: _ClassVar[int]
    STEP_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    PLAIN_FEATURES_FIELD_NUMBER: _ClassVar[int]
    PLAIN_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_KEY_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FACTOR_FIELD_NUMBER: _ClassVar[int]
    INITIAL_SHARE_FIELD_NUMBER: _ClassVar[int]
    HOST_SHARE_FIELD_NUMBER: _ClassVar[int]
    COLLABORATOR_SHARE_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    STEP_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    FEATURE_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_QUERY_FIELD_NUMBER: _ClassVar[int]
    CHECK_REPLY_FIELD_NUMBER: _ClassVar[int]
    EQUALITY_PROOF_FIELD_NUMBER: _ClassVar[int]
    EQUALITY_CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    SHARE_QUERY_FIELD_NUMBER: _ClassVar[int]
    RELATION_QUERY_FIELD_NUMBER: _ClassVar[int]
    RELATION_REPLY_FIELD_NUMBER: _ClassVar[int]
    TRIPLE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    TRIPLE_OPERAND_FIELD_NUMBER: _ClassVar[int]
    TRIPLE_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    MASKED_SHARE_FIELD_NUMBER: _ClassVar[int]
    MASKED_FEATURES_FIELD_NUMBER: _ClassVar[int]
    MASKED_GRADIENT_FEATURES_FIELD_NUMBER: _ClassVar[int]
    MASKED_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    MASKED_STEP_FIELD_NUMBER: _ClassVar[int]
    MASKED_CHECK_FIELD_NUMBER: _ClassVar[int]
    MASKED_CHECK_REPLY_FIELD_NUMBER: _ClassVar[int]
    SHARE_MARK_FIELD_NUMBER: _ClassVar[int]
    MARK_QUERY_FIELD_NUMBER: _ClassVar[int]
    FORM_QUERY_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    COUNTERSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    POPULATION_OPEN_FIELD_NUMBER: _ClassVar[int]
    POPULATION_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_POINTS_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_REPLIES_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_REFUSED_FIELD_NUMBER: _ClassVar[int]
    ROWS_ASKED_FIELD_NUMBER: _ClassVar[int]
    ROWS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_OVER_FIELD_NUMBER: _ClassVar[int]
    PSI_BUCKETS_FIELD_NUMBER: _ClassVar[int]
    PSI_BUCKETS_TAKEN_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_OPEN_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_POINTS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_SIZE_FIELD_NUMBER: _ClassVar[int]
    SAME_SHARE_QUERY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    phase: Phase
    round: int
    batch: int
    abort: Abort
    hello: Hello
    manifest: Manifest
    manifest_accepted: ManifestAccepted
    psi_open: PsiOpen
    psi_points: PsiPoints
    psi_digests: PsiDigests
    psi_result: PsiResult
    secrets_commitment: SecretsCommitment
    split_digest: SplitDigest
    batch_open: BatchOpen
    epoch_end: EpochEnd
    sum_key: SumKey
    sum_keys: SumKeys
    round_start: RoundStart
    task_finished: TaskFinished
    finish_acknowledged: FinishAcknowledged
    frozen_rows: FrozenRows
    batch_closed: BatchClosed
    feature_shape: FeatureShape
    step_skipped: StepSkipped
    plain_features: PlainFeatures
    plain_gradient: PlainGradient
    projection_key: ProjectionKey
    initial_factor: InitialFactor
    initial_share: InitialShare
    host_share: HostShare
    collaborator_share: CollaboratorShare
    projection: Projection
    step_gradient: StepGradient
    feature_gradient: FeatureGradient
    weight_gradient: WeightGradient
    check_query: CheckQuery
    check_reply: CheckReply
    equality_proof: EqualityProof
    equality_confirmation: EqualityConfirmation
    share_query: ShareQuery
    relation_query: RelationQuery
    relation_reply: RelationReply
    triple_request: TripleRequest
    triple_operand: TripleOperand
    triple_product: TripleProduct
    masked_share: MaskedShare
    masked_features: MaskedFeatures
    masked_gradient_features: MaskedGradientFeatures
    masked_gradient: MaskedGradient
    masked_step: MaskedStep
    masked_check: MaskedCheck
    masked_check_reply: MaskedCheckReply
    share_mark: ShareMark
    mark_query: MarkQuery
    form_query: FormQuery
    checkpoint: Checkpoint
    countersignature: Countersignature
    population_open: PopulationOpen
    population_digests: PopulationDigests
    lookup_points: LookupPoints
    lookup_replies: LookupReplies
    lookup_refused: LookupRefused
    rows_asked: RowsAsked
    rows_refused: RowsRefused
    requests_over: RequestsOver
    psi_buckets: PsiBuckets
    psi_buckets_taken: PsiBucketsTaken
    overlap_open: OverlapOpen
    overlap_points: OverlapPoints
    overlap_digests: OverlapDigests
    overlap_size: OverlapSize
    same_share_query: SameShareQuery
    def __init__(self, sequence: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ..., round: _Optional[int] = ..., batch: _Optional[int] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ..., manifest_accepted: _Optional[_Union[ManifestAccepted, _Mapping]] = ..., psi_open: _Optional[_Union[PsiOpen, _Mapping]] = ..., psi_points: _Optional[_Union[PsiPoints, _Mapping]] = ..., psi_digests: _Optional[_Union[PsiDigests, _Mapping]] = ..., psi_result: _Optional[_Union[PsiResult, _Mapping]] = ..., secrets_commitment: _Optional[_Union[SecretsCommitment, _Mapping]] = ..., split_digest: _Optional[_Union[SplitDigest, _Mapping]] = ..., batch_open: _Optional[_Union[BatchOpen, _Mapping]] = ..., epoch_end: _Optional[_Union[EpochEnd, _Mapping]] = ..., sum_key: _Optional[_Union[SumKey, _Mapping]] = ..., sum_keys: _Optional[_Union[SumKeys, _Mapping]] = ..., round_start: _Optional[_Union[RoundStart, _Mapping]] = ..., task_finished: _Optional[_Union[TaskFinished, _Mapping]] = ..., finish_acknowledged: _Optional[_Union[FinishAcknowledged, _Mapping]] = ..., frozen_rows: _Optional[_Union[FrozenRows, _Mapping]] = ..., batch_closed: _Optional[_Union[BatchClosed, _Mapping]] = ..., feature_shape: _Optional[_Union[FeatureShape, _Mapping]] = ..., step_skipped: _Optional[_Union[StepSkipped, _Mapping]] = ..., plain_features: _Optional[_Union[PlainFeatures, _Mapping]] = ..., plain_gradient: _Optional[_Union[PlainGradient, _Mapping]] = ..., projection_key: _Optional[_Union[ProjectionKey, _Mapping]] = ..., initial_factor: _Optional[_Union[InitialFactor, _Mapping]] = ..., initial_share: _Optional[_Union[InitialShare, _Mapping]] = ..., host_share: _Optional[_Union[HostShare, _Mapping]] = ..., collaborator_share: _Optional[_Union[CollaboratorShare, _Mapping]] = ..., projection: _Optional[_Union[Projection, _Mapping]] = ..., step_gradient: _Optional[_Union[StepGradient, _Mapping]] = ..., feature_gradient: _Optional[_Union[FeatureGradient, _Mapping]] = ..., weight_gradient: _Optional[_Union[WeightGradient, _Mapping]] = ..., check_query: _Optional[_Union[CheckQuery, _Mapping]] = ..., check_reply: _Optional[_Union[CheckReply, _Mapping]] = ..., equality_proof: _Optional[_Union[EqualityProof, _Mapping]] = ..., equality_confirmation: _Optional[_Union[EqualityConfirmation, _Mapping]] = ..., share_query: _Optional[_Union[ShareQuery, _Mapping]] = ..., relation_query: _Optional[_Union[RelationQuery, _Mapping]] = ..., relation_reply: _Optional[_Union[RelationReply, _Mapping]] = ..., triple_request: _Optional[_Union[TripleRequest, _Mapping]] = ..., triple_operand: _Optional[_Union[TripleOperand, _Mapping]] = ..., triple_product: _Optional[_Union[TripleProduct, _Mapping]] = ..., masked_share: _Optional[_Union[MaskedShare, _Mapping]] = ..., masked_features: _Optional[_Union[MaskedFeatures, _Mapping]] = ..., masked_gradient_features: _Optional[_Union[MaskedGradientFeatures, _Mapping]] = ..., masked_gradient: _Optional[_Union[MaskedGradient, _Mapping]] = ..., masked_step: _Optional[_Union[MaskedStep, _Mapping]] = ..., masked_check: _Optional[_Union[MaskedCheck, _Mapping]] = ..., masked_check_reply: _Optional[_Union[MaskedCheckReply, _Mapping]] = ..., share_mark: _Optional[_Union[ShareMark, _Mapping]] = ..., mark_query: _Optional[_Union[MarkQuery, _Mapping]] = ..., form_query: _Optional[_Union[FormQuery, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., countersignature: _Optional[_Union[Countersignature, _Mapping]] = ..., population_open: _Optional[_Union[PopulationOpen, _Mapping]] = ..., population_digests: _Optional[_Union[PopulationDigests, _Mapping]] = ..., lookup_points: _Optional[_Union[LookupPoints, _Mapping]] = ..., lookup_replies: _Optional[_Union[LookupReplies, _Mapping]] = ..., lookup_refused: _Optional[_Union[LookupRefused, _Mapping]] = ..., rows_asked: _Optional[_Union[RowsAsked, _Mapping]] = ..., rows_refused: _Optional[_Union[RowsRefused, _Mapping]] = ..., requests_over: _Optional[_Union[RequestsOver, _Mapping]] = ..., psi_buckets: _Optional[_Union[PsiBuckets, _Mapping]] = ..., psi_buckets_taken: _Optional[_Union[PsiBucketsTaken, _Mapping]] = ..., overlap_open: _Optional[_Union[OverlapOpen, _Mapping]] = ..., overlap_points: _Optional[_Union[OverlapPoints, _Mapping]] = ..., overlap_digests: _Optional[_Union[OverlapDigests, _Mapping]] = ..., overlap_size: _Optional[_Union[OverlapSize, _Mapping]] = ..., same_share_query: _Optional[_Union[SameShareQuery, _Mapping]] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("reason", "party", "code")
    REASON_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    party: str
    code: str
    def __init__(self, reason: _Optional[str] = ..., party: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "task_id", "feature_key", "scheme", "is_feature_trainable", "is_reproducible", "nonce", "is_resuming", "checkpoints", "seam", "width_limit", "round_limit", "rate_limit", "row_limit", "id_limit", "least_others", "trained", "prediction_limit", "asked_limit", "is_overlap")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    FEATURE_KEY_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    IS_FEATURE_TRAINABLE_FIELD_NUMBER: _ClassVar[int]
    IS_REPRODUCIBLE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    IS_RESUMING_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    SEAM_FIELD_NUMBER: _ClassVar[int]
    WIDTH_LIMIT_FIELD_NUMBER: _ClassVar[int]
    ROUND_LIMIT_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    ROW_LIMIT_FIELD_NUMBER: _ClassVar[int]
    ID_LIMIT_FIELD_NUMBER: _ClassVar[int]
    LEAST_OTHERS_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    ASKED_LIMIT_FIELD_NUMBER: _ClassVar[int]
    IS_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    task_id: str
    feature_key: str
    scheme: str
    is_feature_trainable: bool
    is_reproducible: bool
    nonce: bytes
    is_resuming: bool
    checkpoints: _containers.RepeatedScalarFieldContainer[bytes]
    seam: bytes
    width_limit: int
    round_limit: int
    rate_limit: float
    row_limit: int
    id_limit: int
    least_others: int
    trained: bytes
    prediction_limit: int
    asked_limit: int
    is_overlap: bool
    def __init__(self, protocol_version: _Optional[int] = ..., task_id: _Optional[str] = ..., feature_key: _Optional[str] = ..., scheme: _Optional[str] = ..., is_feature_trainable: _Optional[bool] = ..., is_reproducible: _Optional[bool] = ..., nonce: _Optional[bytes] = ..., is_resuming: _Optional[bool] = ..., checkpoints: _Optional[_Iterable[bytes]] = ..., seam: _Optional[bytes] = ..., width_limit: _Optional[int] = ..., round_limit: _Optional[int] = ..., rate_limit: _Optional[float] = ..., row_limit: _Optional[int] = ..., id_limit: _Optional[int] = ..., least_others: _Optional[int] = ..., trained: _Optional[bytes] = ..., prediction_limit: _Optional[int] = ..., asked_limit: _Optional[int] = ..., is_overlap: _Optional[bool] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("protocol_version", "task_id", "session", "scheme", "scheme_parameters", "id_normalisation", "host_feature_key", "host_nonce", "feature_keys", "nonces", "trainable", "projection_widths", "has_projection", "is_reproducible", "calculation_timeout", "resumed_from", "resumed_phase", "resumed_round", "resumed_batch", "seams", "max_rounds", "max_batches", "projection_lr", "label_epsilon", "may_train", "host_fingerprint", "fingerprints", "width_limits", "round_limits", "rate_limits", "row_limits", "id_limits", "least_others", "is_summed", "trained", "prediction_limits", "asked_limits", "is_online", "is_overlap")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    SCHEME_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ID_NORMALISATION_FIELD_NUMBER: _ClassVar[int]
    HOST_FEATURE_KEY_FIELD_NUMBER: _ClassVar[int]
    HOST_NONCE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_KEYS_FIELD_NUMBER: _ClassVar[int]
    NONCES_FIELD_NUMBER: _ClassVar[int]
    TRAINABLE_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_WIDTHS_FIELD_NUMBER: _ClassVar[int]
    HAS_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    IS_REPRODUCIBLE_FIELD_NUMBER: _ClassVar[int]
    CALCULATION_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FROM_FIELD_NUMBER: _ClassVar[int]
    RESUMED_PHASE_FIELD_NUMBER: _ClassVar[int]
    RESUMED_ROUND_FIELD_NUMBER: _ClassVar[int]
    RESUMED_BATCH_FIELD_NUMBER: _ClassVar[int]
    SEAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCHES_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_LR_FIELD_NUMBER: _ClassVar[int]
    LABEL_EPSILON_FIELD_NUMBER: _ClassVar[int]
    MAY_TRAIN_FIELD_NUMBER: _ClassVar[int]
    HOST_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINTS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ROUND_LIMITS_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ROW_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ID_LIMITS_FIELD_NUMBER: _ClassVar[int]
    LEAST_OTHERS_FIELD_NUMBER: _ClassVar[int]
    IS_SUMMED_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ASKED_LIMITS_FIELD_NUMBER: _ClassVar[int]
    IS_ONLINE_FIELD_NUMBER: _ClassVar[int]
    IS_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    task_id: str
    session: bytes
    scheme: str
    scheme_parameters: str
    id_normalisation: str
    host_feature_key: str
    host_nonce: bytes
    feature_keys: _containers.RepeatedScalarFieldContainer[str]
    nonces: _containers.RepeatedScalarFieldContainer[bytes]
    trainable: _containers.RepeatedScalarFieldContainer[bool]
    projection_widths: _containers.RepeatedScalarFieldContainer[int]
    has_projection: bool
    is_reproducible: bool
    calculation_timeout: float
    resumed_from: bytes
    resumed_phase: int
    resumed_round: int
    resumed_batch: int
    seams: _containers.RepeatedScalarFieldContainer[bytes]
    max_rounds: int
    max_batches: int
    projection_lr: float
    label_epsilon: float
    may_train: _containers.RepeatedScalarFieldContainer[bool]
    host_fingerprint: bytes
    fingerprints: _containers.RepeatedScalarFieldContainer[bytes]
    width_limits: _containers.RepeatedScalarFieldContainer[int]
    round_limits: _containers.RepeatedScalarFieldContainer[int]
    rate_limits: _containers.RepeatedScalarFieldContainer[float]
    row_limits: _containers.RepeatedScalarFieldContainer[int]
    id_limits: _containers.RepeatedScalarFieldContainer[int]
    least_others: _containers.RepeatedScalarFieldContainer[int]
    is_summed: bool
    trained: bytes
    prediction_limits: _containers.RepeatedScalarFieldContainer[int]
    asked_limits: _containers.RepeatedScalarFieldContainer[int]
    is_online: bool
    is_overlap: bool
    def __init__(self, protocol_version: _Optional[int] = ..., task_id: _Optional[str] = ..., session: _Optional[bytes] = ..., scheme: _Optional[str] = ..., scheme_parameters: _Optional[str] = ..., id_normalisation: _Optional[str] = ..., host_feature_key: _Optional[str] = ..., host_nonce: _Optional[bytes] = ..., feature_keys: _Optional[_Iterable[str]] = ..., nonces: _Optional[_Iterable[bytes]] = ..., trainable: _Optional[_Iterable[bool]] = ..., projection_widths: _Optional[_Iterable[int]] = ..., has_projection: _Optional[bool] = ..., is_reproducible: _Optional[bool] = ..., calculation_timeout: _Optional[float] = ..., resumed_from: _Optional[bytes] = ..., resumed_phase: _Optional[int] = ..., resumed_round: _Optional[int] = ..., resumed_batch: _Optional[int] = ..., seams: _Optional[_Iterable[bytes]] = ..., max_rounds: _Optional[int] = ..., max_batches: _Optional[int] = ..., projection_lr: _Optional[float] = ..., label_epsilon: _Optional[float] = ..., may_train: _Optional[_Iterable[bool]] = ..., host_fingerprint: _Optional[bytes] = ..., fingerprints: _Optional[_Iterable[bytes]] = ..., width_limits: _Optional[_Iterable[int]] = ..., round_limits: _Optional[_Iterable[int]] = ..., rate_limits: _Optional[_Iterable[float]] = ..., row_limits: _Optional[_Iterable[int]] = ..., id_limits: _Optional[_Iterable[int]] = ..., least_others: _Optional[_Iterable[int]] = ..., is_summed: _Optional[bool] = ..., trained: _Optional[bytes] = ..., prediction_limits: _Optional[_Iterable[int]] = ..., asked_limits: _Optional[_Iterable[int]] = ..., is_online: _Optional[bool] = ..., is_overlap: _Optional[bool] = ...) -> None: ...

class ManifestAccepted(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    def __init__(self, digest: _Optional[bytes] = ...) -> None: ...

class PsiOpen(_message.Message):
    __slots__ = ("set_size", "chunk", "pair", "suite")
    SET_SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    set_size: int
    chunk: int
    pair: bytes
    suite: str
    def __init__(self, set_size: _Optional[int] = ..., chunk: _Optional[int] = ..., pair: _Optional[bytes] = ..., suite: _Optional[str] = ...) -> None: ...

class PsiPoints(_message.Message):
    __slots__ = ("index", "points")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    points: bytes
    def __init__(self, index: _Optional[int] = ..., points: _Optional[bytes] = ...) -> None: ...

class PsiDigests(_message.Message):
    __slots__ = ("index", "digests")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    digests: bytes
    def __init__(self, index: _Optional[int] = ..., digests: _Optional[bytes] = ...) -> None: ...

class PsiResult(_message.Message):
    __slots__ = ("matches", "count")
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    matches: bytes
    count: int
    def __init__(self, matches: _Optional[bytes] = ..., count: _Optional[int] = ...) -> None: ...

class SecretsCommitment(_message.Message):
    __slots__ = ("secrets", "state")
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    secrets: bytes
    state: bytes
    def __init__(self, secrets: _Optional[bytes] = ..., state: _Optional[bytes] = ...) -> None: ...

class SplitDigest(_message.Message):
    __slots__ = ("train_count", "train_set", "train_order", "test_count", "test_set", "test_order")
    TRAIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_SET_FIELD_NUMBER: _ClassVar[int]
    TRAIN_ORDER_FIELD_NUMBER: _ClassVar[int]
    TEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEST_SET_FIELD_NUMBER: _ClassVar[int]
    TEST_ORDER_FIELD_NUMBER: _ClassVar[int]
    train_count: int
    train_set: bytes
    train_order: bytes
    test_count: int
    test_set: bytes
    test_order: bytes
    def __init__(self, train_count: _Optional[int] = ..., train_set: _Optional[bytes] = ..., train_order: _Optional[bytes] = ..., test_count: _Optional[int] = ..., test_set: _Optional[bytes] = ..., test_order: _Optional[bytes] = ...) -> None: ...

class BatchOpen(_message.Message):
    __slots__ = ("rows", "ids")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    ids: bytes
    def __init__(self, rows: _Optional[int] = ..., ids: _Optional[bytes] = ...) -> None: ...

class EpochEnd(_message.Message):
    __slots__ = ("batches",)
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    batches: int
    def __init__(self, batches: _Optional[int] = ...) -> None: ...

class SumKey(_message.Message):
    __slots__ = ("key", "signature")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    signature: bytes
    def __init__(self, key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class SumKeys(_message.Message):
    __slots__ = ("keys", "signatures")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    signatures: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, keys: _Optional[_Iterable[bytes]] = ..., signatures: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RoundStart(_message.Message):
    __slots__ = ("max_batches", "first_batch", "checkpoint_every")
    MAX_BATCHES_FIELD_NUMBER: _ClassVar[int]
    FIRST_BATCH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_EVERY_FIELD_NUMBER: _ClassVar[int]
    max_batches: int
    first_batch: int
    checkpoint_every: int
    def __init__(self, max_batches: _Optional[int] = ..., first_batch: _Optional[int] = ..., checkpoint_every: _Optional[int] = ...) -> None: ...

class TaskFinished(_message.Message):
    __slots__ = ("rounds",)
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    def __init__(self, rounds: _Optional[int] = ...) -> None: ...

class FinishAcknowledged(_message.Message):
    __slots__ = ("rounds",)
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    def __init__(self, rounds: _Optional[int] = ...) -> None: ...

class FrozenRows(_message.Message):
    __slots__ = ("new", "references")
    NEW_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    new: int
    references: Tensor
    def __init__(self, new: _Optional[int] = ..., references: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class BatchClosed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FeatureShape(_message.Message):
    __slots__ = ("rows", "width")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    rows: int
    width: int
    def __init__(self, rows: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class StepSkipped(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PlainFeatures(_message.Message):
    __slots__ = ("features",)
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    features: Tensor
    def __init__(self, features: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class PlainGradient(_message.Message):
    __slots__ = ("gradient",)
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    gradient: Tensor
    def __init__(self, gradient: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class ProjectionKey(_message.Message):
    __slots__ = ("public_key",)
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    def __init__(self, public_key: _Optional[bytes] = ...) -> None: ...

class InitialFactor(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class InitialShare(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class HostShare(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CollaboratorShare(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Projection(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class StepGradient(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class FeatureGradient(_message.Message):
    __slots__ = ("version", "exponent", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    exponent: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., exponent: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class WeightGradient(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CheckQuery(_message.Message):
    __slots__ = ("version", "parts", "combination")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    COMBINATION_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    combination: Tensor
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ..., combination: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class CheckReply(_message.Message):
    __slots__ = ("version", "parts", "element")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    element: bytes
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ..., element: _Optional[bytes] = ...) -> None: ...

class EqualityProof(_message.Message):
    __slots__ = ("element", "tag")
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    element: bytes
    tag: bytes
    def __init__(self, element: _Optional[bytes] = ..., tag: _Optional[bytes] = ...) -> None: ...

class EqualityConfirmation(_message.Message):
    __slots__ = ("tag",)
    TAG_FIELD_NUMBER: _ClassVar[int]
    tag: bytes
    def __init__(self, tag: _Optional[bytes] = ...) -> None: ...

class ShareQuery(_message.Message):
    __slots__ = ("version", "rows", "old", "step", "new", "element")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OLD_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    NEW_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    old: _containers.RepeatedScalarFieldContainer[bytes]
    step: _containers.RepeatedScalarFieldContainer[bytes]
    new: _containers.RepeatedScalarFieldContainer[bytes]
    element: bytes
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., old: _Optional[_Iterable[bytes]] = ..., step: _Optional[_Iterable[bytes]] = ..., new: _Optional[_Iterable[bytes]] = ..., element: _Optional[bytes] = ...) -> None: ...

class RelationQuery(_message.Message):
    __slots__ = ("version", "rows", "before", "now", "image")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    before: _containers.RepeatedScalarFieldContainer[bytes]
    now: _containers.RepeatedScalarFieldContainer[bytes]
    image: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., before: _Optional[_Iterable[bytes]] = ..., now: _Optional[_Iterable[bytes]] = ..., image: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RelationReply(_message.Message):
    __slots__ = ("version", "parts", "rows", "element")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    rows: int
    element: bytes
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ..., rows: _Optional[int] = ..., element: _Optional[bytes] = ...) -> None: ...

class TripleRequest(_message.Message):
    __slots__ = ("kind", "index", "count")
    KIND_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    index: int
    count: int
    def __init__(self, kind: _Optional[str] = ..., index: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class TripleOperand(_message.Message):
    __slots__ = ("index", "count", "product", "parts")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    count: int
    product: str
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., count: _Optional[int] = ..., product: _Optional[str] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class TripleProduct(_message.Message):
    __slots__ = ("index", "count", "product", "parts")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    count: int
    product: str
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., count: _Optional[int] = ..., product: _Optional[str] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MaskedShare(_message.Message):
    __slots__ = ("index", "version", "share")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    share: Tensor
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., share: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class MaskedFeatures(_message.Message):
    __slots__ = ("index", "version", "features", "projection")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    features: Tensor
    projection: Tensor
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., features: _Optional[_Union[Tensor, _Mapping]] = ..., projection: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class MaskedGradientFeatures(_message.Message):
    __slots__ = ("index", "version", "features", "share")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    features: Tensor
    share: Tensor
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., features: _Optional[_Union[Tensor, _Mapping]] = ..., share: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class MaskedGradient(_message.Message):
    __slots__ = ("index", "version", "exponent", "gradient", "feature_gradient")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    FEATURE_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    exponent: int
    gradient: Tensor
    feature_gradient: Tensor
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., exponent: _Optional[int] = ..., gradient: _Optional[_Union[Tensor, _Mapping]] = ..., feature_gradient: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class MaskedStep(_message.Message):
    __slots__ = ("index", "version", "ahead", "step", "share")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    ahead: int
    step: Tensor
    share: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., ahead: _Optional[int] = ..., step: _Optional[_Union[Tensor, _Mapping]] = ..., share: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class MaskedCheck(_message.Message):
    __slots__ = ("index", "version", "combination", "share")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COMBINATION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    combination: Tensor
    share: Tensor
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., combination: _Optional[_Union[Tensor, _Mapping]] = ..., share: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class MaskedCheckReply(_message.Message):
    __slots__ = ("index", "version", "features", "element")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    features: Tensor
    element: bytes
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., features: _Optional[_Union[Tensor, _Mapping]] = ..., element: _Optional[bytes] = ...) -> None: ...

class ShareMark(_message.Message):
    __slots__ = ("version", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MarkQuery(_message.Message):
    __slots__ = ("version", "parts", "element")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    version: int
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    element: bytes
    def __init__(self, version: _Optional[int] = ..., parts: _Optional[_Iterable[bytes]] = ..., element: _Optional[bytes] = ...) -> None: ...

class FormQuery(_message.Message):
    __slots__ = ("version", "rows", "seed", "parts", "element")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    seed: bytes
    parts: _containers.RepeatedScalarFieldContainer[bytes]
    element: bytes
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., seed: _Optional[bytes] = ..., parts: _Optional[_Iterable[bytes]] = ..., element: _Optional[bytes] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("count", "head", "record", "signature")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    count: int
    head: bytes
    record: bytes
    signature: bytes
    def __init__(self, count: _Optional[int] = ..., head: _Optional[bytes] = ..., record: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Countersignature(_message.Message):
    __slots__ = ("count", "head", "signature")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    count: int
    head: bytes
    signature: bytes
    def __init__(self, count: _Optional[int] = ..., head: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class PopulationOpen(_message.Message):
    __slots__ = ("size", "chunk", "pair", "suite")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    size: int
    chunk: int
    pair: bytes
    suite: str
    def __init__(self, size: _Optional[int] = ..., chunk: _Optional[int] = ..., pair: _Optional[bytes] = ..., suite: _Optional[str] = ...) -> None: ...

class PopulationDigests(_message.Message):
    __slots__ = ("index", "digests")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    digests: bytes
    def __init__(self, index: _Optional[int] = ..., digests: _Optional[bytes] = ...) -> None: ...

class LookupPoints(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: bytes
    def __init__(self, points: _Optional[bytes] = ...) -> None: ...

class LookupReplies(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: bytes
    def __init__(self, points: _Optional[bytes] = ...) -> None: ...

class LookupRefused(_message.Message):
    __slots__ = ("left",)
    LEFT_FIELD_NUMBER: _ClassVar[int]
    left: int
    def __init__(self, left: _Optional[int] = ...) -> None: ...

class RowsAsked(_message.Message):
    __slots__ = ("positions",)
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: bytes
    def __init__(self, positions: _Optional[bytes] = ...) -> None: ...

class RowsRefused(_message.Message):
    __slots__ = ("marks",)
    MARKS_FIELD_NUMBER: _ClassVar[int]
    marks: bytes
    def __init__(self, marks: _Optional[bytes] = ...) -> None: ...

class RequestsOver(_message.Message):
    __slots__ = ("batches",)
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    batches: int
    def __init__(self, batches: _Optional[int] = ...) -> None: ...

class PsiBuckets(_message.Message):
    __slots__ = ("buckets", "host_size", "collaborator_size", "done", "nonce")
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    HOST_SIZE_FIELD_NUMBER: _ClassVar[int]
    COLLABORATOR_SIZE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    buckets: int
    host_size: int
    collaborator_size: int
    done: int
    nonce: bytes
    def __init__(self, buckets: _Optional[int] = ..., host_size: _Optional[int] = ..., collaborator_size: _Optional[int] = ..., done: _Optional[int] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class PsiBucketsTaken(_message.Message):
    __slots__ = ("fits", "done")
    FITS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    fits: bool
    done: int
    def __init__(self, fits: _Optional[bool] = ..., done: _Optional[int] = ...) -> None: ...

class OverlapOpen(_message.Message):
    __slots__ = ("set_size", "chunk", "least", "round_to", "pair", "suite")
    SET_SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    ROUND_TO_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    set_size: int
    chunk: int
    least: int
    round_to: int
    pair: bytes
    suite: str
    def __init__(self, set_size: _Optional[int] = ..., chunk: _Optional[int] = ..., least: _Optional[int] = ..., round_to: _Optional[int] = ..., pair: _Optional[bytes] = ..., suite: _Optional[str] = ...) -> None: ...

class OverlapPoints(_message.Message):
    __slots__ = ("index", "points")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    points: bytes
    def __init__(self, index: _Optional[int] = ..., points: _Optional[bytes] = ...) -> None: ...

class OverlapDigests(_message.Message):
    __slots__ = ("index", "digests")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    digests: bytes
    def __init__(self, index: _Optional[int] = ..., digests: _Optional[bytes] = ...) -> None: ...

class OverlapSize(_message.Message):
    __slots__ = ("size",)
    SIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    def __init__(self, size: _Optional[int] = ...) -> None: ...

class SameShareQuery(_message.Message):
    __slots__ = ("version", "before", "now", "element")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    version: int
    before: _containers.RepeatedScalarFieldContainer[bytes]
    now: _containers.RepeatedScalarFieldContainer[bytes]
    element: bytes
    def __init__(self, version: _Optional[int] = ..., before: _Optional[_Iterable[bytes]] = ..., now: _Optional[_Iterable[bytes]] = ..., element: _Optional[bytes] = ...) -> None: ...
