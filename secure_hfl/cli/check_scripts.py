"""Runs scripts whose `launch_task` is a dry run, and collects what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from protocols.core.errors import SecureHflError
from secure_hfl.cli.script import ScriptError, execute, place
from secure_hfl.dry_run.findings import Assumptions, Finding
from secure_hfl.dry_run.run import DryParty
from secure_hfl.dry_run.terms import Terms
from secure_hfl.errors import ConfigurationError, EmptyIntersection
from secure_hfl.mocking import within
from secure_hfl.schedulers.base import HeteroNNScheduler
from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
from secure_hfl.schedulers.host import HeteroNNHostScheduler
from secure_hfl.schedulers.mock_context import MockContext, dry_run


@dataclass
class Checked:
    """Something that a script has launched, and what was found.

    Args:
        script: which script.
        name: of the class.
        party: whose dry run it is; None for a `DataChecker`.
        scheduler: that one's.
        findings: in order.
    """

    script: Path
    name: str
    party: DryParty | None = None
    scheduler: HeteroNNScheduler | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether a real run would get as far."""
        return all(finding.status != "fail" for finding in self.findings)


def check_scripts(scripts: Sequence[Path], assumptions: Assumptions) -> list[Checked]:
    """Dry runs of what these scripts launch.

    Several scripts are the parties of one task: their ids are intersected, unless the intersection is given, the Host,
    which comes last, is told how wide the others' features are, and splits, batches and terms are compared.

    Raises:
        ScriptError: a script raised outside of its scheduler's methods.
        ConfigurationError: a script launched nothing.
        EmptyIntersection: the scripts have no id in common.
    """
    if len(scripts) > 1:
        by_script = {script: _collect_ids(script) for script in scripts}
        hosts = {script for script, parties in by_script.items() if any(each.role == "host" for each in parties)}
        scripts = sorted(by_script, key=lambda script: script in hosts)
        if assumptions.intersection is None:
            assumptions = replace(assumptions, intersection=_intersection(by_script))
    checked: list[Checked] = []
    for script in scripts:
        others = [each.party for each in checked if each.party is not None and each.party.role == "collaborator"]
        known = {each.key: each.batches.width for each in others if each.batches.width}
        is_complete = bool(others) and len(known) == len(others)
        peers = {**known, **assumptions.peers}
        mock = _Checking(script, replace(assumptions, peers=peers, are_all_peers=is_complete))
        _run(script, mock)
        _launched(script, mock.checked)
        checked += mock.checked
    _compare(checked)
    _compare_terms(checked)
    return checked


class _EnoughSeen(BaseException):
    """Ends a script at its `launch_task`."""


class _CollectingIds(MockContext):
    """Asks schedulers for their ids only."""

    def __init__(self) -> None:
        super().__init__(Assumptions())
        self.parties: list[DryParty] = []

    def launch(self, scheduler: HeteroNNScheduler, reference: str) -> None:
        """Keep the ids of this scheduler."""
        run = dry_run(scheduler, reference, self.assumptions, self.report)
        self.parties.append(run.party)
        run.party.shown.id_intersection = frozenset(run.check_local_ids())
        raise _EnoughSeen


class _Checking(MockContext):
    """A dry run of each launch."""

    def __init__(self, script: Path, assumptions: Assumptions) -> None:
        super().__init__(assumptions)
        self._script = script
        self.checked: list[Checked] = []

    def report(self, finding: Finding) -> None:
        """With the place of an error in the user's files."""
        cause = None if finding.error is None else finding.error.__cause__
        if cause is not None:
            finding = replace(finding, detail=f"{finding.detail} ({place(cause, self._script)})")
        super().report(finding)
        self.checked[-1].findings.append(finding)

    def launch(self, scheduler: HeteroNNScheduler, reference: str) -> None:
        """In a table of its own."""
        run = dry_run(scheduler, reference, self.assumptions, self.report)
        self.checked.append(Checked(self._script, type(scheduler).__name__, run.party, scheduler))
        run.execute()

    def data_checked(self, name: str, passed: bool, message: str) -> None:
        """In a table of its own."""
        self.checked.append(Checked(self._script, name))
        super().data_checked(name, passed, message)


def _run(script: Path, mock: MockContext) -> None:
    """Run a script in a mock. What stopped a dry run has been reported; any other error is the script's own."""
    try:
        with within(mock):
            error = execute(script)
    except _EnoughSeen:
        return
    if error is None or any(finding.error is error for finding in mock.findings):
        return
    if isinstance(error, SecureHflError):  # as `run_script`: it says by itself what to do
        raise error
    raise ScriptError(script, error) from error


def _launched(script: Path, anything: object) -> None:
    if not anything:
        raise ConfigurationError(f"{script} has launched nothing: a party's script calls launch_task of its scheduler")


def _collect_ids(script: Path) -> list[DryParty]:
    mock = _CollectingIds()
    _run(script, mock)
    _launched(script, mock.parties)
    return mock.parties


def _intersection(by_script: Mapping[Path, Sequence[DryParty]]) -> frozenset[str] | None:
    """Of all ids; None where a party has none, as its own dry run will say."""
    parties = [party for parties in by_script.values() for party in parties]
    if not all(party.shown.id_intersection for party in parties):
        return None
    ids = frozenset.intersection(*(party.shown.id_intersection for party in parties))
    if not ids:
        sizes = ", ".join(f"{party.key} {len(party.shown.id_intersection):,}" for party in parties)
        raise EmptyIntersection(f"the scripts have no id in common: {sizes} ids")
    return ids


def _compare(checked: Sequence[Checked]) -> None:
    """What a task compares as well: the parties' names, splits and batches."""
    first: DryParty | None = None
    keys: set[str] = set()
    for each in checked:
        if each.party is None:
            continue
        if each.party.key in keys:
            each.findings.append(Finding("feature_key", "fail", f"{each.party.key!r} is another party's as well"))
        keys.add(each.party.key)
        if not each.passed:
            continue
        first = first or each.party
        ours, theirs = _to_compare(each.party), _to_compare(first)
        for step in ours:
            if ours[step] != theirs[step]:
                detail = f"not as at {first.key}, where it must be the same"
                each.findings.append(Finding(step, "fail", detail))


def _compare_terms(checked: Sequence[Checked]) -> None:
    """What parties agree on before a task, where all constructors' arguments make sense."""
    pairs = [(each, each.party) for each in checked if each.party is not None]
    if not all(each.scheduler is not None and each.scheduler._context_is_valid for each, _ in pairs):
        return
    others = [
        (each.scheduler, party) for each, party in pairs if isinstance(each.scheduler, HeteroNNCollaboratorScheduler)
    ]
    for each, party in pairs:
        if isinstance(each.scheduler, HeteroNNHostScheduler) and others:
            each.findings += Terms(each.scheduler, party, others).findings()


def _to_compare(party: DryParty) -> dict[str, object]:
    """What must be the same at all parties, by the method that it comes from."""
    train, test = ([str(each) for each in ids] for ids in (party.shown.train_ids, party.shown.test_ids))
    return {"split_dataset": (train, test), **party.batches.rows}
