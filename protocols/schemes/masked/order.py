"""Which message of scheme "masked" may follow which. "(...)": not always. Training batches are those of bottom models
that are trained; a frozen one has batches of a test only (protocols/task/frozen_order.py).

host            ALIGNED -ProjectionKey-> KEYED -InitialShare-> READY
                TRAINING -MaskedShare-> SHARED ... (-MaskedCheck-> CHECKING -EqualityProof-> PROVED)
                -MaskedGradient-> GRADIENT ... -MaskedStep-> STEPPED ...; or -StepSkipped-> TRAINING
collaborator    SHAPED -ProjectionKey-> KEYED -InitialFactor-> READY
                OPENED -MaskedFeatures-> PROJECTED -MaskedGradientFeatures-> SHARED ... (
                -MaskedCheckReply-> CHECK_ANSWERED -EqualityConfirmation-> CHECKED)
offline lane    TripleRequest, TripleOperand, TripleProduct beside all of it, once the host is READY
tests           of shares, in READY of the set-up, before the first MaskedFeatures and MaskedGradient of a batch, and
                behind a batch or a round, where a checkpoint is made: they move no state (protocols/schemes/masked/
                share_test_order.py)

A batch of more rows than the first one goes in pieces, each under the masks of a triple of its own. `MaskedRules`
counts triples, and what each request brings: every mask serves once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import auto

from protocols.core.envelope import Phase
from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.layer.messages import (
    EqualityConfirmation,
    EqualityProof,
    InitialFactor,
    InitialShare,
    ProjectionKey,
    StepSkipped,
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
from protocols.schemes.masked.share_test_order import (
    ANSWERS,
    AT_SET_UP,
    OPENS_A_COMPARISON,
    QUESTIONS,
    TEST_ANSWERS,
    ShareTestOrder,
    standing,
)
from protocols.schemes.masked.triple_messages import MAX_COUNT, TripleOperand, TripleProduct, TripleRequest, triples_of
from protocols.schemes.masked.triples import KINDS, TRAIN
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.test_messages import MarkQuery, RelationQuery, RelationReply, ShareMark
from protocols.task.scheme_order import (
    At,
    MessageType,
    Moves,
    OrderState,
    Recorded,
    SchemeOrder,
    SchemeRules,
    moves,
    refuse,
)
from protocols.task.scheme_order import State as S

H, C = Sender.HOST, Sender.COLLABORATOR


class MaskedState(OrderState):
    """What has passed last, of this scheme's messages."""

    KEYED = auto()
    PROJECTED = auto()
    SHARED = auto()
    CHECKING = auto()
    PROVED = auto()
    CHECK_ANSWERED = auto()
    CHECKED = auto()
    GRADIENT = auto()
    STEPPED = auto()
    ASKED = auto()  # the offline lane
    ANSWERED = auto()


M = MaskedState
_IDLE = (S.TRAINING, M.SHARED, M.STEPPED)
"""Between batches: a share for the next one may have been sent ahead."""

_ANSWERS = {
    (C, InitialFactor): (ProjectionKey,),
    (H, InitialShare): (InitialFactor,),
    (H, StepSkipped): (MaskedFeatures,),
    (H, MaskedCheck): (MaskedFeatures,),
    (C, MaskedCheckReply): (MaskedCheck,),
    (H, EqualityProof): (MaskedCheckReply, *OPENS_A_COMPARISON),
    (C, EqualityConfirmation): (EqualityProof,),
    **TEST_ANSWERS,
    (H, MaskedGradient): (MaskedGradientFeatures,),
    (H, MaskedStep): (MaskedGradientFeatures,),
}

_OFFLINE = {
    H: moves(
        Phase.OFFLINE,
        ((S.START, M.ANSWERED), TripleRequest, M.ASKED),
        ((M.ASKED, M.ANSWERED), TripleOperand, M.ANSWERED),
        (M.ANSWERED, TripleProduct, M.ANSWERED),
    ),
    C: moves(
        Phase.OFFLINE,
        ((S.START, M.ANSWERED), TripleOperand, M.ANSWERED),
        ((S.START, M.ANSWERED), TripleProduct, M.ANSWERED),
    ),
}

MASKS = {
    (H, MaskedShare): "M",
    (H, MaskedCheck): "M",
    (C, MaskedFeatures): "A",
    (C, MaskedCheckReply): "A",
    (C, MaskedGradientFeatures): "A' and N",
    (H, MaskedGradient): "D",
    (H, MaskedStep): "G",
}
"""Which one-time mask of its triple a message uses up; its `index` says whose triple, and each serves once."""


@dataclass
class _Making:
    """How far one sender is with the triples of a request, which go a few together.

    Attributes:
        messages: about every few: type and product.
        start, end: the next of the triples, and the one behind the last.
        together: those that are under way.
        said: how many of the messages about them.
    """

    messages: list[tuple[MessageType, int]]
    start: int
    end: int
    together: int = 0
    said: int = 0

    def takes(self, message_type: MessageType, product: int, index: int, count: int) -> bool:
        """Whether this message comes next; then it has come."""
        if self.start == self.end or (message_type, product, index) != (*self.messages[self.said], self.start):
            return False
        if not (count == self.together if self.said else 1 <= count <= self.end - index):
            return False
        self.together, self.said = count, self.said + 1
        if self.said == len(self.messages):
            self.start, self.said = index + count, 0
        return True


class MaskedRules(SchemeRules):
    """Counts the masks that were used, the triples that were asked for and made, and the tests of shares."""

    def __init__(self, trainable: bool) -> None:
        self._tests = ShareTestOrder(trainable)
        self._used: dict[tuple[str, int], int] = {}
        self._shares = 0
        self._unstepped, self._is_stepping = 0, False  # pieces of a batch with a gradient and no step
        self._made = [0] * len(KINDS)
        # Of the last request: how far each sender is, and behind which triple each one's operands of a product end.
        self._making: dict[Sender, _Making] = {}
        self._operands: dict[tuple[Sender, int], int] = {}

    def check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        """See the base."""
        self._check(sender, message_type, at, recorded)
        if message_type is MaskedGradient:
            if self._is_stepping:
                refuse(sender, message_type, "the steps of its batch have begun")
            self._unstepped += 1
        elif message_type is MaskedStep:
            if not self._unstepped:
                refuse(sender, message_type, "there was no MaskedGradient of its piece")
            self._unstepped -= 1
            self._is_stepping = self._unstepped > 0
            if recorded[2]:  # mu of the next batch is in it
                self._check(sender, MaskedShare, at, (recorded[2] - 1,))

    def _check(self, sender: Sender, message_type: MessageType, at: At, recorded: Recorded) -> None:
        self._tests.check(sender, message_type)
        mask = MASKS.get((sender, message_type))
        if mask is None:
            return
        phase, index = at[0], recorded[0]
        # Training and test triples count apart. A share that is sent ahead of its batch is a training triple's.
        if index <= self._used.get((mask, phase), -1):
            refuse(sender, message_type, f"mask {mask} of triple {index} has been used, or passed over, before")
        self._used[mask, phase] = index
        if phase == Phase.TRAIN:
            self._use_share(sender, message_type)

    def _use_share(self, sender: Sender, message_type: MessageType) -> None:
        """A piece of a training batch takes one MaskedShare of the host; none is ahead when the batch is stepped."""
        self._shares += ((sender, message_type) == (H, MaskedShare)) - (message_type is MaskedGradientFeatures)
        if self._shares < 0 or (self._shares and message_type in (MaskedGradient, MaskedStep)):
            refuse(sender, message_type, "there is not one MaskedShare of the host for each piece of the batch")

    def check_offline(self, sender: Sender, message_type: MessageType, recorded: Recorded) -> None:
        """See the base."""
        if message_type is TripleRequest:
            return self._ask(recorded)
        making, (index, count, product) = self._making.get(sender), triples_of(recorded)
        if making is None or not making.takes(message_type, product, index, count):
            refuse(sender, message_type, "it is not the next of the one-time masks that the host has asked for")
        end = index + count
        if message_type is TripleOperand:
            self._operands[sender, product] = end
        elif self._operands[sender.other, product] < end:
            refuse(sender, message_type, "it answers a TripleOperand that had not come")
        return None

    def _ask(self, recorded: Recorded) -> None:
        kind, index, count = recorded
        if not self._is_made:
            raise MessageOutOfOrder("TripleRequest came before the masks that were asked for were made")
        if kind >= len(KINDS) or index != self._made[kind] or not 1 <= count <= MAX_COUNT:
            raise MessageOutOfOrder(f"TripleRequest is of {count} triples from {index} on, not of the next ones")
        self._made[kind] += count
        # The collaborator evaluates the first products, the host that of the feature gradient (pool.py).
        evaluators = (C, C, H) if KINDS[kind] == TRAIN else (C,)
        self._operands = {(each.other, product): 0 for product, each in enumerate(evaluators)}
        for sender in Sender:
            owned = [(TripleOperand, product) for product, each in enumerate(evaluators) if each is not sender]
            own = [(TripleProduct, product) for product, each in enumerate(evaluators) if each is sender]
            self._making[sender] = _Making([*owned, *own], index, index + count)

    @property
    def _is_made(self) -> bool:
        return all(making.start == making.end for making in self._making.values())

    def check_finished(self) -> None:
        """See the base."""
        if not self._is_made:
            raise MessageOutOfOrder("one-time masks were asked for and not made to the end")
        self._tests.check_finished()


_HOST_TRAINS = moves(
    Phase.TRAIN,
    (_IDLE, MaskedShare, M.SHARED),
    (_IDLE, MaskedCheck, M.CHECKING),
    (M.CHECKING, EqualityProof, M.PROVED),
    ((*_IDLE, M.PROVED), StepSkipped, S.TRAINING),
    ((*_IDLE, M.PROVED, M.GRADIENT), MaskedGradient, M.GRADIENT),
    ((M.GRADIENT, M.STEPPED), MaskedStep, M.STEPPED),
    *standing((*_IDLE, M.PROVED), (*QUESTIONS, *ANSWERS, HostShare, ShareMark)),
)

_COLLABORATOR_TRAINS = moves(
    Phase.TRAIN,
    ((S.OPENED, M.SHARED), MaskedFeatures, M.PROJECTED),
    (M.PROJECTED, MaskedGradientFeatures, M.SHARED),
    (M.SHARED, MaskedCheckReply, M.CHECK_ANSWERED),
    (M.CHECK_ANSWERED, EqualityConfirmation, M.CHECKED),
    *standing((S.OPENED,), (*QUESTIONS, *ANSWERS)),
    *standing((M.SHARED, M.CHECKED, S.ENDED), (*QUESTIONS, *ANSWERS, CollaboratorShare, ShareMark)),
)


def _host(trainable: bool) -> Moves:
    return {
        **moves(
            Phase.SETUP,
            (S.ALIGNED, ProjectionKey, M.KEYED),
            (M.KEYED, InitialShare, S.READY),
            (S.RESTORED, ProjectionKey, S.READY),
            *standing((S.READY,), (HostShare, RelationReply, *AT_SET_UP)),
            *(standing((S.READY,), (RelationQuery, MarkQuery)) if trainable else ()),
        ),
        **moves(
            Phase.TEST,
            *standing((S.TESTING,), ANSWERS),
            (S.TESTING, MaskedShare, S.TESTING),
            (S.TESTING, MaskedCheck, M.CHECKING),
            (M.CHECKING, EqualityProof, S.TESTING),
        ),
        **(_HOST_TRAINS if trainable else {}),
    }


def masked_order(trainable: bool) -> SchemeOrder:
    """For a bottom model that is trained, or not: then set-up and tests are all (protocols/task/frozen_order.py)."""
    return SchemeOrder(
        host_over=_IDLE,
        settled=(M.SHARED, M.CHECKED),
        tested=(M.PROJECTED, M.CHECKED),
        host=_host(trainable),
        collaborator={
            **moves(
                Phase.SETUP,
                (S.SHAPED, ProjectionKey, M.KEYED),
                (M.KEYED, InitialFactor, S.READY),
                (S.RESTORED, ProjectionKey, S.READY),
                *standing((S.READY,), (RelationQuery, MarkQuery, *AT_SET_UP)),
                *(standing((S.READY,), (CollaboratorShare, RelationReply)) if trainable else ()),
            ),
            **moves(
                Phase.TEST,
                *standing((S.OPENED,), (*QUESTIONS, EqualityProof, EqualityConfirmation)),
                ((S.OPENED, M.PROJECTED), MaskedFeatures, M.PROJECTED),
                (M.PROJECTED, MaskedCheckReply, M.CHECK_ANSWERED),
                (M.CHECK_ANSWERED, EqualityConfirmation, M.CHECKED),
            ),
            **(_COLLABORATOR_TRAINS if trainable else {}),
        },
        batch_ends=(StepSkipped, MaskedStep),
        answers=_ANSWERS,
        once_a_batch=frozenset({MaskedCheck, StepSkipped}),
        steps=(MaskedStep,),
        offline=_OFFLINE,
        rules=lambda: MaskedRules(trainable),
    )
