"""Which messages of the tests of shares may follow which: scheme "masked" (share_tests.py).

    FormQuery, SameShareQuery, MarkQuery    EqualityProof of the owner, EqualityConfirmation of the tester
    RelationQuery                           RelationReply, EqualityProof of the tester, EqualityConfirmation
    MaskedCheck                             MaskedCheckReply, EqualityProof, EqualityConfirmation

One goes on at a time, and no result is sent meanwhile. Each opening may be asked about once, until its receiver sends
what it has made of it. Shares are encrypted once at the set-up or resumption, and once behind a step, and are then
marked once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum

from protocols.core.errors import MessageOutOfOrder
from protocols.core.sender import Sender
from protocols.layer.messages import EqualityConfirmation, EqualityProof, StepSkipped
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedCheckReply,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
)
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.schemes.shares.test_messages import (
    FormQuery,
    MarkQuery,
    RelationQuery,
    RelationReply,
    SameShareQuery,
    ShareMark,
)
from protocols.task.scheme_order import MessageType, refuse

H, C = Sender.HOST, Sender.COLLABORATOR

QUESTIONS = (FormQuery, SameShareQuery, RelationQuery)
"""About an opening."""
ANSWERS = (RelationReply, EqualityProof, EqualityConfirmation)
"""What else tests are made of."""
AT_SET_UP = (EqualityProof, EqualityConfirmation)
OPENS_A_COMPARISON = (FormQuery, SameShareQuery, MarkQuery, RelationReply)
TEST_ANSWERS: dict[tuple[Sender, MessageType], tuple[MessageType, ...]] = {
    (C, EqualityProof): OPENS_A_COMPARISON,
    (H, EqualityConfirmation): (EqualityProof,),
    (H, RelationReply): (RelationQuery,),
    (C, RelationReply): (RelationQuery,),
    (C, MarkQuery): (HostShare,),
    (H, MarkQuery): (CollaboratorShare,),
}

_SHARES = (HostShare, CollaboratorShare)
_OPENINGS = (MaskedShare, MaskedGradientFeatures)
"""The host's, and the collaborator's."""
_PARTS = (MaskedCheckReply, *ANSWERS)
_RESULTS = {(C, MaskedFeatures), (H, MaskedGradient)}
"""What is made of openings."""


def standing(states: Iterable[Enum], types: Iterable[MessageType]) -> list[tuple[Enum, MessageType, Enum]]:
    """Moves that move no state: what `ShareTestOrder` allows there."""
    return [(state, message_type, state) for state in states for message_type in types]


def _sequence(tester: Sender, question: MessageType) -> list[tuple[Sender, MessageType]]:
    """What follows a question."""
    owner = tester.other
    if question is RelationQuery:
        return [(owner, RelationReply), (tester, EqualityProof), (owner, EqualityConfirmation)]
    if question is MaskedCheck:
        return [(owner, MaskedCheckReply), (tester, EqualityProof), (owner, EqualityConfirmation)]
    return [(owner, EqualityProof), (tester, EqualityConfirmation)]


class ShareTestOrder:
    """Of one conversation.

    Args:
        trainable: whether both sides' shares are tested, or only the host's.
    """

    def __init__(self, trainable: bool) -> None:
        self._owners = {H, C} if trainable else {H}
        self._owed = set[Sender]()  # encrypted shares, as another one has come
        self._running: deque[tuple[Sender, MessageType]] = deque()
        self._opened = dict.fromkeys(Sender, 0)  # and not used, by who has received it
        self._forms, self._shares = dict.fromkeys(Sender, 0), dict.fromkeys(Sender, 0)  # that may be asked about
        self._may_encrypt, self._may_mark = set(Sender), set[Sender]()

    def check(self, sender: Sender, message_type: MessageType) -> None:
        """Take a message of the set-up or of the rounds. Raises `MessageOutOfOrder`."""
        if message_type in _PARTS:
            if not self._running or self._running.popleft() != (sender, message_type):
                refuse(sender, message_type, "nothing was asked that it answers")
        elif message_type in (*QUESTIONS, MarkQuery, MaskedCheck):
            self._ask(sender, message_type)
        elif message_type in (*_OPENINGS, *_SHARES):
            self._open(sender, message_type)
        elif message_type is ShareMark:
            self._mark(sender)
        else:
            self._make(sender, message_type)

    def _make(self, sender: Sender, message_type: MessageType) -> None:
        """Openings are used, or are not."""
        if (sender, message_type) in _RESULTS:
            if self._running:
                refuse(sender, message_type, "a test goes on")
            self._use(sender, self._opened[sender] - 1)
        elif message_type is StepSkipped:
            self._use(H, 0)
        elif message_type is MaskedStep:
            self._may_encrypt = set(Sender)

    def _mark(self, sender: Sender) -> None:
        if sender not in self._may_mark or self._running:
            refuse(sender, ShareMark, "there is one for each encrypted share behind a step")
        self._may_mark.discard(sender)

    def _open(self, sender: Sender, message_type: MessageType) -> None:
        tester = sender.other
        if message_type in _SHARES:
            if sender not in self._may_encrypt:
                refuse(sender, message_type, "there is one at the beginning, and one behind a step")
            self._may_encrypt.discard(sender)
            self._owed = self._owed - {sender} if sender in self._owed else self._owners - {sender}
            self._may_mark.add(tester)
        else:
            self._opened[tester] += 1
            self._forms[tester] += 1
        self._shares[tester] += 1

    def _use(self, tester: Sender, left: int) -> None:
        """Openings are asked about before they are used; so many are left."""
        self._opened[tester] = left
        for credit in (self._forms, self._shares):
            credit[tester] = min(credit[tester], left)

    def _ask(self, sender: Sender, message_type: MessageType) -> None:
        if self._running or self._owed:
            refuse(sender, message_type, "another test goes on, or a share is owed")
        if message_type is not MaskedCheck:
            credit = self._forms if message_type is FormQuery else self._shares
            if not credit[sender]:
                refuse(sender, message_type, f"the {sender.other.role} has opened no share that was not asked about")
            credit[sender] -= 1
        self._running.extend(_sequence(sender, message_type))

    def check_finished(self) -> None:
        """The host says that the task is finished. Raises `MessageOutOfOrder`."""
        if self._running:
            raise MessageOutOfOrder("a test of a share was not brought to its end")
