"""What a transcript says before its first message: the terms that both parties agreed on, and who has written it.

    agreed {...}    `AgreedTerms`: the same bytes at both ends; the digest goes into both chains and every signature
    own {...}       `WriterInfo`: software and seed commitment; the digest goes into every head that the writer signs

Both are JSON on one line with sorted keys, no spaces and ASCII only. The session id does not appear: it keys the
digests of sample ids in other messages. A tag stands for it, which tells whether two runs are the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from protocols.core.envelope import MAX_ROUND, Phase
from protocols.core.errors import InvalidInput
from protocols.core.sender import Sender
from protocols.core.sentence import Sentence, say
from protocols.task.manifest import MAX_NAME, MAX_PARTIES, WITH_TERMS, Manifest
from protocols.task.resumption import POSITION_BYTES, ResumePoint, TranscriptPosition
from protocols.task.terms import Declared, PairTerms, RunLimits
from protocols.transcript.certificates import Certificate
from protocols.transcript.chain import digest_of

MAX_PARAMETERS = 10_000
_OF_A_PREDICTION = ("trained", "prediction_limit", "asked_limit")
_SAID_IF_TRUE = ("is_online", "is_overlap")
MAX_SOFTWARE = 64

T = TypeVar("T", bound="_PreambleText")


def _spelled(values: Mapping[str, object]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class _PreambleText:
    line_name: ClassVar[str]
    """What the line begins with; also tells the digests of the two apart."""
    newer: ClassVar[frozenset[str]] = frozenset()
    """Fields that older texts do not have."""

    def text(self) -> str:
        """The JSON in its one spelling."""
        return _spelled(asdict(self))

    def line(self) -> bytes:
        """The text of its line."""
        return f"{self.line_name} {self.text()}".encode()

    def digest(self) -> bytes:
        """What chains and signatures are bound to."""
        return digest_of(self.line_name, self.text().encode())

    @classmethod
    def parse(cls: type[T], text: str) -> T:
        """What a line's JSON says. Raises `InvalidInput`."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInput("not JSON") from error
        names = {each.name for each in fields(cls)}
        if not isinstance(values, dict) or not names - cls.newer <= set(values) <= names:
            raise InvalidInput(f"must have exactly the fields {', '.join(sorted(names))}")
        parsed = cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
        if parsed.text() != text:
            raise InvalidInput("not in the canonical spelling: sorted keys, no spaces, ASCII")
        return parsed

    def require(self, condition: bool, problem: str) -> None:
        """Raise `InvalidInput` unless `condition` holds."""
        if not condition:
            raise InvalidInput(problem)


def _most(ours: float, theirs: float) -> Sentence:
    """What the host says of a number, and what the collaborator allows; 0: nothing."""
    said, allowed = say("the host says {n:g}", n=ours), say("at most {n:g} allowed", n=theirs)
    if ours and theirs:
        return say("{one}; {other}", one=said, other=allowed)
    return said if ours else allowed


def _is_text(value: object, most: int = MAX_NAME, may_be_empty: bool = False) -> bool:
    return isinstance(value, str) and len(value) <= most and (value.isprintable() if value else may_be_empty)


def _is_hex(value: object, count: int) -> bool:
    return isinstance(value, str) and len(value) == 2 * count and set(value) <= set("0123456789abcdef")


def _is_digest(value: object) -> bool:
    return _is_hex(value, 32)


@dataclass(frozen=True)
class AgreedTerms(_PreambleText):
    """What host and collaborator agreed on, as the manifest says it, and who they are.

    Attributes:
        collaborator: the feature key of this transcript's collaborator; one of `collaborators`.
        is_trainable: does this collaborator receive gradients?
        projection_width: of its layer; 0 is "as wide as the features".
        manifest_digest: of the manifest that every collaborator has accepted.
        session_tag: stands for the session id.
        resumed_from, resumed_at: tag of the checkpoint to go on from, and its phase, round and batch; or empty.
        host_seam, collaborator_seam: how far each one's transcript of its conversation before goes
            (`TranscriptPosition`, hexadecimal), or empty.
        host_certificate, collaborator_certificate: PEM.
        max_rounds, max_batches, projection_lr, label_epsilon: as the host declares them (`Declared`).
        may_train: whether the host lets this collaborator be shown gradients.
        width_limit, round_limit, rate_limit, row_limit, id_limit, least_others: what this collaborator allows
            (`RunLimits`).
        is_summed: the host gets the sum of all collaborators' projections, and none by itself.
        trained: of a prediction, the digest of the manifest of the training whose result it uses.
        prediction_limit, asked_limit: of a prediction, what this collaborator allows (`RunLimits`).
        is_online: of a prediction: the session stays open, and ids come as they are asked for.
        is_overlap: nothing was trained or predicted: how many ids both have was counted.

    What comes behind the certificates is not in the text of protocol versions before 3, which said nothing of it;
    `trained` and the two limits behind it are in the text of predictions only, the last two only where they are true.
    """

    line_name: ClassVar[str] = "agreed"
    newer: ClassVar[frozenset[str]] = frozenset(
        (
            *("max_rounds", "max_batches", "projection_lr", "label_epsilon", "may_train"),
            *("width_limit", "round_limit", "rate_limit", "row_limit", "id_limit", "least_others", "is_summed"),
            *("trained", "prediction_limit", "asked_limit", "is_online", "is_overlap"),
        )
    )

    protocol_version: int
    task_id: str
    scheme: str
    scheme_parameters: str
    id_normalisation: str
    host: str
    collaborators: tuple[str, ...]
    collaborator: str
    is_trainable: bool
    has_projection: bool
    projection_width: int
    is_reproducible: bool
    manifest_digest: str
    session_tag: str
    resumed_from: str
    resumed_at: tuple[int, ...]
    host_seam: str
    collaborator_seam: str
    host_certificate: str
    collaborator_certificate: str
    max_rounds: int = 0
    max_batches: int = 0
    projection_lr: float = 0.0
    label_epsilon: float = 0.0
    may_train: bool = True
    width_limit: int = 0
    round_limit: int = 0
    rate_limit: float = 0.0
    row_limit: int = 0
    id_limit: int = 0
    least_others: int = 0
    is_summed: bool = False
    trained: str = ""
    prediction_limit: int = 0
    asked_limit: int = 0
    is_online: bool = False
    is_overlap: bool = False

    def text(self) -> str:
        """See the base."""
        values = asdict(self)
        if self.protocol_version < WITH_TERMS:
            values = {name: value for name, value in values.items() if name not in self.newer}
        left_out = [name for name in _SAID_IF_TRUE if not getattr(self, name)]
        left_out += () if self.trained else _OF_A_PREDICTION
        return _spelled({name: value for name, value in values.items() if name not in left_out})

    def __post_init__(self) -> None:
        for name in ("task_id", "scheme", "id_normalisation", "host", "collaborator"):
            self.require(_is_text(getattr(self, name)), f"{name} must be one line of text")
        self.require(
            _is_text(self.scheme_parameters, MAX_PARAMETERS, True), "scheme_parameters must be one line of text"
        )
        self.require(isinstance(self.collaborators, tuple), "collaborators must be a list")
        self.require(1 <= len(self.collaborators) <= MAX_PARTIES, f"1 to {MAX_PARTIES} collaborators")
        self.require(all(_is_text(key) for key in self.collaborators), "collaborators must be lines of text")
        self.require(self.collaborator in self.collaborators, "the collaborator must be one of the collaborators")
        for name in ("is_trainable", "has_projection", "is_reproducible", "may_train", "is_summed", *_SAID_IF_TRUE):
            self.require(type(getattr(self, name)) is bool, f"{name} must be true or false")
        self.require(type(self.protocol_version) is int and 0 < self.protocol_version < 1 << 16, "protocol_version")
        self.require(type(self.projection_width) is int and 0 <= self.projection_width < 1 << 16, "projection_width")
        self.require(_is_digest(self.manifest_digest) and _is_digest(self.session_tag), "digests have 64 hex digits")
        self.require(self.may_train or not self.is_trainable, "a bottom model is trained though may_train is false")
        _ = self.declared, self.limits
        self.require(self.trained == "" or _is_digest(self.trained), "trained: 64 hex digits")
        is_training = self.is_trainable or self.resumed_from or self.host_seam or self.collaborator_seam
        self.require(not (self.trained and is_training), "a prediction trains nothing and is not resumed")
        has_limits = self.prediction_limit or self.asked_limit
        self.require(bool(self.trained) or not has_limits, "only a prediction has such limits")
        self.require(bool(self.trained) or not self.is_online, "only a prediction is on line")
        is_other = is_training or self.trained or self.has_projection or self.is_summed
        self.require(not (self.is_overlap and is_other), "where ids are counted, nothing is trained or predicted")
        self._check_resumption()
        certificates = [self.certificate(sender) for sender in Sender]
        self.require(certificates[0].fingerprint != certificates[1].fingerprint, "the parties have one certificate")

    def _check_resumption(self) -> None:
        for sender in Sender:
            digits = self._position_digits(sender)
            is_hex = digits == "" or _is_hex(digits, POSITION_BYTES)
            self.require(is_hex, f"{sender.role}_seam: {2 * POSITION_BYTES} hex digits")
            self.last_position(sender)
        self.require(self.resumed_from == "" or _is_digest(self.resumed_from), "resumed_from: 64 hex digits")
        at = self.resumed_at
        numbers = isinstance(at, tuple) and all(type(value) is int and 0 <= value <= MAX_ROUND for value in at)
        self.require(
            numbers and len(at) == (3 if self.resumed_from else 0), "resumed_at: phase, round, batch; or empty"
        )
        if at:
            self.require(at[0] in Phase.__members__.values(), "resumed_at names no phase")
            ResumePoint(Phase(at[0]), *at[1:]).check()

    def _position_digits(self, sender: Sender) -> str:
        return self.host_seam if sender is Sender.HOST else self.collaborator_seam

    def last_position(self, sender: Sender) -> TranscriptPosition | None:
        """How far a party said its transcript of its conversation before goes; None if it had none."""
        digits = self._position_digits(sender)
        return TranscriptPosition.decode(bytes.fromhex(digits)) if digits else None

    @property
    def declared(self) -> Declared:
        """What the host says of the run. Raises `InvalidInput`."""
        return Declared(self.max_rounds, self.max_batches, self.projection_lr, self.label_epsilon)

    @property
    def limits(self) -> RunLimits:
        """What the collaborator allows at most. Raises `InvalidInput`."""
        counts = self.width_limit, self.round_limit
        of_training = *counts, self.rate_limit, self.row_limit, self.id_limit, self.least_others
        return RunLimits(*of_training, self.prediction_limit, self.asked_limit)

    @property
    def pair_terms(self) -> PairTerms:
        """What the parties hold each other to."""
        width = self.projection_width if self.has_projection else 0
        return PairTerms(self.max_rounds, width, self.limits, self.max_batches, self.is_summed)

    def for_all(self) -> dict[str, str]:
        """What the manifest says to all collaborators alike."""
        return {
            "scheme": self.scheme,
            "scheme_parameters": self.scheme_parameters,
            "host": self.host,
            "collaborators": ", ".join(self.collaborators),
            "has_projection": str(self.has_projection),
            "is_reproducible": str(self.is_reproducible),
            "max_rounds": str(self.max_rounds),
            "max_batches": str(self.max_batches),
            "projection_lr": f"{self.projection_lr:g}",
            "label_epsilon": f"{self.label_epsilon:g}",
            "is_summed": str(self.is_summed),
        }

    def for_pair(self) -> dict[str, Sentence]:
        """What holds between host and collaborator for the whole run, where anything was said."""
        declared, limits = self.declared, self.limits
        most = {
            "rounds": (declared.max_rounds, limits.rounds),
            "projection width": (self.projection_width, limits.width),
            "projection_lr": (declared.projection_lr, limits.projection_lr),
            "samples in a batch": (0, limits.rows),
            "samples in common": (0, limits.ids),
            "batches of training in a round": (declared.max_batches, 0),
            "predictions of a sample": (0, limits.predictions),
            "ids asked for in a day": (0, limits.asked_a_day),
        }
        said = {name: _most(ours, theirs) for name, (ours, theirs) in most.items() if ours or theirs}
        if self.trained:
            text = "with the result of the training whose last manifest has the digest {digest}"
            said["prediction"] = say(text, digest=self.trained)
        if self.is_online:
            said["session"] = say("on line: ids are looked up, and predicted, as they are asked for")
        if self.is_overlap:
            said["session"] = say("overlap: how many ids both hold is counted; nothing is trained or predicted")
        if self.is_summed or self.least_others:
            said["projections"] = self._projections()
        may = "may be shown to {name}, as the host decided"
        kept = "are kept from {name}, as the host decided"
        return {**said, "gradients": say(may if self.may_train else kept, name=self.collaborator)}

    def _projections(self) -> Sentence:
        names = ", ".join(self.collaborators)
        summed = say("the host gets the sum of those of {names} only", names=names)
        asks = "{name} asks for a sum with at least {n} others"
        asked = say(asks, name=self.collaborator, n=self.least_others)
        if self.is_summed and self.least_others:
            return say("{one}; {other}", one=summed, other=asked)
        return summed if self.is_summed else asked

    @property
    def resume_point(self) -> ResumePoint | None:
        """Where the task goes on; None: it starts."""
        return ResumePoint(Phase(self.resumed_at[0]), *self.resumed_at[1:]) if self.resumed_at else None

    def certificate(self, sender: Sender) -> Certificate:
        """A party's certificate. Raises `InvalidInput` unless it is one, in its canonical spelling."""
        pem = getattr(self, f"{sender.role}_certificate")
        self.require(isinstance(pem, str) and pem.isascii(), "a certificate is PEM text")
        certificate = Certificate(pem.encode())
        self.require(certificate.pem == pem.encode(), "a certificate is PEM text in its canonical spelling")
        return certificate

    def name(self, sender: Sender) -> str:
        """A party's feature key."""
        return self.host if sender is Sender.HOST else self.collaborator

    @classmethod
    def of(
        cls, manifest: Manifest, collaborator: str, last_position: bytes, host: Certificate, other: Certificate
    ) -> AgreedTerms:
        """What a manifest means for one pair of parties. `last_position`: the collaborator's, from its Hello."""
        at, limits = manifest.feature_keys.index(collaborator), manifest.limits(collaborator)
        return cls(
            protocol_version=manifest.protocol_version,
            task_id=manifest.task_id,
            scheme=manifest.scheme,
            scheme_parameters=manifest.scheme_parameters,
            id_normalisation=manifest.id_normalisation,
            host=manifest.host_feature_key,
            collaborators=manifest.feature_keys,
            collaborator=collaborator,
            is_trainable=manifest.trainable[at],
            has_projection=manifest.has_projection,
            projection_width=manifest.projection_widths[at],
            is_reproducible=manifest.is_reproducible,
            manifest_digest=manifest.digest().hex(),
            session_tag=digest_of("session", manifest.session).hex(),
            resumed_from=manifest.resumed_from.hex(),
            resumed_at=tuple(map(int, manifest.resume_point or ())),
            host_seam=manifest.seams[at].hex(),
            collaborator_seam=last_position.hex(),
            host_certificate=host.pem.decode(),
            collaborator_certificate=other.pem.decode(),
            max_rounds=manifest.max_rounds,
            max_batches=manifest.max_batches,
            projection_lr=manifest.projection_lr,
            label_epsilon=manifest.label_epsilon,
            may_train=manifest.may_train[at],
            width_limit=limits.width,
            round_limit=limits.rounds,
            rate_limit=limits.projection_lr,
            row_limit=limits.rows,
            id_limit=limits.ids,
            least_others=limits.least_others,
            is_summed=manifest.is_summed,
            trained=manifest.trained.hex(),
            prediction_limit=limits.predictions,
            asked_limit=limits.asked_a_day,
            is_online=manifest.is_online,
            is_overlap=manifest.is_overlap,
        )


@dataclass(frozen=True)
class WriterInfo(_PreambleText):
    """What the writer of a transcript says of itself.

    Attributes:
        writer: "host" or "collaborator".
        software: versions by name.
        seed_commitment: of a reproducible run, in hexadecimal, or empty.
    """

    line_name: ClassVar[str] = "own"

    writer: str
    software: Mapping[str, str] = field(default_factory=dict)
    seed_commitment: str = ""

    def __post_init__(self) -> None:
        self.require(self.writer in [sender.role for sender in Sender], "writer must be host or collaborator")
        self.require(
            isinstance(self.software, dict) and len(self.software) <= MAX_SOFTWARE, "software must be an object"
        )
        known: dict[Any, Any] = dict(self.software)
        self.require(all(_is_text(text) for pair in known.items() for text in pair), "software must be lines of text")
        self.require(self.seed_commitment == "" or _is_digest(self.seed_commitment), "seed_commitment: 64 hex digits")

    @property
    def sender(self) -> Sender:
        """The writer."""
        return Sender[self.writer.upper()]
