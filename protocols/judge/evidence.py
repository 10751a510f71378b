"""What is certain before anything is computed: messages that both parties have signed, and openings that fit them.

A transcript gives digests, each under the signatures of its sender and of its receiver, whoever kept the file. Without
the receiver's, a sender could sign one message for the peer and another one for the judge. An opening counts if its
party has signed it, if every message in it has the digest that both signed, and if its seeds, shares and key are those
that the party had committed to. So an accuser can add nothing to what the other said or heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

import numpy as np

from protocols.core.envelope import Envelope, Phase, Place
from protocols.core.errors import PeerViolation, VerificationFailed
from protocols.core.message import Array, Message
from protocols.core.randomness import SEED_BYTES
from protocols.core.sender import Sender
from protocols.he.interface import RING_BITS
from protocols.judge.opening import InvalidOpening, Note, Opening, Unsupported
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import FeatureShape, SecretsCommitment
from protocols.layer.secrets import LayerSecrets, state_bytes, state_digest
from protocols.transcript.chain import digest_of
from protocols.transcript.file_auditor import FileAuditor
from protocols.transcript.format import Entry
from protocols.transcript.preamble import AgreedTerms
from protocols.wire.codec import Catalogue, decode

M = TypeVar("M", bound=Message)

ROUNDS = (Phase.TRAIN, Phase.TEST)


@dataclass(frozen=True)
class Conversation:
    """One conversation, from one or both ends' transcripts.

    Attributes:
        terms: what was agreed on.
        entries: every message that both have signed for, by sender and sequence.
    """

    terms: AgreedTerms
    entries: dict[tuple[Sender, int], Entry]


def read_conversations(transcripts: Iterable[tuple[str, Iterable[bytes]]]) -> dict[bytes, Conversation]:
    """Those of these files (name, lines), by the digest of their terms. What is not signed is left out."""
    found: dict[bytes, Conversation] = {}
    for name, lines in transcripts:
        auditor, entries, listed = FileAuditor(name), list[Entry](), dict.fromkeys(Sender, 0)
        for line in lines:
            fed = auditor.feed(line)
            if fed is None or fed[0].overtook:
                continue
            # What is signed is the chain of the lines: one further down that takes an earlier number is not in it.
            if fed[0].sequence == listed[fed[0].sender]:
                entries.append(fed[0])
            listed[fed[0].sender] += 1
        if auditor.terms is None:
            continue
        covered = auditor.signatures.covered
        kept = {(each.sender, each.sequence): each for each in entries if each.sequence < covered[each.sender]}
        terms = auditor.terms
        found.setdefault(terms.digest(), Conversation(terms, {})).entries.update(kept)
    return found


@dataclass(frozen=True)
class Said:
    """A message whose bytes are known, and which both have signed for."""

    sender: Sender
    sequence: int
    envelope: Envelope

    @property
    def message(self) -> Message:
        """What it says."""
        return self.envelope.message

    @property
    def place(self) -> Place:
        """Where it belongs."""
        return Place(self.envelope.phase, self.envelope.round, self.envelope.batch)


def messages_of(opening: Opening, conversation: Conversation, catalogue: Catalogue) -> list[Said]:
    """What an opening shows of what was said. Messages that not both have signed for are left out.

    Raises:
        InvalidOpening: a message is not the one that was signed.
    """
    said = []
    for sender, data in opening.messages:
        try:
            envelope = decode(data, catalogue)
        except PeerViolation as error:
            raise InvalidOpening(f"a message of the {sender.role} cannot be read: {error}") from error
        entry = conversation.entries.get((sender, envelope.sequence))
        if entry is None:
            continue
        if entry.digest != sha256(data).hexdigest().encode():
            raise InvalidOpening(f"{entry} is not the message that both have signed for")
        said.append(Said(sender, envelope.sequence, envelope))
    return said


def check_signature(opening: Opening, terms: AgreedTerms) -> None:
    """Raise `InvalidOpening` unless the party that the opening is said to be of has signed it."""
    try:
        terms.certificate(opening.sender).verify(opening.statement, opening.signature)
    except VerificationFailed as error:
        raise InvalidOpening(f"the {opening.sender.role} of this conversation has not signed it") from error


# What a party has opened ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A side's share and noise at one moment. share [o * d] uint64."""

    share: Array = field(repr=False)
    version: int
    noise_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Facts:
    """What a party says it computed from.

    Attributes:
        session: of the conversation.
        seeds, states: by round; 0 is the set-up.
        key: the secret key of its session; empty if it is not there.
        features: of the round's batches, in order, [B, d].
        gradients: by the version that they step from, [B, o] and the learning rate.
        next_salt: of its commitment to the next round; empty if it is not there.
    """

    session: bytes = field(repr=False)
    seeds: dict[int, bytes] = field(repr=False)
    states: dict[int, State] = field(repr=False)
    key: bytes = field(repr=False)
    features: tuple[Array, ...] = field(repr=False)
    gradients: Mapping[int, tuple[Array, float]] = field(repr=False)
    next_salt: bytes = field(repr=False)


def facts_of(opening: Opening) -> Facts:
    """From its notes. Raises `InvalidOpening`; nothing is compared with commitments yet."""
    session, key, salt, number = b"", b"", b"", -1
    seeds, states = dict[int, bytes](), dict[int, State]()
    features, gradients = [], dict[int, tuple[Array, float]]()
    for note in opening.notes:
        if note.name == "secrets":
            number = int(_array(note, "round", np.int64, 1, 1)[0])
            session, seeds[number] = _bytes(note, "session", 32), _bytes(note, "seed", SEED_BYTES)
        elif note.name == "state":
            version = int(_array(note, "version", np.int64, 1, 1)[0])
            if version < 0:
                raise InvalidOpening("a state has a version below 0")
            states[number] = State(_array(note, "share", np.uint64, 2), version, _bytes(note, "noise_key", SEED_BYTES))
        elif note.name == "key":
            key = _bytes(note, "secret")
        elif note.name == "next":
            salt = _bytes(note, "salt", SEED_BYTES)
        elif note.name == "features":
            features.append(_array(note, "features", np.float32, 2))
        elif note.name == "gradient":
            rate = float(_array(note, "learning_rate", np.float64, 1, 1)[0])
            version = int(_array(note, "version", np.int64, 1, 1)[0])
            gradients[version] = (_array(note, "dz", np.float32, 2), rate)
    return Facts(session, seeds, states, key, tuple(features), gradients, salt)


def _array(note: Note, name: str, dtype: type, dimensions: int, size: int | None = None) -> Array:
    value = note.arrays.get(name)
    if value is None or value.dtype != dtype or value.ndim != dimensions or (size is not None and value.size != size):
        raise InvalidOpening(f"the note {note.name!r} has no such {name} as it should")
    return value


def _bytes(note: Note, name: str, size: int | None = None) -> bytes:
    return _array(note, name, np.uint8, 1, size).tobytes()


def check_commitments(
    facts: Facts, said: Sequence[Said], spec: LayerSpec, sender: Sender, terms: AgreedTerms, judged: int
) -> None:
    """Raise `InvalidOpening` unless every seed and state is what the party had committed to, each in its round.

    Args:
        facts: of one opening.
        said: all messages that are known.
        spec: the layer, with the session that was opened.
        sender: whose opening it is.
        terms: of the conversation.
        judged: the round.

    Raises:
        Unsupported: the commitments are not there.
    """
    if digest_of("session", facts.session).hex() != terms.session_tag:
        raise InvalidOpening("it is of another session")
    made = {each.place.round: each.message for each in said if each.sender is sender and is_commitment(each)}
    for number in {0, *facts.seeds, *(made.keys() & {judged})}:
        commitment, seed = made.get(number), facts.seeds.get(number)
        if seed is None or (number and number not in facts.states):
            raise InvalidOpening(f"it does not open the commitment of round {number}")
        if not isinstance(commitment, SecretsCommitment):
            raise Unsupported(f"the commitment of round {number} is not there, or not both have signed for it")
        secrets = LayerSecrets(spec, sender.role, seed, number)
        if secrets.seed_digest() != commitment.secrets:
            raise InvalidOpening(f"the seed of round {number} is not the one that was committed to")
        state = facts.states.get(number)
        if state is not None:
            _check_share(state, spec)
        if state is not None and state_digest(secrets.salt, held(state)) != commitment.state:
            raise InvalidOpening(f"the share at the start of round {number} is not the one that was committed to")


def _check_share(state: State, spec: LayerSpec) -> None:
    if state.share.shape != (spec.width_out, spec.width_in) or int(state.share.max()) >> RING_BITS:
        raise InvalidOpening(f"a share is [{spec.width_out}, {spec.width_in}], of elements below 2^{RING_BITS}")


def held(state: State) -> bytes:
    """A state as it is committed to."""
    return state_bytes(state.version, state.noise_key, state.share)


def is_commitment(said: Said) -> bool:
    """Whether it is a `SecretsCommitment`."""
    return isinstance(said.message, SecretsCommitment)


def width_of(conversation: Conversation, states: Iterable[State]) -> int:
    """d, the columns of the features: as the collaborator announced, or, in a resumed conversation, as a share has it.

    Raises:
        Unsupported: nothing says.
    """
    for entry in conversation.entries.values():
        if entry.type == FeatureShape.__name__ and entry.sender is Sender.COLLABORATOR:
            return entry.recorded[1]
    for state in states:
        return max(1, int(state.share.shape[1]))
    raise Unsupported("nothing says how wide the features are")


def mergeable(said: Iterable[Said], wanted: Iterable[Said]) -> list[Said]:
    """All of these once, in the order in which each sender sent them."""
    unique = {(each.sender.value, each.sequence): each for each in (*said, *wanted)}
    return [unique[at] for at in sorted(unique)]
