"""How both parties begin: each says how many ids it has. What follows from that, a run over all or buckets, is theirs.

both     PsiOpen(set_size, chunk, pair, suite)
"""

from __future__ import annotations

from typing import Protocol

from protocols.core.errors import LimitExceeded, RoleAlreadyUsed, WrongSession
from protocols.core.steps import Receive, Send, Steps, received
from protocols.psi.encode import SUITE
from protocols.psi.messages import PsiOpen


class Announced(Protocol):
    """What an opening says, whatever it opens."""

    @property
    def set_size(self) -> int: ...
    @property
    def pair(self) -> bytes: ...
    @property
    def suite(self) -> str: ...


def check_opening(message: Announced, pair: bytes, max_peer_ids: int) -> None:
    """Check a peer's opening.

    Raises:
        WrongSession: it belongs to another task, or to another version of the protocol.
        LimitExceeded: the peer's set is larger than this party's operator allows.
    """
    for what, ours, theirs in (("pair of parties or session", pair, message.pair), ("suite", SUITE, message.suite)):
        if ours != theirs:
            raise WrongSession(f"the peer's PSI run has another {what}: start one task, and one version, on both")
    if message.set_size > max_peer_ids:
        raise LimitExceeded("ids", message.set_size, max_peer_ids)


class Opening:
    """One party's side. Each step once.

    Args:
        own: what this party says.
        max_peer_ids: how large the peer's set may be.
    """

    def __init__(self, own: PsiOpen, max_peer_ids: int) -> None:
        self._own, self._max_peer_ids = own, max_peer_ids
        self._has_run = False

    def run(self) -> Steps[PsiOpen]:
        """Say ours, hear the peer's. Raises as `check_opening`."""
        if self._has_run:
            raise RoleAlreadyUsed("a PSI opening runs once, make a new one")
        self._has_run = True
        yield Send(self._own)
        message = received((yield Receive(PsiOpen)), PsiOpen)
        check_opening(message, self._own.pair, self._max_peer_ids)
        return message
