"""What a task compares of all parties' terms before any id moves, from their scripts alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from protocols.core.errors import WrongSession
from protocols.task.terms import RunLimits, check_may_train, check_summand
from secure_hfl import run_options
from secure_hfl.dry_run.findings import Finding
from secure_hfl.dry_run.host import asked_widths, likely_scheme
from secure_hfl.dry_run.run import DryParty
from secure_hfl.engine.contract import CollaboratorScheduler, HostScheduler
from secure_hfl.engine.terms import check_sum, declared_by
from secure_hfl.errors import ConfigurationError
from secure_hfl.tasks import PlannedTerms
from secure_hfl.tasks.record import SUM


@dataclass(frozen=True)
class Terms:
    """Of the parties of one task.

    Args:
        host: the Host's scheduler.
        host_party: its dry run.
        others: the Collaborators' schedulers, each with its dry run.
    """

    host: HostScheduler
    host_party: DryParty
    others: Sequence[tuple[CollaboratorScheduler, DryParty]]

    def findings(self) -> Iterator[Finding]:
        """What a real run would refuse, for the Host's table."""
        keys = [party.key for _, party in self.others]
        try:
            widths = asked_widths(self.host, self.host_party, keys) or [0] * len(keys)
        except ConfigurationError:  # the Host's own dry run has said so
            return
        if self.host.fusion == SUM:
            yield from self._check_sum(widths)
        for (scheduler, party), width in zip(self.others, widths):
            if scheduler.is_feature_trainable:
                yield from self._check_training(party.key)
            try:
                self._check_limits(scheduler.run_limits or RunLimits(), party, width)
            except WrongSession as error:
                yield Finding("run_limits", "fail", str(error))

    def _check_training(self, key: str) -> Iterator[Finding]:
        may_train = self.host.may_train
        try:
            check_may_train(key, key, may_train)
        except WrongSession as error:
            # `may_train` has the names of a task, and where there is one Collaborator its feature_key may be another.
            is_certain = not may_train or len(self.others) > 1
            more = "" if is_certain else f". Right only if the task calls {key!r} one of {sorted(may_train or ())}"
            yield Finding("may_train", "fail" if is_certain else "warn", f"{error}{more}")

    def _check_sum(self, widths: Sequence[int]) -> Iterator[Finding]:
        scheme, keys = likely_scheme(self.host, self.host_party), [party.key for _, party in self.others]
        known = [width or party.batches.width for (_, party), width in zip(self.others, widths)]
        try:
            check_sum(scheme, known, [self.host_party.key, *keys])
            for scheduler, party in self.others:
                check_summand(party.key, scheduler.is_feature_trainable)
        except (ConfigurationError, WrongSession) as error:
            yield Finding("fusion", "fail", str(error))

    def _check_limits(self, limits: RunLimits, party: DryParty, width: int) -> None:
        declared = declared_by(self.host, run_options.current(), PlannedTerms())
        # A Host that decides as it goes takes what all allow.
        limits.check_others(party.key, len(self.others) - 1 if self.host.fusion == SUM else 0)
        limits.check(party.key, replace(declared, max_rounds=declared.max_rounds or limits.rounds), width)
        if party.assumptions.intersection is not None:
            limits.check_ids(party.key, len(party.assumptions.intersection))
        rows = max((max(rows, default=0) for rows in party.batches.rows.values()), default=0)
        limits.check_shape(party.key, rows, width or party.batches.width)
