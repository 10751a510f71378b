"""What both roles' dry runs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocols.core.errors import InvalidInput, OutOfRange, SecureHflError
from protocols.core.message import check_finite
from protocols.layer.parameters import LayerParameters
from protocols.layer.quantised import QuantisedFeatures
from protocols.psi.ids import check_ids
from protocols.task.alignment import SampleId
from secure_hfl import run_options
from secure_hfl.engine.contract import PartyScheduler
from secure_hfl.engine.models import Models
from secure_hfl.engine.user_code import UserCode, check_features
from secure_hfl.errors import ConfigurationError, UserCodeError
from secure_hfl.results import recording_writer
from secure_hfl.schemes import is_plaintext

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What one step of a dry run showed.

    Args:
        step: the user's method, mostly.
        status: "fail" if a real run would stop there.
        detail: for people.
        error: what stopped the dry run.
    """

    step: str
    status: Status
    detail: str
    error: SecureHflError | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Assumptions:
    """What a dry run cannot know.

    Args:
        peers: how wide the features of the other parties are, by feature key. For a Host; what is left out is taken
            from its `projection`, or made as wide as its own features.
        intersection: the ids that all parties hold; None: all of this party's own.
        batches: how many are drawn for training, and for testing.
    """

    peers: Mapping[str, int] = field(default_factory=dict)
    intersection: frozenset[str] | None = None
    batches: int = 3


class DryRun(ABC):
    """A dry run of one scheduler. It stands where a task's run would: `scheduler.current_round` and the like work.

    Args:
        scheduler: the user's.
        reference: what `launch_task` was given.
        assumptions: about the peers.
        report: is told every finding as it is made.

    Attributes:
        role: host or collaborator.
        models: of this party.
        width: of its features; 0 until the first batch.
        rows: of the batches of each iterator.
    """

    role: ClassVar[str]
    models: Models

    def __init__(
        self, scheduler: PartyScheduler, reference: str, assumptions: Assumptions, report: Callable[[Finding], None]
    ) -> None:
        self.user = UserCode(scheduler)
        self.party = scheduler.feature_key
        self.scheme_name = run_options.current().scheme or scheduler.scheme
        self.task_id = reference
        self.current_round = 0
        self.id_intersection: frozenset[str] = frozenset()
        self.train_ids: Collection[SampleId] = ()
        self.test_ids: Collection[SampleId] = ()
        self._scheduler = scheduler
        self._assumptions = assumptions
        self._report = report
        self._stopped_by: SecureHflError | None = None
        self._confirmed: list[SampleId] | None = None
        self._scalars: dict[str, list[tuple[int, float]]] = {}
        self._tb_writer: SummaryWriter | None = None
        self._directory: Path | None = None
        self.width = 0
        self.rows: dict[str, list[int]] = {}
        self._random = torch.Generator().manual_seed(0)

    def execute(self) -> None:
        """Call everything.

        Raises:
            SecureHflError: a real run would stop here. It has been reported.
        """
        with TemporaryDirectory(prefix="secure-hfl-dry-run-") as directory:
            self._directory = Path(directory)
            try:
                self._execute()
            finally:
                self._directory = None
                if self._tb_writer is not None:
                    self._tb_writer.close()

    def _execute(self) -> None:
        with self.step("validate_context"):
            self.user.validate()
        own = self.check_local_ids()
        self._check_split(own)
        self.current_round = 1
        self._build()
        self.models.set_mode(training=True)
        self._check_training()
        self.models.set_mode(training=False)
        self._check_testing()

    # Findings --------------------------------------------------------------------------------------------------------

    def found(self, step: str, status: Status, detail: str) -> None:
        """Report something that does not stop the dry run."""
        self._report(Finding(step, status, detail))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The block is this step: an error in it is reported before it goes on its way."""
        try:
            yield
        except SecureHflError as error:
            if error is not self._stopped_by:  # by a step within this one
                self._stopped_by = error
                self._report(Finding(name, "fail", str(error), error))
            raise

    # Ids -------------------------------------------------------------------------------------------------------------

    def check_local_ids(self) -> list[str]:
        """This party's ids, as private set intersection takes them."""
        with self.step("load_local_ids"):
            ids = self.user.local_ids()
            check_ids(ids)
        some = ", ".join(repr(each) for each in ids[:3])
        self.found("load_local_ids", "ok", f"{len(ids):,} ids, such as {some}")
        return ids

    def _check_split(self, own: list[str]) -> None:
        given = self._assumptions.intersection
        self.id_intersection = frozenset(own) if given is None else given
        what = "all own ids" if given is None else "given ids"
        with self.step("split_dataset"):
            if not self.id_intersection <= set(own):
                raise InvalidInput(f"{len(self.id_intersection - set(own))} of the given ids are not this party's")
            self.train_ids, self.test_ids = train, test = self.user.split(self.id_intersection)
            split = self.user.call("split_dataset", self._scheduler.split_dataset, _AnyOrder(self.id_intersection))
            again = [list(ids) if isinstance(ids, (list, tuple)) else set(ids) for ids in split]
            first = [list(ids) if isinstance(now, list) else set(ids) for ids, now in zip((train, test), again)]
            if again != first:
                raise InvalidInput(
                    "split_dataset depends on the order in which the set gives its ids, which is another at every "
                    "party; sort them first"
                )
        sizes = f"{len(train):,} for training, {len(test):,} for testing"
        self.found("split_dataset", "ok", f"of {len(self.id_intersection):,} ids ({what}): {sizes}")

    # Models ----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _build(self) -> None:
        """Build what this role builds."""

    def found_model(self, step: str, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        """Report a model and its optimizer."""
        count = sum(parameter.numel() for parameter in model.parameters())
        trained = "not trained" if optimizer is None else f"trained by {type(optimizer).__name__}"
        self.found(step, "ok", f"{type(model).__name__}, {count:,} parameters, {trained}")

    def check_parameters(self) -> None:
        """After a step."""
        for name, model in self.models.by_name().items():
            if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
                raise OutOfRange(f"a step has made parameters of {name} NaN or infinite")

    # Batches ---------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _check_training(self) -> None:
        """Draw some training batches, and train on them."""

    @abstractmethod
    def _check_testing(self) -> None:
        """Draw some test batches."""

    def some_batches(self, training: bool) -> Iterator[Any]:
        """The first ones."""
        ids = self.train_ids if training else self.test_ids
        return islice(self.user.batches(training, self.models.feature_model, ids), self._assumptions.batches)

    def check_batch(self, name: str, features: object) -> torch.Tensor:
        """A batch's features as every task takes them: a finite [rows, width], the width always the same."""
        checked = check_features(name, features)
        width = checked.shape[1]
        self.width = self.width or width
        if width != self.width:
            raise UserCodeError(f"{name} yielded features of width {width}, after some of width {self.width}")
        check_finite(f"features that {name} yielded", as_array(checked))
        if self._confirmed is not None and len(self._confirmed) != len(checked):
            raise UserCodeError(f"confirm_batch_ids named {len(self._confirmed)} ids for a batch of {len(checked)}")
        self._confirmed = None
        return checked

    def found_batches(self, step: str, batches: list[torch.Tensor], more: str = "") -> None:
        """Report what an iterator has yielded."""
        if not batches:
            raise UserCodeError(f"{step} yielded no batch")
        self.rows[step] = [len(batch) for batch in batches]
        rows = " + ".join(map(str, self.rows[step]))
        norm = max(float(batch.detach().double().norm(dim=1).max()) for batch in batches)
        kind = str(batches[0].dtype).removeprefix("torch.")
        self.found(step, "ok", f"{rows} rows, {self.width} wide, {kind}; largest norm of a sample {norm:.3g}{more}")

    def made_up(self, rows: int, width: int) -> torch.Tensor:
        """Numbers of the size that features have; the same in every dry run."""
        return torch.randn(rows, width, generator=self._random)

    # What the scheduler asks for -------------------------------------------------------------------------------------

    def confirm_batch_ids(self, ids: Iterable[SampleId]) -> None:
        """See the scheduler."""
        self._confirmed = list(ids)
        known = {str(each) for each in self.id_intersection}
        strangers = [each for each in self._confirmed if str(each) not in known]
        if strangers:
            raise InvalidInput(f"confirm_batch_ids: {strangers[0]!r} is not in the intersection")

    @property
    def tb_writer(self) -> SummaryWriter:
        """Writes to a directory that is gone after the dry run."""
        if self._tb_writer is None:
            if self._directory is None:
                raise ConfigurationError("tb_writer is known while a dry run lasts")
            self._tb_writer = recording_writer(self._directory / "tensorboard", lambda: self._scalars)
        return self._tb_writer

    def last_scalars(self) -> dict[str, float]:
        """What was written to `tb_writer`: the last value of each tag."""
        return {tag: values[-1][1] for tag, values in self._scalars.items()}


class _AnyOrder(set[str]):
    """A set that shows how little its order means: every iteration has another."""

    def __iter__(self) -> Iterator[str]:
        ids = list(super().__iter__())
        return (ids[at] for at in torch.randperm(len(ids)).tolist())


def as_array(features: torch.Tensor) -> NDArray[np.float32]:
    """Features as they would be sent."""
    values: NDArray[np.float32] = features.detach().to("cpu", torch.float32).contiguous().numpy()
    return values


def check_encryptable(key: str, features: torch.Tensor, scheme: str | None) -> None:
    """Raises `OutOfRange` for features that an encrypted scheme does not take."""
    if scheme is None or not is_plaintext(scheme):
        QuantisedFeatures.of(key, as_array(features), LayerParameters())
