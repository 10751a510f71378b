"""A dry run of one party: the steps that both roles share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import nn

from protocols.core.errors import InvalidInput, OutOfRange
from protocols.core.wording import plural
from protocols.psi.ids import check_ids
from secure_hfl import run_options
from secure_hfl.dry_run.batches import Batches, MadeUp
from secure_hfl.dry_run.findings import Assumptions, Finding, Findings
from secure_hfl.dry_run.shown import ShownRun
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.engine.id_forms import Forms
from secure_hfl.engine.last_batch import last_batch_problem
from secure_hfl.engine.models import Models
from secure_hfl.engine.user_code import UserCode


class DryParty:
    """What every part of a dry run works with.

    Args:
        scheduler: the user's.
        role: host or collaborator.
        reference: what `launch_task` was given.
        assumptions: about the peers.
        report: is told every finding as it is made.

    Attributes:
        key: this party's feature key.
        scheme: that is asked for; None: nobody has.
        shown: what the scheduler's properties look at.
    """

    def __init__(
        self,
        scheduler: PartyScheduler,
        role: str,
        reference: str,
        assumptions: Assumptions,
        report: Callable[[Finding], None],
    ) -> None:
        self.key = scheduler.feature_key
        self.role = role
        self.scheme = run_options.current().scheme or scheduler.scheme
        self.assumptions = assumptions
        self.user = UserCode(scheduler)
        self.shown = ShownRun(reference)
        self.findings = Findings(report)
        self.batches = Batches(self.user, self.shown, self.findings, assumptions.batches)
        self.made_up = MadeUp()

    def report_model(self, step: str, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        """Say what was built."""
        count = sum(parameter.numel() for parameter in model.parameters())
        trained = "not trained" if optimizer is None else f"trained by {type(optimizer).__name__}"
        self.findings.add(step, "ok", f"{type(model).__name__}, {plural(count, 'parameter')}, {trained}")

    def check_parameters(self) -> None:
        """After a step."""
        for name, model in self.shown.models.by_name().items():
            if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
                raise OutOfRange(f"a step has made parameters of {name} NaN or infinite")


class RolePart(ABC):
    """What one role does in its dry run."""

    @abstractmethod
    def build(self) -> Models:
        """Build and report the models; the scheduler is shown them while the user's methods go on."""

    @abstractmethod
    def train(self) -> None:
        """Draw some training batches, and train on them."""

    @abstractmethod
    def test(self) -> None:
        """Draw some test batches."""


class DryRun:
    """A dry run of one scheduler.

    Args:
        scheduler: the user's.
        party: what to work with.
        part: what its role does.
    """

    def __init__(self, scheduler: PartyScheduler, party: DryParty, part: RolePart) -> None:
        self._scheduler, self.party, self._part = scheduler, party, part

    def execute(self) -> None:
        """Call everything.

        Raises:
            SecureHflError: a real run would stop here. It has been reported.
        """
        shown = self.party.shown
        with shown.board.open():
            with self.party.findings.step("validate_context"):
                self.party.user.validate()
            self._check_split(self.check_local_ids())
            shown.current_round = 1
            models = self._part.build()
            models.set_mode(training=True)
            self._part.train()
            self._check_last_batch(models)
            models.set_mode(training=False)
            self._part.test()

    def _check_last_batch(self, models: Models) -> None:
        rows = self.party.batches.rows["iterate_train_feature"][0]
        problem = last_batch_problem(models.by_name(), len(self.party.shown.train_ids), rows)
        if problem:
            self.party.findings.add("iterate_train_feature", "warn", problem)

    def check_local_ids(self) -> list[str]:
        """This party's ids, as private set intersection takes them."""
        findings = self.party.findings
        with findings.step("load_local_ids"):
            ids = self.party.user.all_ids()
            check_ids(ids)
        some = ", ".join(repr(each) for each in ids[:3])
        findings.add("load_local_ids", "ok", f"{plural(len(ids), 'id')}, such as {some}")
        forms = Forms(ids)
        if forms.are_odd:
            findings.add("load_local_ids", "warn", f"ids match only where all parties write them alike: {forms}")
        return ids

    def _check_split(self, own: list[str]) -> None:
        party, shown = self.party, self.party.shown
        given = party.assumptions.intersection
        shown.id_intersection = common = frozenset(own) if given is None else given
        with party.findings.step("split_dataset"):
            if not common <= set(own):
                raise InvalidInput(f"{len(common - set(own))} of the given ids are not this party's")
            shown.train_ids, shown.test_ids = train, test = party.user.split(common)
            split = party.user.call("split_dataset", self._scheduler.split_dataset, _AnyOrder(common))
            again = [list(ids) if isinstance(ids, (list, tuple)) else set(ids) for ids in split]
            first = [list(ids) if isinstance(now, list) else set(ids) for ids, now in zip((train, test), again)]
            if again != first:
                raise InvalidInput(
                    "split_dataset depends on the order in which the set gives its ids, which is another at every "
                    "party; sort them first"
                )
        what = "all own ids" if given is None else "given ids"
        sizes = f"{len(train):,} for training, {len(test):,} for testing"
        party.findings.add("split_dataset", "ok", f"of {plural(len(common), 'id')} ({what}): {sizes}")


class _AnyOrder(set[str]):
    """A set that shows how little its order means: every iteration has another."""

    def __iter__(self) -> Iterator[str]:
        ids = list(super().__iter__())
        return (ids[at] for at in torch.randperm(len(ids)).tolist())
