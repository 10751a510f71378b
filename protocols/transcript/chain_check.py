"""The two chains of a transcript, built again from its entries."""

from __future__ import annotations

from collections.abc import Collection

from protocols.core.envelope import Phase
from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.task.resumption import TranscriptPosition
from protocols.transcript.chain import Chain
from protocols.transcript.errors import IllegalOrder
from protocols.transcript.finding_log import FindingLog
from protocols.transcript.format import Entry
from protocols.transcript.position import position_in


class ChainCheck:
    """What the heads of one transcript must be.

    Args:
        named: (sender, count) of heads that other conversations name.
        log: takes what is wrong.

    Attributes:
        agreement: digest of the terms that the chains start from; empty before that.
        heads: those of `named`, and the first ones.
    """

    def __init__(self, named: Collection[tuple[Sender, int]], log: FindingLog) -> None:
        self.agreement = b""
        self.heads: dict[tuple[Sender, int], bytes] = {}
        self._named, self._log = named, log
        self._chains: dict[Sender, Chain] = {}
        self._signable: dict[Sender, dict[int, bytes]] = {}
        self._with_gaps: set[Sender] = set()

    def begin(self, agreement: bytes) -> None:
        """The terms were read."""
        self.agreement = agreement
        self._chains = {sender: Chain(agreement, sender) for sender in Sender}
        self.heads = {(sender, 0): chain.at[1] for sender, chain in self._chains.items()}

    def append(self, entry: Entry, text: bytes) -> None:
        """The next message."""
        sender = entry.sender
        chain = self._chains[sender]
        if entry.sequence != chain.at[0] and sender not in self._with_gaps:
            self._with_gaps.add(sender)
            expected = say("message {sequence}", sequence=chain.at[0])
            self._log.report(
                IllegalOrder(
                    say("message {sequence} of the {sender}", sequence=entry.sequence, sender=say(sender.role)),
                    expected,
                    entry=str(entry),
                )
            )
        chain.append(text, entry.phase == Phase.OFFLINE)
        if self._named and (sender, chain.at[0]) in self._named:
            self.heads[sender, chain.at[0]] = chain.at[1]

    def note_signing(self, sender: Sender) -> None:
        """A `Checkpoint` of this sender follows: keep the heads that it may be about."""
        self._signable[sender] = dict(self._chains[sender].recent)

    def signable_head(self, sender: Sender, count: int) -> bytes | None:
        """The head of so many messages, if the sender's last `Checkpoint` may be about them."""
        return self._signable[sender].get(count)

    def count(self, sender: Sender) -> int:
        """Messages of a sender so far."""
        return self._chains[sender].at[0] if self._chains else 0

    def position(self, writer: Sender) -> TranscriptPosition:
        """How far the file goes, as `protocols.transcript.position.position_of` says it."""
        return position_in(self._chains, self.agreement, writer)
