"""What Host and Collaborator share: the tutorial's names, and the checks on what the user's methods return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn
from torch.optim import Optimizer

from protocols.psi.packed import PackedIds
from protocols.task.alignment import SampleId
from protocols.task.manifest import MAX_NAME
from secure_hfl.engine.run import Run
from secure_hfl.engine.running import RunningParty
from secure_hfl.engine.supervisor import launch
from secure_hfl.errors import ConfigurationError
from secure_hfl.limits import OperatorLimits
from secure_hfl.mocking import active_mock, script_runs_again
from secure_hfl.schedulers.other_names import accept_other_names

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


PLACEHOLDER = "YOUR_TASK_ID"
"""Stands for $SECURE_HFL_TASK, or for the only task that it can be."""

MAX_TIMEOUT = 1e7
"""Seconds; four months. Longer ones overflow where threads wait."""

WORKER = (
    "a worker process (of a DataLoader, for example) runs this script again, and launches no task: "
    'put what follows launch_task() below `if __name__ == "__main__":`'
)


class Stoppable(Protocol):
    """What serves predictions."""

    def stop(self) -> None:
        """Stop, in order; from any thread."""


class HeteroNNScheduler(ABC):
    """One party of a heterogeneous neural network task.

    Args:
        feature_key: the name under which the Host's `train_a_batch` finds this party's features: what the task calls
            the party. Where there is one Collaborator, it may have another.
        name: a name for the task in logs; default its id.
        schedule_timeout: seconds to wait for the other parties to join.
        is_feature_trainable: whether this party's bottom model is trained. If not, it is shown no gradient.
        scheme: how features and gradients are protected; default what the task record says.
        limits: what peers may ask of this machine; default `OperatorLimits()`. $SECURE_HFL_LIMITS changes single ones.
    """

    def __init__(
        self,
        feature_key: str,
        name: str | None = None,
        schedule_timeout: float = 30,
        is_feature_trainable: bool = True,
        scheme: str | None = None,
        limits: OperatorLimits | None = None,
    ) -> None:
        self.feature_key = feature_key
        self.name = name
        self.schedule_timeout = schedule_timeout
        self.is_feature_trainable = is_feature_trainable
        self.scheme = scheme
        self.limits = limits
        self._run: RunningParty | None = None
        self._server: Stoppable | None = None
        self._context_is_valid = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        accept_other_names(cls)

    def stop_serving(self) -> None:
        """From another thread, as of a notebook: end `serve_predictions` in order. A session on line ends where all is
        signed, and any other goes on to its end; over HTTP what is being answered is answered."""
        if self._server is not None:
            self._server.stop()

    # What the user implements ----------------------------------------------------------------------------------------

    @abstractmethod
    def load_local_ids(self) -> Iterable[str]:
        """The ids of all samples this party holds, as text, without duplicates.

        A list, a generator, or a numpy or Arrow array. More than 2^20 go to the disk as they come.
        """

    @abstractmethod
    def split_dataset(self, id_intersection: set[str]) -> tuple[Iterable[SampleId], Iterable[SampleId]]:
        """Training ids and test ids, by a rule that all parties share. Sets, or lists whose order is kept.

        More than 2^20 ids in common come as `PackedIds`, an ordered set without an object for each id: return parts of
        it, as `ids[:n]` or `ids[mask]`.
        """

    @abstractmethod
    def build_feature_model(self) -> nn.Module:
        """This party's bottom model: returns [batch, features] float32."""

    @abstractmethod
    def build_feature_optimizer(self, feature_model: nn.Module) -> Optimizer | None:
        """The optimizer of the bottom model."""

    @abstractmethod
    def iterate_train_feature(self, feature_model: nn.Module, train_ids: set[Any]) -> Iterator[Any]:
        """One round of training batches, in an order that all parties share."""

    @abstractmethod
    def iterate_test_feature(self, feature_model: nn.Module, test_ids: set[Any]) -> Iterator[Any]:
        """The test batches, in an order that all parties share."""

    def iterate_prediction_feature(self, feature_model: nn.Module, ids: list[Any]) -> Iterator[Any]:
        """Optional: batches of features of these ids, each id once, in this order; labels beside them are kept aside.

        By default the iterators of training are asked: `iterate_train_feature` for ids that were trained on,
        `iterate_test_feature` for others. Ids are of the type that `split_dataset` returned.
        """
        raise NotImplementedError

    @property
    def has_prediction_features(self) -> bool:
        """Whether `iterate_prediction_feature` is overridden."""
        return type(self).iterate_prediction_feature is not HeteroNNScheduler.iterate_prediction_feature

    def validate_context(self) -> None:
        """Check what a run needs. Override to add checks, and call `super().validate_context()` first.

        Raises:
            ConfigurationError: an argument of the constructor does not make sense.
        """
        key = self.feature_key
        if not isinstance(key, str) or not 0 < len(key) <= MAX_NAME or not key.isprintable():
            raise ConfigurationError(f"feature_key must be printable text of at most {MAX_NAME} characters")
        if not 0 < self.schedule_timeout < MAX_TIMEOUT:
            raise ConfigurationError(f"schedule_timeout must be positive seconds, not {self.schedule_timeout}")
        if self.limits is not None and not isinstance(self.limits, OperatorLimits):
            raise ConfigurationError(f"limits must be OperatorLimits(...) or None, not {self.limits!r}")
        self._context_is_valid = True

    def get_extra_state(self) -> Mapping[str, Any]:
        """What else of yours a checkpoint must keep: numbers, text, tensors and containers of them.

        Kept without this: the models and optimizers, torch's, Python's and numpy's generators, and of this object's
        attributes those that have a state of their own (LR schedulers, GradScaler, generators, whatever has
        `state_dict` and `load_state_dict`) and those that hold a few plain numbers and texts and have changed.
        """
        return {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `get_extra_state` returned. Called after everything else has been restored."""
        if state:
            raise ConfigurationError("get_extra_state is overridden, so set_extra_state must be as well")

    # What the user calls ---------------------------------------------------------------------------------------------

    def launch_task(self, task_id: str) -> None:
        """Join the task and run it to its end.

        Args:
            task_id: the task's id, its first characters, or its name (`secure-hfl task list`). The tutorial's
                placeholder 'YOUR_TASK_ID' stands for $SECURE_HFL_TASK, or for the only unfinished task here.

        Raises:
            TaskFailed: the task ended without a result, at this party or another; every party gets the same reason.
                In a script it is printed on one line and the exit code is 1; in a notebook it is shown on one line.
        """
        mock = active_mock()
        if mock is not None:
            mock.launch(self, task_id)
        else:
            launch(self, task_id)

    def confirm_batch_ids(self, ids: Iterable[SampleId]) -> None:
        """Optional, from inside an iterator before it yields: these are the ids of the next batch, in its order.

        When the Host and a collaborator both say so, keyed digests are compared before the batch is trained on.
        """
        self._running.confirm_batch_ids(ids)

    # What the engine provides ----------------------------------------------------------------------------------------

    @property
    def _running(self) -> RunningParty:
        if self._run is None:
            raise ConfigurationError(WORKER if script_runs_again() else "this is known once launch_task() is running")
        return self._run

    @property
    def task_id(self) -> str:
        """The id of the running task."""
        return self._running.task_id

    @property
    def current_round(self) -> int:
        """The round under way, from 1; 0 before training."""
        return 0 if self._run is None else self._run.current_round

    @property
    def id_intersection(self) -> set[str] | PackedIds:
        """The ids that all parties hold."""
        ids = self._running.id_intersection
        return ids if isinstance(ids, PackedIds) else set(ids)

    @property
    def train_ids(self) -> Any:
        """What `split_dataset` returned for training; a set iterates in the same order at every party."""
        return self._running.train_ids

    @property
    def test_ids(self) -> Any:
        """What `split_dataset` returned for testing."""
        return self._running.test_ids

    @property
    def feature_model(self) -> nn.Module:
        """This party's bottom model."""
        return self._running.models.feature_model

    @property
    def tb_writer(self) -> SummaryWriter:
        """A TensorBoard writer whose logs are exported with the results."""
        return self._running.tb_writer

    @abstractmethod
    def _make_run(self, reference: str) -> Run:
        """The engine's run for this role."""
