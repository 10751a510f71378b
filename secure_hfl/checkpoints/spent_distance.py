"""What this party has shown its peers of its secrets so far, from the start of a task to its end.

It is not part of a checkpoint: who goes on from an earlier one has shown what it has shown. So it lies beside the
checkpoints, and goes when they go. A mark is written ahead of what is used (`DistanceBudget`), so that a crash loses
none of it.
"""

from __future__ import annotations

import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from protocols.core.distance import Distance, DistanceBudget
from secure_hfl.errors import CheckpointRefused
from secure_hfl.files import write_private
from secure_hfl.home import make_private_directory


class _Spent(BaseModel):
    """Of one layer: a `Distance`."""

    model_config = ConfigDict(extra="forbid")

    squares: float = Field(ge=0, allow_inf_nan=False)
    linear: float = Field(ge=0, allow_inf_nan=False)


_LAYERS = TypeAdapter(dict[str, _Spent])


class SpentDistance:
    """A file of what each layer has shown, by the collaborator's feature key.

    Args:
        directory: where checkpoints are.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "spent.json"
        self._lock = threading.Lock()  # layers show what they show in threads of their own

    def budget(self, feature_key: str, role: str) -> DistanceBudget:
        """What this party may still show in one layer.

        Args:
            feature_key: whose layer it is.
            role: this party's.

        Raises:
            CheckpointRefused: the file is damaged.
        """
        found = self._read().get(feature_key)
        spent = Distance() if found is None else Distance(found.squares, found.linear)
        name = f"{feature_key}'s layer at the {role}"
        return DistanceBudget(name, spent, lambda mark: self._keep(feature_key, mark), threading.Lock())

    def settle(self, feature_key: str, budget: DistanceBudget) -> None:
        """Nothing more is shown under this budget: write down what was, in place of the mark ahead of it."""
        if self.has_begun(feature_key):
            self._keep(feature_key, budget.spent)

    def has_begun(self, feature_key: str) -> bool:
        """Whether this party may have shown anything in a layer. Raises as `budget`."""
        return feature_key in self._read()

    def _read(self) -> dict[str, _Spent]:
        if not self._path.exists():
            return {}
        try:
            return _LAYERS.validate_json(self._path.read_bytes())
        except ValidationError as error:
            raise CheckpointRefused(
                f"{self._path.name} among the checkpoints is damaged: what the run has shown is not known. Start all "
                "parties without --resume"
            ) from error

    def _keep(self, feature_key: str, mark: Distance) -> None:
        with self._lock:
            layers = self._read()
            layers[feature_key] = _Spent(squares=mark.squares, linear=mark.linear)
            make_private_directory(self._path.parent)
            write_private(self._path, _LAYERS.dump_json(layers))

    def clear(self) -> None:
        """The task is finished, or begins."""
        self._path.unlink(missing_ok=True)
