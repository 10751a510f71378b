"""What every scheme provides: the two sides of one collaborator's projection layer.

    collaborator                                    host
    setup()          <--- keys, initial W ---->     setup()                 once; or
    resume(state)    <--- fresh keys --------->     resume(state)           where a checkpoint was made by state()
    forward(a)       ---- projection --------->     forward(rows) -> z      each batch
    backward() -> da <--- gradient -----------      backward(dz, lr)        each training batch
                     ---- weight gradient ---->
    settle()         <--- the next share ------

A frozen bottom model's layer (`LayerSpec.trainable` is false) has no backward part: protocols/layer/frozen.py stands
around the two sides, which then see test batches only.

Each method is a conversation (`protocols.core.steps`): the engine runs it over the wire, tests run both in memory.
All schemes compute `protocols.layer.reference`, so user code and parity tests are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.core.distance import DistanceBudget
from protocols.core.errors import InvalidInput, MalformedMessage, ProtocolError
from protocols.core.message import Array, Message
from protocols.core.randomness import OsRandomness, Randomness, SeededRandomness, expand
from protocols.core.steps import Steps
from protocols.core.witness import Witness
from protocols.layer.messages import MAX_ROWS, MAX_WIDTH
from protocols.layer.pads import Pads
from protocols.layer.shapes import Ring

STOCK_BYTES = 64 << 20
"""Memory for units of one kind that lie unused at one party, unless its operator says otherwise."""


@dataclass(frozen=True)
class LayerSpec:
    """One collaborator's layer, as the manifest fixes it.

    Args:
        feature_key: whose features.
        width_in: d, columns of a.
        width_out: o, columns of z; None for no projection layer at all (scheme "plain" only).
        rows: of the first training batch; schemes lay their products out for batches of this size.
        trainable: does the collaborator receive da?
        session: 32-byte session id.
        seed: None, or the number of a reproducible run, which is NOT SECRET.
        batches: of training and tests in the whole run, at most, as it was declared; None: nobody says.
        stock_bytes: memory for what the peer has made ahead of time and not used, of one kind.
        budget: what this side may still show the other of its secrets. Default: a whole run's.
        witness: hears what this side computes from. Default: nobody.
        summands: of how many collaborators' projections the host gets the sum only; 1: it gets each by itself.
        pads: of the collaborator, where there is a sum.
    """

    feature_key: str
    width_in: int
    width_out: int | None
    rows: int
    trainable: bool
    session: bytes = field(repr=False)
    seed: int | None = None
    batches: int | None = None
    stock_bytes: int = STOCK_BYTES
    budget: DistanceBudget = field(default_factory=DistanceBudget, repr=False, compare=False)
    witness: Witness = field(default_factory=Witness, repr=False, compare=False)
    summands: int = 1
    pads: Pads | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("width_in", "width_out"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_WIDTH:
                raise InvalidInput(f"{self.feature_key}: {name} must be 1 to {MAX_WIDTH}, not {value}")
        if not 1 <= self.rows <= MAX_ROWS:
            raise InvalidInput(f"{self.feature_key}: rows must be 1 to {MAX_ROWS}, not {self.rows}")


def layer_randomness(spec: LayerSpec, role: str) -> Randomness:
    """What a role's part of the weights, noise and rounding comes from: the OS, or the seed of a repeatable run.

    Masks and keys never come from here: they do not change a result, so they are secret even in a repeatable run.
    """
    if spec.seed is None:
        return expand(OsRandomness().seed())
    return SeededRandomness(spec.seed, f"projection of {spec.feature_key} at {role}")


class LayerSide(ABC):
    """What both sides of a layer can do."""

    @abstractmethod
    def setup(self) -> Steps[None]:
        """Exchange keys and make the initial weights. Either this or `resume`, once."""

    @abstractmethod
    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """Go on from a checkpoint, instead of `setup`: fresh keys, the shares as they were.

        Args:
            state: what `state` gave this side, when it gave the peer what the peer resumes from.

        Raises:
            InvalidInput: it is not the state of this side of such a layer. Says what is wrong, and shows no value.
        """

    @abstractmethod
    def state(self) -> dict[str, Array]:
        """What a checkpoint keeps of this side, between two batches. Secret.

        No encryption key, mask of what is still to be sent, or position in a stream is in it: docs/recovery.md.

        Raises:
            CallOutOfOrder: the layer is not set up, or a batch is under way.
        """

    @abstractmethod
    def weights(self) -> dict[str, Array]:
        """What this side keeps of the layer, by name (for the results)."""

    def begin_round(self, number: int) -> None:
        """A round of training begins, or goes on after an interruption; both sides are told, before its first batch.

        A scheme whose rounds can be judged takes fresh secrets here, and commits to them with the first batch.
        """
        del number  # the others have nothing to do

    def before_checkpoint(self) -> Steps[None]:
        """What both sides say to each other before a checkpoint that both make; here nothing."""
        yield from ()

    @property
    def rows_shown(self) -> int | None:
        """How many different rows of a frozen bottom model have crossed; None where all cross in every round."""
        return None

    def prepare(self) -> bool:
        """Make a little of what can be made ahead of time; False when there is enough. Called from one other thread."""
        return False


UNITS_AT_ONCE = 8
"""Units made in one conversation: while one side decrypts, the other works on the next."""


def most_units(stock_bytes: int, bytes_per_unit: int) -> int:
    """How many units of one kind a host keeps in stock: as fit into that memory, and a conversation's in any case."""
    return max(UNITS_AT_ONCE, stock_bytes // bytes_per_unit)


class HostOfflinePhase(Protocol):
    """What a scheme makes with the collaborator beside training, in a lane of its own, to be used up by batches.

    The host decides what is made, and when. One thread may make while another trains.
    """

    @property
    def bytes_per_unit(self) -> int:
        """Memory that one unit takes at one party, about."""

    def kind(self, training: bool) -> str:
        """The kind of unit that training (or test) batches use."""

    def stock(self, kind: str) -> int:
        """How many units of a kind are ready."""

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """What must be ready before the next batch of so many rows: a kind, and how many of it."""

    def generate(self, kind: str, count: int) -> Steps[None]:
        """Make `count` units of a kind, the collaborator's `serve` answering."""


class CollaboratorOfflinePhase(Protocol):
    """The collaborator's part in it: it serves."""

    @property
    def request_type(self) -> type[Message]:
        """What the host opens a conversation of `generate` with."""

    def serve(self, request: Message) -> Steps[None]:
        """Make what such a message asks for."""


class HostLayer(LayerSide):
    """The host's side. Holds its share of W; never sees a or W."""

    @property
    def offline(self) -> HostOfflinePhase | None:
        """What is made beside training, once the layer is set up; None in a scheme without an offline phase."""
        return None

    def new_rows(self, rows: int) -> Steps[int]:
        """How many of the next batch's rows the collaborator is about to send something for: here all of them.

        Run before `forward`, and before the units that `offline` needs are waited for.
        """
        yield from ()
        return rows

    @abstractmethod
    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        """z [rows, o] float32. Not where the host gets a sum."""

    def forward_padded(self, rows: int, training: bool) -> Steps[Ring]:
        """In place of `forward` where the host gets a sum: z [rows, o] in the ring, under a pad that it does not know.

        Raises:
            InvalidInput: this scheme has no such thing.
        """
        yield from ()
        raise InvalidInput(f"{type(self).__name__} has no projections under pads")

    def decode_sum(self, ring: Ring) -> NDArray[np.float32]:
        """The sum of all z [rows, o] float32, of all layers' `forward_padded` added up in the ring.

        Raises:
            OutOfRange: the pads do not cancel, or a number is too large.
        """
        raise InvalidInput(f"{type(self).__name__} has no projections under pads")

    def receive_rest(self) -> Steps[None]:
        """What the collaborator sends behind its part of z for a training batch, and only the gradient needs.

        `backward` and `skip` receive it too, if it has not been. It has most likely come when dz is known, so that
        whoever has run this first sends what comes of dz without a wait.
        """
        yield from ()

    @abstractmethod
    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        """Send what the collaborator may know of dz [rows, o], and move W by -learning_rate * dz^T a."""

    @abstractmethod
    def skip(self) -> Steps[None]:
        """Tell the collaborator that this batch trains nothing."""


class CollaboratorLayer(LayerSide):
    """The collaborator's side. Holds its share of W; never sees z or W."""

    @property
    def offline(self) -> CollaboratorOfflinePhase | None:
        """As `HostLayer.offline`."""
        return None

    @abstractmethod
    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        """Let the host have z for these features [rows, d]."""

    @abstractmethod
    def backward(self) -> Steps[NDArray[np.float32] | None]:
        """da [rows, d] float32; None when the bottom model is frozen or the host skipped the batch."""

    def settle(self) -> Steps[None]:
        """What remains of the batch once the bottom model has been stepped. Run after every `backward`, and before the
        next `forward`; the bottom model may have been run for that by then."""
        yield from ()


def check_rows(who: str, values: Array, rows: int, width: int, received: bool = False) -> None:
    """Raise `InvalidInput` (our own tensor) or `MalformedMessage` (a peer's) unless values is [rows, width] float32."""
    if values.dtype == np.float32 and values.shape == (rows, width):
        return
    error: type[ProtocolError] = MalformedMessage if received else InvalidInput
    raise error(
        f"{who}: expected [{rows}, {width}] float32, got {list(values.shape)} {values.dtype}. "
        "A feature_model must always return [batch, features] of one width"
    )


def check_names(where: str, state: Mapping[str, Array], names: Collection[str]) -> None:
    """Raise `InvalidInput` unless a checkpoint's arrays are just these."""
    if set(state) != set(names):
        theirs, ours = (", ".join(sorted(each)) or "nothing" for each in (state, names))
        raise InvalidInput(f"{where} holds {theirs}; it must hold {ours}")
