"""What the tests of PSI share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from benchmarks.harness.pump import complete, ends_of_nothing
from protocols.core.message import Message
from protocols.core.steps import Steps
from protocols.psi import PsiReceiver, PsiSender


@dataclass
class PsiRun:
    """Everything that crossed the wire in one PSI run, and what each side made of it."""

    from_host: list[Message]
    from_collaborator: list[Message]
    host_learns: frozenset[str]
    collaborator_learns: frozenset[str]


def send_and_answer(role: PsiSender) -> Steps[None]:
    """A collaborator's turn, as the engine takes it."""
    yield from role.send()
    yield from role.answer()


def run_psi(
    host: PsiReceiver,
    collaborator: PsiSender,
    final: Callable[[frozenset[str]], Collection[str]] = lambda pairwise: pairwise,
) -> PsiRun:
    """One whole run in memory; `final` makes the intersection of all parties out of the pairwise one."""
    ours, theirs = ends_of_nothing()
    answering = theirs.begin(send_and_answer(collaborator))
    pairwise, _, _ = complete([ours.begin(host.receive()), ours.begin(host.send()), answering])
    _, learnt = complete([ours.begin(host.tell(final(pairwise))), theirs.begin(collaborator.learn())])
    assert not ours.waiting
    assert not theirs.waiting
    return PsiRun(ours.sent, theirs.sent, pairwise, learnt)
