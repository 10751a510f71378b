"""`mock_context`: try one party's methods out, without peers and without a task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from secure_hfl.dry_run.collaborator import CollaboratorPart
from secure_hfl.dry_run.findings import Assumptions, Finding
from secure_hfl.dry_run.host import HostPart
from secure_hfl.dry_run.run import DryParty, DryRun, RolePart
from secure_hfl.log import ensure_visible, logger
from secure_hfl.mocking import active_mock, within
from secure_hfl.schedulers.base import HeteroNNScheduler
from secure_hfl.schedulers.host import HeteroNNHostScheduler

_LEVELS = {"ok": logging.INFO, "warn": logging.WARNING, "fail": logging.ERROR}


def dry_run(
    scheduler: HeteroNNScheduler, reference: str, assumptions: Assumptions, report: Callable[[Finding], None]
) -> DryRun:
    """A dry run of this scheduler's role, which the scheduler's properties look at from now on."""
    role = "host" if isinstance(scheduler, HeteroNNHostScheduler) else "collaborator"
    party = DryParty(scheduler, role, reference, assumptions, report)
    scheduler._run = party.shown
    part: RolePart
    part = HostPart(scheduler, party) if isinstance(scheduler, HeteroNNHostScheduler) else CollaboratorPart(party)
    return DryRun(scheduler, party, part)


class MockContext:
    """What `mock_context` gives.

    Attributes:
        findings: what the dry runs in it have shown so far.
    """

    def __init__(self, assumptions: Assumptions) -> None:
        self.assumptions = assumptions
        self.findings: list[Finding] = []

    def report(self, finding: Finding) -> None:
        """Keep a finding."""
        self.findings.append(finding)

    def launch(self, scheduler: HeteroNNScheduler, reference: str) -> None:
        """A dry run in place of `launch_task`."""
        dry_run(scheduler, reference, self.assumptions, self.report).execute()

    def data_checked(self, name: str, passed: bool, message: str) -> None:
        """The verdict of a `DataChecker`, which is not kept."""
        self.report(Finding(f"{name}.verify_data", "ok" if passed else "fail", message))


class _LoggingContext(MockContext):
    def report(self, finding: Finding) -> None:
        super().report(finding)
        ensure_visible()
        logger.log(_LEVELS[finding.status], "%s: %s", finding.step, finding.detail)


@contextmanager
def mock_context(
    id: str | None = None,
    nodes: Iterable[str] = (),
    *,
    peers: Mapping[str, int] | None = None,
    intersection: Iterable[str] | None = None,
    batches: int = 3,
) -> Iterator[MockContext]:
    """The block runs without a task: `launch_task` in it calls the scheduler's methods with made-up peers, and returns.

        with mock_context(peers={"clinic": 20}) as mock:
            scheduler.launch_task("YOUR_TASK_ID")

    Needs no identity, no task and no peer; opens no connection and keeps nothing. A `DataChecker` in the block checks
    the data and keeps no verdict. What each method did is logged, and listed in `mock.findings`. Afterwards the
    scheduler's models are there to look at. Without the `with` line, the same code runs the task.

    Args:
        id: the AlphaMed platform's, accepted so that its notebooks run; not used.
        nodes: likewise.
        peers: how wide each collaborator's features are, by feature key, for a Host. What is left out is taken from
            the Host's `projection`, or made as wide as its own features when `train_a_batch` asks for it.
        intersection: the ids that all parties are to hold; default: all of this party's own.
        batches: how many are drawn for training, and for testing.

    Raises:
        SecureHflError: from `launch_task`, where a real run would stop; what a method raised is its cause.
    """
    outer = active_mock()
    if isinstance(outer, MockContext):
        yield outer  # of `secure-hfl check`, which knows more
        return
    ids = None if intersection is None else frozenset(intersection)
    mock = _LoggingContext(Assumptions(dict(peers or {}), ids, batches))
    with within(mock):
        yield mock
