"""What every scheme provides: the two ends of one collaborator's projection layer.

    collaborator                                    host
    setup()          <--- keys, initial W ---->     setup()                 once
    forward(a)       ---- projection --------->     forward(rows) -> z      each batch
    backward() -> da <--- gradient -----------      backward(dz, lr)        each training batch
                     ---- weight gradient ---->
    settle()         <--- the next share ------

Each method is a conversation (`protocols.steps`): the engine runs it over the wire, tests run two ends in memory.
All schemes compute `protocols.projection.reference`, so user code and parity tests are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InvalidInput, MalformedMessage, ProtocolError
from protocols.message import Array, Message
from protocols.randomness import OsRandomness, Randomness, SeededRandomness, expand
from protocols.steps import Send, Steps

MAX_WIDTH = 1 << 16
MAX_ROWS = 1 << 20


@dataclass(frozen=True)
class StepSkipped(Message):
    """The host trained nothing on this batch: drop its features, change no weights."""


@dataclass(frozen=True)
class FeatureShape(Message):
    """A collaborator's first training batch is [rows, width]; sent once, before that batch."""

    rows: int
    width: int

    def __post_init__(self) -> None:
        self.require_int("rows", 1, MAX_ROWS)
        self.require_int("width", 1, MAX_WIDTH)


@dataclass(frozen=True)
class ProjectionSpec:
    """One collaborator's layer, as the manifest fixes it.

    Args:
        feature_key: whose features.
        width_in: d, columns of a.
        width_out: o, columns of z; None for no projection layer at all (scheme "plain" only).
        rows: of the first training batch; schemes lay their products out for batches of this size.
        trainable: does the collaborator receive da?
        session: 32-byte session id.
        seed: None, or the number of a reproducible run, which is NOT SECRET.
    """

    feature_key: str
    width_in: int
    width_out: int | None
    rows: int
    trainable: bool
    session: bytes
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("width_in", "width_out"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_WIDTH:
                raise InvalidInput(f"{self.feature_key}: {name} must be 1 to {MAX_WIDTH}, not {value}")
        if not 1 <= self.rows <= MAX_ROWS:
            raise InvalidInput(f"{self.feature_key}: rows must be 1 to {MAX_ROWS}, not {self.rows}")


def layer_randomness(spec: ProjectionSpec, role: str) -> Randomness:
    """What a role's part of the weights, noise and rounding comes from: the OS, or the seed of a repeatable run.

    Masks and keys never come from here: they do not change a result, so they are secret even in a repeatable run.
    """
    if spec.seed is None:
        return expand(OsRandomness().seed())
    return SeededRandomness(spec.seed, f"projection of {spec.feature_key} at {role}")


class HostProjection(ABC):
    """The host's end. Holds its share of W; never sees a or W."""

    @abstractmethod
    def setup(self) -> Steps[None]:
        """Exchange keys and make the initial weights."""

    @abstractmethod
    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        """z [rows, o] float32."""

    @abstractmethod
    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        """Send what the collaborator may know of dz [rows, o], and move W by -learning_rate * dz^T a."""

    @abstractmethod
    def weights(self) -> dict[str, Array]:
        """What this side keeps of the layer, by name (for the results and checkpoints)."""

    def prepare(self) -> bool:
        """Make a little of what can be made ahead of time; False when there is enough. Called from one other thread."""
        return False

    def skip(self) -> Steps[None]:
        """Tell the collaborator that this batch trains nothing."""
        yield Send(StepSkipped())


class CollaboratorProjection(ABC):
    """The collaborator's end. Holds its share of W; never sees z or W."""

    @abstractmethod
    def setup(self) -> Steps[None]:
        """Exchange keys and make the initial weights."""

    @abstractmethod
    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        """Let the host have z for these features [rows, d]."""

    @abstractmethod
    def backward(self) -> Steps[NDArray[np.float32] | None]:
        """da [rows, d] float32; None when the bottom model is frozen or the host skipped the batch."""

    def settle(self) -> Steps[None]:
        """What remains of the batch once the bottom model has been stepped. Run after every `backward`."""
        yield from ()

    def prepare(self) -> bool:
        """Make a little of what can be made ahead of time; False when there is enough. Called from one other thread."""
        return False

    @abstractmethod
    def weights(self) -> dict[str, Array]:
        """What this side keeps of the layer, by name."""


def check_rows(who: str, values: Array, rows: int, width: int, received: bool = False) -> None:
    """Raise `InvalidInput` (our own tensor) or `MalformedMessage` (a peer's) unless values is [rows, width] float32."""
    if values.dtype == np.float32 and values.shape == (rows, width):
        return
    error: type[ProtocolError] = MalformedMessage if received else InvalidInput
    raise error(
        f"{who}: expected [{rows}, {width}] float32, got {list(values.shape)} {values.dtype}. "
        "A feature_model must always return [batch, features] of one width"
    )
