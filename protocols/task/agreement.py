"""Agreement: all parties say what they are about to run before any data moves.

    collaborator k                                 host
    Hello(k, scheme, trainable, nonce)  ------->   waits for every collaborator
                                        <-------   Manifest(everyone, scheme, parameters, session)
    ManifestAccepted(digest)            ------->   goes on when all have accepted

The session id hashes the task id and one fresh nonce of every party, so no party alone can repeat a session, and
every later protocol (PSI tags, digests, pseudo-random functions) is bound to it. After an interruption the parties
agree anew, and on the checkpoint to go on from: protocols/task/resumption.py.

**Leaks** feature keys, scheme, and timeouts to every party of the task; nothing about data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from protocols.core.envelope import MAX_ROUND, Phase
from protocols.core.errors import InvalidInput, PeerViolation, VerificationFailed, WrongSession
from protocols.core.message import Message
from protocols.core.randomness import Randomness
from protocols.core.steps import Receive, Send, Steps, received
from protocols.task.resumption import MAX_OFFERED, SEAM_BYTES, TAG_BYTES, ResumePoint, Seam

PROTOCOL_VERSION = 2
NONCE_BYTES = 32
MAX_NAME = 100
MAX_PARTIES = 256
ID_NORMALISATION = "UTF-8 of NFC"


@dataclass(frozen=True)
class Hello(Message):
    """A collaborator introduces itself and says which scheme it is willing to run.

    Attributes:
        is_resuming: it goes on with an interrupted task, or began it in a conversation that broke.
        checkpoints: tags of those it has, the newest first.
        seam: how far its last conversation with this host went (`Seam`), or empty.
    """

    protocol_version: int
    task_id: str
    feature_key: str
    scheme: str
    is_feature_trainable: bool
    is_reproducible: bool
    nonce: bytes = field(repr=False)
    is_resuming: bool = False
    checkpoints: tuple[bytes, ...] = ()
    seam: bytes = b""

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
        self.require_bytes("seam", SEAM_BYTES if self.seam else 0)
        check_seams(self, (self.seam,))


@dataclass(frozen=True)
class Manifest(Message):
    """What is about to run. Per-collaborator tuples are in the order of `feature_keys`.

    Attributes:
        resumed_from: tag of the checkpoint to go on from, or empty: from the beginning.
        resumed_phase, resumed_round, resumed_batch: its `ResumePoint`, or zeros.
        seams: how far the host's last conversation with each collaborator went (`Seam`), or empty.
    """

    protocol_version: int
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
    projection_widths: tuple[int, ...]
    has_projection: bool
    is_reproducible: bool
    calculation_timeout: float
    resumed_from: bytes
    resumed_phase: int
    resumed_round: int
    resumed_batch: int
    seams: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require_int("protocol_version", 1, (1 << 16) - 1)
        for name in ("task_id", "scheme", "id_normalisation", "host_feature_key"):
            self.require_text(name, MAX_NAME)
        self.require_text("scheme_parameters", 10_000, allow_empty=True)
        self.require_bytes("session", 32)
        self.require_bytes("host_nonce", NONCE_BYTES)
        count = len(self.feature_keys)
        self.require(1 <= count <= MAX_PARTIES, f"1 to {MAX_PARTIES} collaborators, not {count}")
        lengths = {len(self.nonces), len(self.trainable), len(self.projection_widths), len(self.seams)}
        self.require(lengths == {count}, "per-collaborator fields must have one entry each")
        keys = (self.host_feature_key, *self.feature_keys)
        self.require(len(set(keys)) == len(keys), "feature keys must differ")
        self.require(all(0 < len(key) <= MAX_NAME and key.isprintable() for key in keys), "feature keys must be text")
        self.require(all(len(nonce) == NONCE_BYTES for nonce in self.nonces), f"nonces have {NONCE_BYTES} bytes")
        self.require(all(0 <= width < 1 << 16 for width in self.projection_widths), "projection widths out of range")
        self.require(0 < self.calculation_timeout < 1e7, "calculation_timeout must be between 0 and 1e7 seconds")
        self.require(all(len(seam) in (0, SEAM_BYTES) for seam in self.seams), f"seams have {SEAM_BYTES} bytes or none")
        check_seams(self, self.seams)
        self.require_bytes("resumed_from", TAG_BYTES if self.resumed_from else 0)
        for name, high in (("resumed_phase", max(Phase)), ("resumed_round", MAX_ROUND), ("resumed_batch", MAX_ROUND)):
            self.require_int(name, 0, high)
        if self.resumed_from:
            self.require(self.resumed_phase > 0, "a checkpoint is of some phase")
            ResumePoint(Phase(self.resumed_phase), self.resumed_round, self.resumed_batch).check()
        else:
            place = (self.resumed_phase, self.resumed_round, self.resumed_batch)
            self.require(place == (0, 0, 0), "a task that starts at its beginning has no place to go on from")

    @property
    def resume_point(self) -> ResumePoint | None:
        """Where the task goes on; None: it starts."""
        if not self.resumed_from:
            return None
        return ResumePoint(Phase(self.resumed_phase), self.resumed_round, self.resumed_batch)

    def digest(self) -> bytes:
        """SHA-256 over every field, length-prefixed, in the order of the fields."""
        state = hashlib.sha256(b"secure-hfl manifest v2")
        for each in fields(self):
            value = getattr(self, each.name)
            for item in (len(value), *value) if isinstance(value, tuple) else (value,):
                data = item if isinstance(item, bytes) else repr(item).encode()
                state.update(len(data).to_bytes(8, "big") + data)
        return state.digest()


def check_seams(message: Message, seams: Sequence[bytes]) -> None:
    """Raise unless each is empty or one that a transcript can hold."""
    for seam in seams:
        try:
            if seam:
                Seam.decode(seam)
        except InvalidInput as error:
            raise message.fail(str(error)) from error


@dataclass(frozen=True)
class ManifestAccepted(Message):
    """A collaborator runs what the manifest says."""

    digest: bytes

    def __post_init__(self) -> None:
        self.require_bytes("digest", 32)


def session_id(task_id: str, host_nonce: bytes, feature_keys: Sequence[str], nonces: Sequence[bytes]) -> bytes:
    """32 bytes that no party can choose alone."""
    state = hashlib.sha256(b"secure-hfl session v1" + host_nonce)
    for text, nonce in ((task_id, b""), *zip(feature_keys, nonces)):
        state.update(len(text.encode()).to_bytes(8, "big") + text.encode() + nonce)
    return state.digest()


def check_hello(hello: Hello, task_id: str, scheme: str, is_reproducible: bool, is_resuming: bool = False) -> None:
    """Raise `WrongSession` when a collaborator is about to run something else than the host."""
    who = hello.feature_key
    if hello.protocol_version != PROTOCOL_VERSION:
        raise WrongSession(
            f"protocol version: the host speaks {PROTOCOL_VERSION}, {who} speaks {hello.protocol_version}; "
            "install the same secure-hfl on both sides"
        )
    if hello.task_id != task_id:
        raise WrongSession(f"task: the host runs {task_id}, {who} runs {hello.task_id}")
    if hello.scheme != scheme:
        raise WrongSession(
            f"scheme: the host asks for {scheme!r}, {who} for {hello.scheme!r}; no data was sent. "
            "Both sides must choose the same scheme"
        )
    if hello.is_reproducible != is_reproducible:
        raise WrongSession(
            f"seed: {'only the host' if is_reproducible else 'only ' + who} runs with a seed. "
            "A reproducible run is not secret, so both sides must ask for it"
        )
    if hello.is_resuming != is_resuming:
        one, other = ("the host", who) if is_resuming else (who, "the host")
        raise WrongSession(
            f"resume: {one} goes on with an interrupted task, {other} starts it anew; nothing was lost. "
            f"Start {other} with --resume, or all parties without"
        )


class CollaboratorAgreement:
    """The collaborator's half. One-shot.

    Args:
        hello: what we say of ourselves.
        scheme_parameters: what we run the scheme with; the host must say the same.
        points: where the checkpoints that we offer were made, by tag.
    """

    def __init__(self, hello: Hello, scheme_parameters: str, points: Mapping[bytes, ResumePoint] | None = None) -> None:
        self._hello = hello
        self._scheme_parameters = scheme_parameters
        self._points = dict(points or {})

    def run(self) -> Steps[Manifest]:
        """Introduce ourselves, check the manifest, accept it.

        Raises:
            WrongSession: the manifest is for another task, scheme or session than ours.
        """
        hello = self._hello
        yield Send(hello)
        manifest = received((yield Receive(Manifest)), Manifest)
        self._check(manifest)
        yield Send(ManifestAccepted(manifest.digest()))
        return manifest

    def _check(self, manifest: Manifest) -> None:
        hello = self._hello
        ours = (
            hello.protocol_version,
            hello.task_id,
            hello.scheme,
            self._scheme_parameters,
            hello.is_reproducible,
            ID_NORMALISATION,
        )
        theirs = (
            manifest.protocol_version,
            manifest.task_id,
            manifest.scheme,
            manifest.scheme_parameters,
            manifest.is_reproducible,
            manifest.id_normalisation,
        )
        names = ("protocol version", "task", "scheme", "scheme parameters", "seed", "id normalisation")
        for name, our, their in zip(names, ours, theirs):
            if our != their:
                raise WrongSession(f"{name}: the host's manifest says {their!r}, {hello.feature_key} runs {our!r}")
        if hello.feature_key not in manifest.feature_keys:
            raise WrongSession(f"the host's manifest does not list {hello.feature_key}")
        at = manifest.feature_keys.index(hello.feature_key)
        if manifest.nonces[at] != hello.nonce or manifest.trainable[at] != hello.is_feature_trainable:
            raise WrongSession(f"the host's manifest misquotes the hello of {hello.feature_key}")
        expected = session_id(manifest.task_id, manifest.host_nonce, manifest.feature_keys, manifest.nonces)
        if manifest.session != expected:
            raise VerificationFailed("the host's manifest has a session id that its own nonces do not give")
        self._check_resumption(manifest)

    def _check_resumption(self, manifest: Manifest) -> None:
        point = manifest.resume_point
        if point is None:
            if any(each.is_set_up for each in self._points.values()):
                raise WrongSession("the host begins anew, but we have checkpoints of its training to go on from")
        elif self._points.get(manifest.resumed_from) != point:
            raise WrongSession(f"the host goes on from {point}, which is not a checkpoint that we offered")


def make_manifest(
    hellos: Sequence[Hello],
    host_feature_key: str,
    scheme_parameters: str,
    projection_widths: Sequence[int] | None,
    calculation_timeout: float,
    randomness: Randomness,
    resumed: tuple[bytes, ResumePoint] | None = None,
    seams: Sequence[bytes] = (),
) -> Manifest:
    """The host's manifest over checked hellos.

    Args:
        hellos: in the order that all per-collaborator fields have.
        projection_widths: 0 is "as wide as the features"; None: no layer.
        resumed: the checkpoint to go on from; None: from the beginning.
        seams: the host's, if there was a conversation before.
    """
    keys = tuple(hello.feature_key for hello in hellos)
    if len(set(keys)) != len(keys) or host_feature_key in keys:
        raise PeerViolation(f"two parties use the same feature_key among: {host_feature_key}, {', '.join(keys)}")
    nonce = randomness.bytes(NONCE_BYTES)
    nonces = tuple(hello.nonce for hello in hellos)
    task_id = hellos[0].task_id
    return Manifest(
        protocol_version=PROTOCOL_VERSION,
        task_id=task_id,
        session=session_id(task_id, nonce, keys, nonces),
        scheme=hellos[0].scheme,
        scheme_parameters=scheme_parameters,
        id_normalisation=ID_NORMALISATION,
        host_feature_key=host_feature_key,
        host_nonce=nonce,
        feature_keys=keys,
        nonces=nonces,
        trainable=tuple(hello.is_feature_trainable for hello in hellos),
        projection_widths=tuple(projection_widths or (0,) * len(keys)),
        has_projection=projection_widths is not None,
        is_reproducible=hellos[0].is_reproducible,
        calculation_timeout=calculation_timeout,
        resumed_from=resumed[0] if resumed else b"",
        resumed_phase=int(resumed[1].phase) if resumed else 0,
        resumed_round=resumed[1].round if resumed else 0,
        resumed_batch=resumed[1].batch if resumed else 0,
        seams=tuple(seams) or (b"",) * len(keys),
    )
