"""What this party has to run, settled before anything is opened: the task, the identity, the scheme and the options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from protocols.schemes.interface import Scheme
from secure_hfl import run_options
from secure_hfl.distant_work import DistantWork, as_distant, distant_work
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.errors import ConfigurationError, SchemeMismatch
from secure_hfl.home import home_directory
from secure_hfl.identity import Identity
from secure_hfl.limits import DEFAULT_LIMITS, OperatorLimits
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import load_scheme
from secure_hfl.tasks import TaskRecord, TaskStore, resolve_task

RESULTS = "results"
"""Where they go in a task's directory."""


@dataclass(frozen=True)
class Assignment:
    """One party's part in one task.

    Attributes:
        role: "host" or "collaborator".
        party: this party's feature key.
        limits: what its operator lets a peer ask of it.
        distant: where large work of the scheme's products goes; None: nowhere.
    """

    role: str
    party: str
    record: TaskRecord
    store: TaskStore = field(repr=False)
    identity: Identity = field(repr=False)
    scheme: Scheme
    options: RunOptions
    limits: OperatorLimits = DEFAULT_LIMITS
    distant: DistantWork | None = field(default=None, repr=False)

    @property
    def directory(self) -> Path:
        """Of the task, here."""
        return self.store.directory(self.record.task_id)

    @property
    def results(self) -> Path:
        """Where results go."""
        return self.directory / RESULTS

    @property
    def transcripts(self) -> Path:
        """Where transcripts go."""
        return self.directory / "transcripts"

    @property
    def checkpoint_owner(self) -> dict[str, str]:
        """What a checkpoint must say of itself to be this party's."""
        return {
            "task": self.record.task_id,
            "role": self.role,
            "party": self.party,
            "scheme": self.scheme.name,
            "certificate": self.identity.fingerprint,
            "seed": "none" if self.options.seed is None else str(self.options.seed),
        }


def find_assignment(scheduler: PartyScheduler, role: str, reference: str) -> Assignment:
    """Look up what a scheduler is to run.

    Args:
        scheduler: the user's.
        role: the one that it can play.
        reference: the task's id, prefix, name, or the tutorial's placeholder.

    Raises:
        SecureHflError: there is no such task, or the script does not fit it.
    """
    options = run_options.current()
    home = home_directory()
    store = TaskStore(home)
    record = resolve_task(store, reference, options.task)
    if record.role != role:
        raise ConfigurationError(
            f"task {record.name!r} makes this party the {record.role}, but the script runs a {role}"
        )
    identity = Identity.load_or_create(home)
    distant = distant_work(options.engine)
    scheme = load_scheme(options.scheme or scheduler.scheme or record.scheme, as_distant(distant))
    if scheme.is_plaintext and scheme.name != record.scheme:
        raise SchemeMismatch(
            f"task {record.name!r} was agreed on with scheme {record.scheme!r}: a run cannot make it "
            f"{scheme.name!r}, which encrypts nothing. Create a task with --scheme {scheme.name}"
        )
    if options.keeps_rounds and (not scheme.carried or options.seed is not None):
        raise ConfigurationError(
            "--keep-for-judge: rounds of schemes bfv and paillier can be judged, in runs without a seed; leave it out"
        )
    limits = scheduler.limits or DEFAULT_LIMITS
    if options.limits is not None:
        limits = limits.changed(options.limits)
    return Assignment(role, scheduler.feature_key, record, store, identity, scheme, options, limits, distant)
