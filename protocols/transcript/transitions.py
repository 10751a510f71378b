"""Which message may follow which in a whole task: for each sender, scheme and lane. The auditor goes by these tables.

    host            START -Manifest-> JOINED -PSI-> INTERSECTED -SplitDigest-> ALIGNED -keys, shares-> READY
                    -RoundStart-> TRAINING | TESTING ... -TaskFinished-> FINISHED
    collaborator    START -Hello-> INTRODUCED -ManifestAccepted-> JOINED -PSI-> INTERSECTED -SplitDigest-> ALIGNED
                    -FeatureShape, keys, shares-> READY -BatchOpen-> OPENED ... -EpochEnd-> ENDED ...
                    -FinishAcknowledged-> FINISHED
    resumed         the same, but behind JOINED comes ALIGN, or RESTORED and fresh keys (`after_join`, `after_setup`)
    offline lane    TripleRequest, TripleOperand, TripleProduct beside all of it, once READY

Each direction runs by itself, as each is streamed; `order.py` adds what holds across the two. Between phases and rounds
both exchange checkpoints (`BOUNDARIES`); Abort may come anywhere. The tables of a PSI run are those of its roles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, auto

from protocols.core.envelope import Phase
from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.layer.interface import FeatureShape, StepSkipped
from protocols.psi import transitions as psi
from protocols.schemes.encrypted.messages import (
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
from protocols.schemes.plain.roles import PlainFeatures, PlainGradient
from protocols.task.agreement import Hello, Manifest, ManifestAccepted
from protocols.task.alignment import BatchOpen, EpochEnd, SplitDigest
from protocols.task.resumption import ResumePoint
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.chain import Sender

Kind = type[Message]


class State(IntEnum):
    """What has passed last in one direction of one lane."""

    START = auto()
    INTRODUCED = auto()
    JOINED = auto()
    PSI_OPEN = auto()
    PSI_POINTS = auto()
    INTERSECTED = auto()
    ALIGNED = auto()
    SHAPED = auto()
    KEYED = auto()
    WEIGHTED = auto()
    RESTORED = auto()  # the conversation goes on from a checkpoint behind the set-up
    READY = auto()
    TRAINING = auto()  # the host, between batches or before its part of one
    TESTING = auto()
    OPENED = auto()  # the collaborator, its batch announced
    PROJECTED = auto()
    GRADIENT_PROJECTED = auto()
    SHARED = auto()
    CHECKING = auto()
    CHECKED = auto()
    GRADIENT = auto()
    STEPPED = auto()
    ENDED = auto()  # the collaborator, its round over
    FINISHED = auto()
    ASKED = auto()  # the offline lane
    ANSWERED = auto()


S = State
Table = Mapping[tuple[State, int, Kind], State]
Moves = dict[tuple[State, int, Kind], State]

_PSI_STATES = {psi.State.OPEN: S.PSI_OPEN, psi.State.POINTS: S.PSI_POINTS}


def _lifted(table: psi.Table, end: psi.State) -> Moves:
    """A PSI role's table, between JOINED and INTERSECTED."""
    names = {**_PSI_STATES, psi.State.START: S.JOINED, end: S.INTERSECTED}
    return {(names[state], Phase.PSI, kind): names[to] for (state, kind), to in table.items()}


def _moves(phase: Phase, *steps: tuple[Iterable[State] | State, Kind, State]) -> Moves:
    """The same in one phase, with several states to come from at once."""
    return {
        (state, phase, kind): to
        for come_from, kind, to in steps
        for state in ([come_from] if isinstance(come_from, State) else come_from)
    }


def _host_rounds(ready: State, ends: tuple[State, ...]) -> Moves:
    """Where rounds begin and the task ends; `ends` are the states in which a training round may be over."""
    over = (*ends, S.TESTING)
    return {
        **_moves(Phase.TRAIN, ((ready, *over), RoundStart, S.TRAINING)),
        **_moves(Phase.TEST, (ends, RoundStart, S.TESTING)),
        **_moves(Phase.FINISH, (over, TaskFinished, S.FINISHED)),
    }


def _collaborator_rounds(ready: State, settled: tuple[State, ...], tested: tuple[State, ...]) -> Moves:
    """Batches and the ends of rounds; `settled` and `tested` are the states after a training and a test batch."""
    return {
        **_moves(
            Phase.TRAIN,
            ((ready, S.ENDED, *settled), BatchOpen, S.OPENED),
            ((ready, S.ENDED, *settled), EpochEnd, S.ENDED),
        ),
        **_moves(Phase.TEST, ((S.ENDED, *tested), BatchOpen, S.OPENED), ((S.ENDED, *tested), EpochEnd, S.ENDED)),
        **_moves(Phase.FINISH, (S.ENDED, FinishAcknowledged, S.FINISHED)),
    }


_HOST_COMMON: Moves = {
    **_moves(Phase.JOIN, (S.START, Manifest, S.JOINED)),
    **_lifted(psi.HOST_SENDS, psi.State.DONE),
    **_moves(Phase.ALIGN, (S.INTERSECTED, SplitDigest, S.ALIGNED)),
}
_COLLABORATOR_COMMON: Moves = {
    **_moves(Phase.JOIN, (S.START, Hello, S.INTRODUCED), (S.INTRODUCED, ManifestAccepted, S.JOINED)),
    **_lifted(psi.COLLABORATOR_SENDS, psi.State.DIGESTS),
    **_moves(Phase.ALIGN, (S.INTERSECTED, SplitDigest, S.ALIGNED)),
    **_moves(Phase.SETUP, (S.ALIGNED, FeatureShape, S.SHAPED)),
}


def _encrypted(trainable: bool) -> dict[Sender, Table]:
    open_batch = (S.TRAINING, S.CHECKING)
    host: Moves = {
        **_moves(
            Phase.SETUP,
            (S.ALIGNED, ProjectionKey, S.KEYED),
            (S.KEYED, InitialShare, S.WEIGHTED),
            (S.RESTORED, ProjectionKey, S.WEIGHTED),
            (S.WEIGHTED, HostShare, S.READY),
        ),
        **_moves(
            Phase.TRAIN,
            (S.TRAINING, CheckQuery, S.CHECKING),
            (open_batch, StepSkipped, S.TRAINING),
            (open_batch, StepGradient, S.STEPPED),
            *([(S.STEPPED, FeatureGradient, S.GRADIENT)] if trainable else []),
            (S.GRADIENT if trainable else S.STEPPED, HostShare, S.TRAINING),
        ),
        **_moves(Phase.TEST, (S.TESTING, CheckQuery, S.TESTING)),
        **_host_rounds(S.READY, (S.TRAINING,)),
    }
    projected = (S.PROJECTED, S.CHECKED)
    test = _moves(Phase.TEST, (S.OPENED, Projection, S.PROJECTED), (S.PROJECTED, CheckReply, S.CHECKED))
    collaborator: Moves = {
        **_moves(
            Phase.SETUP,
            (S.SHAPED, ProjectionKey, S.KEYED),
            (S.KEYED, InitialFactor, S.WEIGHTED if trainable else S.READY),
            (S.RESTORED, ProjectionKey, S.WEIGHTED if trainable else S.READY),
            *([(S.WEIGHTED, CollaboratorShare, S.READY)] if trainable else []),
        ),
        **test,
        **{(state, Phase.TRAIN, kind): to for (state, _, kind), to in test.items()},
        **_moves(
            Phase.TRAIN,
            (projected, WeightGradient, S.GRADIENT if trainable else S.STEPPED),
            *([(S.GRADIENT, CollaboratorShare, S.STEPPED)] if trainable else []),
        ),
        **_collaborator_rounds(S.READY, (*projected, S.STEPPED), projected),
    }
    return {Sender.HOST: host, Sender.COLLABORATOR: collaborator}


def _masked(trainable: bool) -> dict[Sender, Table]:
    idle = (S.TRAINING, S.SHARED, S.STEPPED)  # a share for the next batch may have been sent ahead
    stepping = (S.GRADIENT,) if trainable else (*idle[:2], S.CHECKING)
    host: Moves = {
        **_moves(
            Phase.SETUP,
            (S.ALIGNED, ProjectionKey, S.KEYED),
            (S.KEYED, InitialShare, S.READY),
            (S.RESTORED, ProjectionKey, S.READY),
        ),
        **_moves(
            Phase.TRAIN,
            (idle, MaskedShare, S.SHARED),
            (idle, MaskedCheck, S.CHECKING),
            ((*idle, S.CHECKING), StepSkipped, S.TRAINING),
            *([((*idle[:2], S.CHECKING, S.GRADIENT), MaskedGradient, S.GRADIENT)] if trainable else []),
            ((*stepping, S.STEPPED), MaskedStep, S.STEPPED),
        ),
        **_moves(Phase.TEST, (S.TESTING, MaskedShare, S.TESTING), (S.TESTING, MaskedCheck, S.TESTING)),
        **_host_rounds(S.READY, idle),
    }
    whole_piece = S.SHARED if trainable else S.GRADIENT_PROJECTED
    collaborator: Moves = {
        **_moves(
            Phase.SETUP,
            (S.SHAPED, ProjectionKey, S.KEYED),
            (S.KEYED, InitialFactor, S.READY),
            (S.RESTORED, ProjectionKey, S.READY),
        ),
        **_moves(
            Phase.TRAIN,
            ((S.OPENED, whole_piece), MaskedFeatures, S.PROJECTED),
            (S.PROJECTED, MaskedGradientFeatures, S.GRADIENT_PROJECTED),
            *([(S.GRADIENT_PROJECTED, MaskedShare, S.SHARED)] if trainable else []),
        ),
        **_moves(Phase.TEST, ((S.OPENED, S.PROJECTED), MaskedFeatures, S.PROJECTED)),
        # A MaskedFeatures that answers a check leaves a training batch in PROJECTED.
        **_collaborator_rounds(S.READY, (whole_piece, S.PROJECTED), (S.PROJECTED,)),
    }
    return {Sender.HOST: host, Sender.COLLABORATOR: collaborator}


def _plain(trainable: bool) -> dict[Sender, Table]:
    replies = [(S.TRAINING, kind, S.TRAINING) for kind in (PlainGradient, StepSkipped)] if trainable else []
    host: Moves = {**_moves(Phase.TRAIN, *replies), **_host_rounds(S.ALIGNED, (S.TRAINING,))}
    collaborator: Moves = {
        **_moves(Phase.TRAIN, (S.OPENED, PlainFeatures, S.PROJECTED)),
        **_moves(Phase.TEST, (S.OPENED, PlainFeatures, S.PROJECTED)),
        **_collaborator_rounds(S.SHAPED, (S.PROJECTED,), (S.PROJECTED,)),
    }
    return {Sender.HOST: host, Sender.COLLABORATOR: collaborator}


_SCHEMES = {"bfv": _encrypted, "paillier": _encrypted, "masked": _masked, "plain": _plain}

OFFLINE: Mapping[Sender, Table] = {
    Sender.HOST: _moves(
        Phase.OFFLINE,
        ((S.START, S.ANSWERED), TripleRequest, S.ASKED),
        ((S.ASKED, S.ANSWERED), TripleOperand, S.ANSWERED),
        (S.ANSWERED, TripleProduct, S.ANSWERED),
    ),
    Sender.COLLABORATOR: _moves(
        Phase.OFFLINE,
        ((S.START, S.ANSWERED), TripleOperand, S.ANSWERED),
        ((S.START, S.ANSWERED), TripleProduct, S.ANSWERED),
    ),
}
"""The offline lane of scheme "masked"; `order.py` counts what each request brings."""

_AT_PHASE_ENDS = {
    Phase.JOIN: {S.JOINED},
    Phase.PSI: {S.INTERSECTED},
    Phase.ALIGN: {S.ALIGNED},
    Phase.FINISH: {S.FINISHED},
}

BOUNDARIES: Mapping[Sender, Mapping[Phase, frozenset[State]]] = {
    sender: {phase: frozenset(states) for phase, states in {**_AT_PHASE_ENDS, **rounds}.items()}
    for sender, rounds in {
        Sender.HOST: {
            Phase.SETUP: {S.READY, S.ALIGNED},  # in scheme plain the host sends nothing to set up
            Phase.TRAIN: {S.TRAINING, S.SHARED, S.STEPPED},
            Phase.TEST: {S.TESTING},
        },
        Sender.COLLABORATOR: {
            Phase.SETUP: {S.READY, S.SHAPED},
            Phase.TRAIN: {S.ENDED},
            Phase.TEST: {S.ENDED},
        },
    }.items()
}
"""In which states of a direction its checkpoint may come."""


def after_join(scheme: str, point: ResumePoint) -> tuple[Phase, Mapping[Sender, State]]:
    """Which phase follows when a conversation goes on from `point`, and the states that it begins in."""
    if not point.is_set_up:
        return Phase.ALIGN, dict.fromkeys(Sender, S.INTERSECTED)
    if scheme == "plain":  # nothing is sent to set it up again
        return Phase.SETUP, {Sender.HOST: S.ALIGNED, Sender.COLLABORATOR: S.SHAPED}
    return Phase.SETUP, dict.fromkeys(Sender, S.RESTORED)


def after_setup(point: ResumePoint) -> Mapping[Sender, State]:
    """The states behind a round that was over; empty if the next message is as after any set-up."""
    if point.batch or point.phase not in (Phase.TRAIN, Phase.TEST):
        return {}
    return {Sender.HOST: S.TRAINING if point.phase is Phase.TRAIN else S.TESTING, Sender.COLLABORATOR: S.ENDED}


def tables_for(scheme: str, trainable: bool) -> Mapping[Sender, Table]:
    """Both directions' tables. Raises `InvalidInput` for a scheme that this version does not know."""
    if scheme not in _SCHEMES:
        raise InvalidInput(f"there are no transition tables for scheme {scheme!r}")
    tables = _SCHEMES[scheme](trainable)
    return {
        Sender.HOST: {**_HOST_COMMON, **tables[Sender.HOST]},
        Sender.COLLABORATOR: {**_COLLABORATOR_COMMON, **tables[Sender.COLLABORATOR]},
    }
