"""What the parties agree on: their introductions, the plan, and the name of the session.

The conversation that these belong to: protocols/task/agreement.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from functools import lru_cache

from protocols.core.envelope import MAX_ROUND, Phase
from protocols.core.errors import InvalidInput
from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes, between
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.psi.buckets import bucketing_domain
from protocols.psi.encode import pair_id
from protocols.task.manifest_checks import check_positions, check_terms
from protocols.task.resumption import MAX_OFFERED, POSITION_BYTES, TAG_BYTES, ResumePoint
from protocols.task.terms import FINGERPRINT_BYTES, Declared, PairTerms, RunLimits
from protocols.wire.sizes import data, number

PROTOCOL_VERSION = 3
NONCE_BYTES = 32
TRAINED_BYTES = 32
MAX_NAME = 100
MAX_PARTIES = 256
SESSION_BYTES = 32

_SEAM, _NO_SEAM = 1 + data(POSITION_BYTES), 3
"""Bytes in a list: two of tag, and the length also of an empty one."""

_DOUBLE = 1 + 8
"""Bytes of a double that is not 0."""

SUM_KEY = "sum"
"""Under which the host's user finds the sum of all projections, where there is one: no party may be called so there."""

WITH_TERMS = 3
"""The first version whose manifests say what holds for the whole run."""


def _beyond(value: int) -> int:
    """Bytes of an integer field whose number is beyond 15: its tag has two."""
    return number(value) + 1 if value else 0


@lru_cache(256)
def _text(value: str) -> int:
    return data(len(value.encode()))


def _hello_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
    agreed, (is_resuming, checkpoints) = task.agreed, recorded
    if checkpoints > MAX_OFFERED or is_resuming > 1:
        raise InvalidInput(f"more than {MAX_OFFERED} checkpoints are offered")
    if (checkpoints or agreed.collaborator_seam) and not is_resuming:
        raise InvalidInput("only a resumed task has a past")
    past = 2 * is_resuming + checkpoints * data(TAG_BYTES) + data(len(agreed.collaborator_seam) // 2)
    texts = sum(map(_text, (agreed.task_id, agreed.collaborator, agreed.scheme)))
    flags = 2 * agreed.is_trainable + 2 * agreed.is_reproducible
    size = number(agreed.protocol_version) + texts + flags + data(NONCE_BYTES) + past
    size += sum(map(number, (agreed.width_limit, agreed.round_limit, agreed.row_limit, agreed.id_limit)))
    size += _DOUBLE if agreed.rate_limit else 0
    size += _beyond(agreed.least_others)
    # What only predictions have: the fields' tags have two bytes.
    asked = data(len(agreed.trained) // 2), number(agreed.prediction_limit), number(agreed.asked_limit)
    size += sum(field + 1 for field in asked if field) + 3 * agreed.is_overlap
    return size, size


def _manifest_bounds(task: TaskSizes, sender: Sender, recorded: Recorded) -> Range:
    """Within the range of what is not in the transcript: the widths, of one to three bytes each, and others' seams."""
    agreed = task.agreed
    names = (agreed.task_id, agreed.scheme, agreed.scheme_parameters, agreed.id_normalisation, agreed.host)
    count = len(agreed.collaborators)
    size = number(agreed.protocol_version) + sum(map(_text, (*names, *agreed.collaborators)))
    size += data(SESSION_BYTES) + (count + 1) * data(NONCE_BYTES) + data(count) + 9
    size += 2 * agreed.has_projection + 2 * agreed.is_reproducible
    # These fields' numbers are beyond 15: their tags have two bytes.
    past = data(len(agreed.resumed_from) // 2)
    size += (past + 1 if past else 0) + sum(map(_beyond, agreed.resumed_at))
    size += _SEAM if agreed.host_seam else _NO_SEAM
    others = count - 1
    low, high = size + data(count) + others * _NO_SEAM, size + data(3 * count) + others * _SEAM
    if agreed.protocol_version >= WITH_TERMS:
        terms = _terms_bounds(count)
        low, high = low + terms[0] + _beyond(agreed.is_summed), high + terms[1] + _beyond(agreed.is_summed)
    if agreed.trained:
        said = 1 + data(TRAINED_BYTES) + 3 * agreed.is_online
        low, high = low + said + 2 * (1 + data(count)), high + said + 2 * (1 + data(5 * count))
    return low + 3 * agreed.is_overlap, high + 3 * agreed.is_overlap


def _terms_bounds(count: int) -> Range:
    """Of the fields that version 3 has brought; all their numbers have tags of two bytes."""
    fixed = (1 + count) * (1 + data(FINGERPRINT_BYTES)) + 1 + data(count) + 1 + data(8 * count)
    declared = (2 + 5) + (2 + 6) + 2 * (2 + 8)
    counts = 5 * (1 + data(count)), 4 * (1 + data(5 * count)) + 1 + data(2 * count)
    return fixed + counts[0], fixed + counts[1] + declared


@wire(
    17,
    ledger=public(
        "the peer's feature key, scheme, whether its model is trained and what it allows at most; after an "
        "interruption also its "
        "checkpoints' tags and how far its last conversation went",
        is_fresh=True,
    ),
    recorded=("is_resuming", "checkpoints"),
    record=lambda message: (int(message.is_resuming), len(message.checkpoints)),
    bounds=_hello_bounds,
)
@dataclass(frozen=True)
class Hello(Message):
    """A collaborator introduces itself and says which scheme it is willing to run.

    Attributes:
        is_resuming: it goes on with an interrupted task, or began it in a conversation that broke.
        checkpoints: tags of those it has, the newest first.
        seam: how far its last conversation with this host went (`TranscriptPosition`), or empty.
        width_limit, round_limit, rate_limit, row_limit, id_limit, least_others: see `RunLimits`.
        trained: of a prediction, which training's result it uses: the digest of the manifest of that training's last
            conversation. Empty: the task is to be trained.
        prediction_limit, asked_limit: of a prediction, `RunLimits.predictions` and `asked_a_day`.
        is_overlap: nothing is trained or predicted: how many ids both have is counted (protocols/overlap/).
    """

    protocol_version: Uint32
    task_id: str
    feature_key: str
    scheme: str
    is_feature_trainable: bool
    is_reproducible: bool
    nonce: bytes = field(repr=False)
    is_resuming: bool = False
    checkpoints: tuple[bytes, ...] = ()
    seam: bytes = b""
    width_limit: Uint32 = 0
    round_limit: Uint32 = 0
    rate_limit: float = 0.0
    row_limit: Uint32 = 0
    id_limit: Uint32 = 0
    least_others: Uint32 = 0
    trained: bytes = field(default=b"", repr=False)
    prediction_limit: Uint32 = 0
    asked_limit: Uint32 = 0
    is_overlap: bool = False

    def __post_init__(self) -> None:
        self.require_int("protocol_version", 1, (1 << 16) - 1)
        for name in ("task_id", "feature_key", "scheme"):
            self.require_text(name, MAX_NAME)
        self.require_bytes("nonce", NONCE_BYTES)
        self.require(len(self.checkpoints) <= MAX_OFFERED, f"at most {MAX_OFFERED} checkpoints")
        self.require(len(set(self.checkpoints)) == len(self.checkpoints), "checkpoints must differ")
        tags_fit = all(isinstance(tag, bytes) and len(tag) == TAG_BYTES for tag in self.checkpoints)
        self.require(tags_fit, f"tags have {TAG_BYTES} bytes")
        self.require(self.is_resuming or not (self.checkpoints or self.seam), "only a resumed task has a past")
        self.require_bytes("seam", POSITION_BYTES if self.seam else 0)
        check_positions(self, (self.seam,))
        check_terms(self, lambda: self.limits)
        self.require_bytes("trained", TRAINED_BYTES if self.trained else 0)
        is_training_only = self.is_resuming or self.is_feature_trainable
        self.require(not (self.trained and is_training_only), "a prediction trains nothing and is not resumed")
        is_other = is_training_only or self.trained
        self.require(not (self.is_overlap and is_other), "where ids are counted, nothing is trained or predicted")
        self.require(
            bool(self.trained) or not (self.prediction_limit or self.asked_limit), "only a prediction has such limits"
        )

    @property
    def limits(self) -> RunLimits:
        """What this collaborator allows at most."""
        counts = self.width_limit, self.round_limit
        of_training = *counts, self.rate_limit, self.row_limit, self.id_limit, self.least_others
        return RunLimits(*of_training, self.prediction_limit, self.asked_limit)


@wire(
    18,
    ledger=public(
        "the parties' feature keys and certificates, the scheme and its parameters, what holds for the whole "
        "run; after an interruption also how many messages the host had exchanged with each collaborator"
    ),
    bounds=_manifest_bounds,
)
@dataclass(frozen=True)
class Manifest(Message):
    """What is about to run. Per-collaborator tuples are in the order of `feature_keys`.

    Attributes:
        resumed_from: tag of the checkpoint to go on from, or empty: from the beginning.
        resumed_phase, resumed_round, resumed_batch: its `ResumePoint`, or zeros.
        seams: how far the host's last conversation with each collaborator went (`TranscriptPosition`), or empty.
        max_rounds, max_batches, projection_lr, label_epsilon: see `Declared`.
        may_train: who may be shown gradients, as the host decides.
        host_fingerprint, fingerprints: SHA-256 of the certificates (DER) of the host and of each collaborator.
        width_limits, round_limits, rate_limits, row_limits, id_limits, least_others: what each allows, as its Hello
            says.
        is_summed: the host gets the sum of all collaborators' projections, and none by itself.
        trained: see `Hello`; all parties of a prediction have the same.
        prediction_limits, asked_limits: of a prediction, as each Hello says; empty in a training.
        is_online: of a prediction: the session stays open, and ids come as they are asked for.
        is_overlap: see `Hello`.
    """

    protocol_version: Uint32
    task_id: str
    session: bytes = field(repr=False)
    scheme: str
    scheme_parameters: str
    id_normalisation: str
    host_feature_key: str
    host_nonce: bytes = field(repr=False)
    feature_keys: tuple[str, ...]
    nonces: tuple[bytes, ...] = field(repr=False)
    trainable: tuple[bool, ...]
    projection_widths: tuple[Uint32, ...]
    has_projection: bool
    is_reproducible: bool
    calculation_timeout: float
    resumed_from: bytes
    resumed_phase: Uint32
    resumed_round: Uint32
    resumed_batch: Uint64
    seams: tuple[bytes, ...]
    max_rounds: Uint32
    max_batches: Uint64
    projection_lr: float
    label_epsilon: float
    may_train: tuple[bool, ...]
    host_fingerprint: bytes
    fingerprints: tuple[bytes, ...]
    width_limits: tuple[Uint32, ...]
    round_limits: tuple[Uint32, ...]
    rate_limits: tuple[float, ...]
    row_limits: tuple[Uint32, ...]
    id_limits: tuple[Uint32, ...]
    least_others: tuple[Uint32, ...]
    is_summed: bool
    trained: bytes = field(default=b"", repr=False)
    prediction_limits: tuple[Uint32, ...] = ()
    asked_limits: tuple[Uint32, ...] = ()
    is_online: bool = False
    is_overlap: bool = False

    def __post_init__(self) -> None:
        self.require_int("protocol_version", 1, (1 << 16) - 1)
        for name in ("task_id", "scheme", "id_normalisation", "host_feature_key"):
            self.require_text(name, MAX_NAME)
        self.require_text("scheme_parameters", 10_000, allow_empty=True)
        self.require_bytes("session", 32)
        self.require_bytes("host_nonce", NONCE_BYTES)
        count = len(self.feature_keys)
        self.require(1 <= count <= MAX_PARTIES, f"1 to {MAX_PARTIES} collaborators, not {count}")
        lengths = {len(getattr(self, name)) for name in _PER_COLLABORATOR}
        self.require(lengths == {count}, "per-collaborator fields must have one entry each")
        keys = (self.host_feature_key, *self.feature_keys)
        self.require(len(set(keys)) == len(keys), "feature keys must differ")
        self.require(all(0 < len(key) <= MAX_NAME and key.isprintable() for key in keys), "feature keys must be text")
        self.require(all(len(nonce) == NONCE_BYTES for nonce in self.nonces), f"nonces have {NONCE_BYTES} bytes")
        self.require(all(0 <= width < 1 << 16 for width in self.projection_widths), "projection widths out of range")
        self.require(0 < self.calculation_timeout < 1e7, "calculation_timeout must be between 0 and 1e7 seconds")
        self.require(
            all(len(seam) in (0, POSITION_BYTES) for seam in self.seams), f"seams have {POSITION_BYTES} bytes or none"
        )
        check_positions(self, self.seams)
        self.require_bytes("resumed_from", TAG_BYTES if self.resumed_from else 0)
        for name, high in (("resumed_phase", max(Phase)), ("resumed_round", MAX_ROUND), ("resumed_batch", MAX_ROUND)):
            self.require_int(name, 0, high)
        if self.resumed_from:
            self.require(self.resumed_phase > 0, "a checkpoint is of some phase")
            ResumePoint(Phase(self.resumed_phase), self.resumed_round, self.resumed_batch).check()
        else:
            place = (self.resumed_phase, self.resumed_round, self.resumed_batch)
            self.require(place == (0, 0, 0), "a task that starts at its beginning has no place to go on from")
        self._check_prediction()  # first: terms are read by these lengths
        self._check_overlap()
        self._check_terms()

    def _check_prediction(self) -> None:
        self.require_bytes("trained", TRAINED_BYTES if self.trained else 0)
        count = len(self.feature_keys) if self.trained else 0
        both = len(self.prediction_limits), len(self.asked_limits)
        self.require(both == (count, count), "a prediction has one entry of such limits for each, a training none")
        fits = type(self.is_online) is bool and (bool(self.trained) or not self.is_online)
        self.require(fits, "is_online must be true or false, and only a prediction is on line")
        is_training = self.resumed_from or any(self.trainable) or any(self.seams)
        self.require(not (self.trained and is_training), "a prediction trains nothing and is not resumed")

    def _check_overlap(self) -> None:
        is_other = self.trained or self.resumed_from or any(self.trainable) or any(self.seams) or self.has_projection
        fits = type(self.is_overlap) is bool and not (self.is_overlap and (is_other or self.is_summed))
        self.require(fits, "is_overlap must be true or false, and where it is, nothing is trained or predicted")

    @property
    def is_prediction(self) -> bool:
        """Whether the parties predict with what they have trained, and train nothing."""
        return bool(self.trained)

    def _check_terms(self) -> None:
        certificates = (self.host_fingerprint, *self.fingerprints)
        self.require(
            all(isinstance(each, bytes) and len(each) == FINGERPRINT_BYTES for each in certificates),
            f"fingerprints have {FINGERPRINT_BYTES} bytes",
        )
        self.require(len(set(certificates)) == len(certificates), "two parties have one certificate")
        allowed = all(may for may, is_trained in zip(self.may_train, self.trainable) if is_trained)
        self.require(allowed, "a bottom model is trained though the host does not let it (may_train)")
        check_terms(self, lambda: (self.declared, *map(self.limits, self.feature_keys)))
        self._check_sum()

    def _check_sum(self) -> None:
        """That there can be a sum, if there is to be one."""
        self.require(type(self.is_summed) is bool, "is_summed must be true or false")
        if not self.is_summed:
            return
        self.require(len(self.feature_keys) > 1, "a sum is of two collaborators or more")
        self.require(self.is_prediction or all(self.trainable), "in a sum all bottom models are trained")
        fits = self.has_projection and len(set(self.projection_widths)) == 1
        self.require(fits, "in a sum all projections have one width")
        self.require(SUM_KEY not in (self.host_feature_key, *self.feature_keys), f"a party is called {SUM_KEY!r}")

    def pair_terms(self, feature_key: str) -> PairTerms:
        """What host and collaborator hold each other to."""
        width = self.projection_widths[self.feature_keys.index(feature_key)] if self.has_projection else 0
        return PairTerms(self.max_rounds, width, self.limits(feature_key), self.max_batches, self.is_summed)

    @property
    def others_in_sum(self) -> int:
        """How many other collaborators' projections are in the sum with one; 0: there is no sum."""
        return len(self.feature_keys) - 1 if self.is_summed else 0

    def pair(self, feature_key: str) -> bytes:
        """What stands for this session of the host and a collaborator in their PSI."""
        return pair_id(self.session, self.host_fingerprint, self.fingerprints[self.feature_keys.index(feature_key)])

    @property
    def bucketing(self) -> bytes:
        """What stands for the task and all its parties where sets are cut into buckets; the same in every session."""
        return bucketing_domain(self.task_id, (self.host_fingerprint, *self.fingerprints))

    @property
    def declared(self) -> Declared:
        """What the host says of the run."""
        return Declared(self.max_rounds, self.max_batches, self.projection_lr, self.label_epsilon)

    def limits(self, feature_key: str) -> RunLimits:
        """What a collaborator allows at most."""
        at = self.feature_keys.index(feature_key)
        counts = self.width_limits[at], self.round_limits[at]
        of_training = *counts, self.rate_limits[at], self.row_limits[at], self.id_limits[at], self.least_others[at]
        if not self.trained:
            return RunLimits(*of_training)
        return RunLimits(*of_training, self.prediction_limits[at], self.asked_limits[at])

    @property
    def resume_point(self) -> ResumePoint | None:
        """Where the task goes on; None: it starts."""
        if not self.resumed_from:
            return None
        return ResumePoint(Phase(self.resumed_phase), self.resumed_round, self.resumed_batch)

    def digest(self) -> bytes:
        """SHA-256 over every field, length-prefixed, in the order of the fields; and the last two where true."""
        state = hashlib.sha256(b"secure-hfl manifest v3")
        for each in fields(self):
            if each.name in _SAID_IF_TRUE and not getattr(self, each.name):
                continue
            value = getattr(self, each.name)
            for item in (len(value), *value) if isinstance(value, tuple) else (value,):
                data = item if isinstance(item, bytes) else repr(item).encode()
                state.update(len(data).to_bytes(8, "big") + data)
        return state.digest()


_SAID_IF_TRUE = ("is_online", "is_overlap")

_PER_COLLABORATOR = (
    *("nonces", "trainable", "projection_widths", "seams", "may_train", "fingerprints"),
    *("width_limits", "round_limits", "rate_limits", "row_limits", "id_limits", "least_others"),
)


@wire(19, ledger=public(""), bounds=between(data(32), data(32)))
@dataclass(frozen=True)
class ManifestAccepted(Message):
    """A collaborator runs what the manifest says."""

    digest: bytes

    def __post_init__(self) -> None:
        self.require_bytes("digest", 32)
