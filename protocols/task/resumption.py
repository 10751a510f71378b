"""Going on after an interruption, from the newest checkpoint that every party has.

    collaborator                                          host
    Hello(..., is_resuming, checkpoints, seam)  ------->  the newest of its own that all have
                                                <-------  Manifest(..., resumed_from, resumed_at, seams)
    ManifestAccepted                            ------->
    PSI, ALIGN, SETUP                                     PSI and ALIGN only if the checkpoint is before them
    set-up: fresh keys, then the shares as they were      protocols/layer/
    TRAIN, TEST, ...                                      from the checkpoint's batch on

A resumed conversation is a new one in all but its numbers: fresh nonces give a new session, encryption keys are fresh,
one-time masks that were made before are thrown away on both sides, and so is every stream of randomness. Weights,
shares of weights and the intersection are what it takes over. The smoothing noise of the weights' version at the
checkpoint keeps its key (the same question gets the same answer); later versions have a fresh one, because training
may take another path and two answers under one noise would give away their difference.

A checkpoint's tag hashes the session and the place at which it was made, so parties that name the same tag stopped at
the same place of the same conversation. A `TranscriptPosition` says how far each party's transcript of the interrupted
conversation goes: the two are bound into the new one's signatures (protocols/transcript/).

**Leaks** which checkpoints a party has, and how far its last conversation went: both parties saw them happen. The
manifest shows all collaborators how many messages the host had exchanged with each of them, and heads of the
chains of digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput, WrongSession
from protocols.core.sentence import say

TAG_BYTES = 32
MAX_OFFERED = 2
"""A party keeps so many checkpoints."""

POSITION_BYTES = 2 * 8 + 3 * 32
MAX_COUNT = (1 << 63) - 1


class ResumePoint(NamedTuple):
    """What is behind: a whole phase (PSI, SETUP), a whole round (batch 0), or so many batches of a training round."""

    phase: Phase
    round: int = 0
    batch: int = 0

    def check(self) -> None:
        """Raise `InvalidInput` unless checkpoints are made at such a place."""
        phase, number, batch = self
        is_round = phase in (Phase.TRAIN, Phase.TEST)
        fits = number > 0 if is_round else phase in (Phase.PSI, Phase.SETUP) and not number
        if not fits or batch < 0 or (batch and phase is not Phase.TRAIN):
            raise InvalidInput(f"there are no checkpoints in phase {phase.name} round {number}, batch {batch}")

    @property
    def is_set_up(self) -> bool:
        """Whether the projection layers exist there."""
        return self.phase is not Phase.PSI

    @property
    def trained_rounds(self) -> int:
        """How many rounds of training are over there."""
        return self.round - (self.phase is Phase.TRAIN and self.batch > 0)

    def __str__(self) -> str:
        phase, number, batch = self
        if phase is Phase.TRAIN and batch:
            return say("batch {batch} of training round {number}", batch=batch, number=number)
        if phase is Phase.PSI:
            return say("the end of the intersection")
        if phase is Phase.SETUP:
            return say("the end of the set-up")
        text = "the end of training round {number}" if phase is Phase.TRAIN else "the end of test round {number}"
        return say(text, number=number)


def checkpoint_tag(session: bytes, point: ResumePoint) -> bytes:
    """What a checkpoint made at this place of this session is called by everyone."""
    place = b"%d %d %d" % (point.phase, point.round, point.batch)
    return hashlib.sha256(b"secure-hfl checkpoint v1\n" + session + place).digest()


def newest_common(
    own: Sequence[tuple[bytes, ResumePoint]], offers: Mapping[str, Sequence[bytes]]
) -> tuple[bytes, ResumePoint] | None:
    """The newest checkpoint that all have; None if there is none, so that the task starts at its beginning.

    That costs no training unless somebody was set up already: a host that was refuses here, and a collaborator that was
    refuses the manifest. (One that died in the moment of its first checkpoint has none, while others have.)

    Args:
        own: the host's, the newest first.
        offers: the collaborators' tags by name.

    Raises:
        WrongSession: the host has been set up, but has no checkpoint that all have.
    """
    for tag, point in own:
        if all(tag in tags for tags in offers.values()):
            return tag, point
    if not any(point.is_set_up for _, point in own):
        return None
    without = [name for name, tags in offers.items() if not tags]
    who = f"{', '.join(without)} has none" if without else "those of the others are of other places"
    raise WrongSession(
        f"no checkpoint is held by all parties: the host has {len(own)}, {who}. "
        "Start all of them without --resume to begin anew"
    )


@dataclass(frozen=True)
class TranscriptPosition:
    """How far a party's transcript of the conversation before this one goes.

    Args:
        agreement: digest of what was agreed on in that conversation.
        sent, sent_head: messages that it sent, and the head of their chain.
        received, received_head: likewise of those that it received.
    """

    agreement: bytes
    sent: int
    sent_head: bytes
    received: int
    received_head: bytes

    def __post_init__(self) -> None:
        for name in ("agreement", "sent_head", "received_head"):
            if not isinstance(getattr(self, name), bytes) or len(getattr(self, name)) != 32:
                raise InvalidInput(f"a transcript position's {name} has 32 bytes")
        for name in ("sent", "received"):
            if type(getattr(self, name)) is not int or not 0 <= getattr(self, name) <= MAX_COUNT:
                raise InvalidInput(f"a transcript position's {name} counts messages")

    def encode(self) -> bytes:
        """`POSITION_BYTES` bytes: agreement, sent, its head, received, its head; numbers big-endian."""
        counts = self.sent.to_bytes(8, "big"), self.received.to_bytes(8, "big")
        return self.agreement + counts[0] + self.sent_head + counts[1] + self.received_head

    @classmethod
    def decode(cls, data: bytes) -> TranscriptPosition:
        """Raises `InvalidInput`."""
        if len(data) != POSITION_BYTES:
            raise InvalidInput(f"a transcript position has {POSITION_BYTES} bytes, not {len(data)}")
        sent, received = int.from_bytes(data[32:40], "big"), int.from_bytes(data[72:80], "big")
        return cls(data[:32], sent, data[40:72], received, data[80:])
