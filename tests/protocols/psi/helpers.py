"""What the tests of PSI share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from protocols.core.message import Message
from protocols.psi import PsiReceiver, PsiSender


@dataclass
class PsiRun:
    """Everything that crossed the wire in one PSI run, and what each side made of it."""

    from_host: list[Message]
    from_collaborator: list[Message]
    host_learns: frozenset[str]
    collaborator_learns: frozenset[str]


def run_psi(
    host: PsiReceiver,
    collaborator: PsiSender,
    final: Callable[[frozenset[str]], Collection[str]] = lambda pairwise: pairwise,
) -> PsiRun:
    """One whole run in memory; `final` makes the intersection of all parties out of the pairwise one."""
    host_open, collaborator_open = host.open(), collaborator.open()
    host.receive_open(collaborator_open)
    collaborator.receive_open(host_open)
    host_points, collaborator_points = list(host.masked_points()), list(collaborator.masked_points())
    host.receive_points(collaborator_points)
    digests = list(collaborator.replies(host_points))
    host.receive_digests(digests)
    pairwise = host.intersection()
    result = host.result(final(pairwise))
    learnt = collaborator.receive_result(result)
    return PsiRun(
        [host_open, *host_points, result], [collaborator_open, *collaborator_points, *digests], pairwise, learnt
    )
