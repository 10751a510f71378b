"""The layer of a frozen bottom model, whatever the scheme: each row of features crosses once a task, and W stays.

    collaborator                                         host
    setup, resume                                        as the scheme's
    batch   FrozenRows(new, references)  ------------->  which of its rows were sent before, and how many were not
            the scheme's messages 1 and 2, as in a test, for the new rows only; none if there are none
                                                         z: of the new rows from these, of the others from before
    train                                <-------------  BatchClosed

Both sides stand around those of a scheme (`FrozenCollaborator`, `FrozenHost`), which never see a training batch: they
are asked for evaluations only, in training too. So the weights keep their first version, and the host keeps the z of
one look at each row, however many rounds it trains for. What both remember: protocols/layer/frozen_rows.py.

**Leaks** what a test batch of the scheme does, once for each different row; and to the host which rows are the same,
which their z say too: the noise on them is a function of the weights' version and the row. To the collaborator nothing.
A row that a model gives with other bits (augmentation, another device, a model that is not in eval mode) is another
row: it crosses, is shown and is counted (`rows_shown`).

**Why W must stay** a host that is shown the same rows by other weights in every round solves for them:
tests/attacks/test_frozen_rounds.py. So once rows were shown, a collaborator resumes only from behind the set-up
(`CollaboratorAgreement`): whoever has lost that checkpoint, or says so, would have it draw another W.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.message import Array
from protocols.core.steps import Receive, Send, Steps, received
from protocols.layer.frozen_rows import KeptRows, SentRows, kept_rows
from protocols.layer.interface import (
    CollaboratorLayer,
    CollaboratorOfflinePhase,
    HostLayer,
    HostOfflinePhase,
    LayerSide,
    LayerSpec,
    check_rows,
)
from protocols.layer.lifecycle import Lifecycle, PendingBatch
from protocols.layer.messages import BatchClosed, FrozenRows

SideT = TypeVar("SideT", bound=LayerSide)
RowsT = TypeVar("RowsT", bound=SentRows | KeptRows)

PREFIX = "frozen_"
"""Before the names of what a checkpoint keeps here; the others are the scheme's."""


class _FrozenSide(LayerSide, Generic[SideT, RowsT]):
    """What both sides do alike: the scheme's side makes, keeps and resumes the shares; the rows are kept here.

    Args:
        spec: the layer.
        inner: the scheme's side of it.
        rows: what this side remembers of the rows that have crossed.
    """

    def __init__(self, spec: LayerSpec, inner: SideT, rows: RowsT) -> None:
        self._spec, self._inner, self._rows = spec, inner, rows
        self._life = Lifecycle(spec.feature_key)
        self._pending: PendingBatch[None] = PendingBatch(spec.feature_key)

    def setup(self) -> Steps[None]:
        """See the interface."""
        self._life.begin_setup()
        yield from self._inner.setup()
        self._life.end_batch()

    def resume(self, state: Mapping[str, Array]) -> Steps[None]:
        """See the interface."""
        self._life.begin_setup()
        yield from self._inner.resume(_restored(self._spec, state, self._rows))
        self._life.end_batch()

    def state(self) -> dict[str, Array]:
        """See the interface: the scheme's, and that of the rows."""
        self._life.check_between_batches()
        rows = {PREFIX + name: array for name, array in self._rows.state().items()}
        return {**self._inner.state(), **rows}

    def weights(self) -> dict[str, Array]:
        """See the interface."""
        return self._inner.weights()

    def begin_round(self, number: int) -> None:
        """See the interface."""
        self._inner.begin_round(number)

    def prepare(self) -> bool:
        """See the interface."""
        return self._inner.prepare()

    def before_checkpoint(self) -> Steps[None]:
        """See the interface."""
        yield from self._inner.before_checkpoint()

    @property
    def rows_shown(self) -> int:
        """See the interface."""
        return self._rows.count

    def _end_batch(self, rows: int, training: bool) -> None:
        """It was projected; a training batch is still to be closed."""
        if training:
            self._pending.keep(rows, None)
        else:
            self._life.end_batch()


class FrozenHost(_FrozenSide[HostLayer, KeptRows], HostLayer):
    """The host's side.

    Args:
        spec: the layer.
        inner: the scheme's side of it.
    """

    def __init__(self, spec: LayerSpec, inner: HostLayer) -> None:
        self._width = _projected_width(spec)
        super().__init__(spec, inner, KeptRows(self._width, kept_rows(self._width)))
        self._announced: FrozenRows | None = None

    @property
    def offline(self) -> HostOfflinePhase | None:
        """See the interface. Units of test batches only."""
        inner = self._inner.offline
        return None if inner is None else _EvaluationPhase(inner)

    def new_rows(self, rows: int) -> Steps[int]:
        """See the interface.

        Raises:
            MalformedMessage: what the collaborator says of its rows cannot be.
        """
        self._life.begin_batch()
        self._pending.drop()
        message = received((yield Receive(FrozenRows)), FrozenRows)
        self._rows.check(message, rows)
        self._announced = message
        return message.new

    def forward(self, rows: int, training: bool) -> Steps[NDArray[np.float32]]:
        """See the interface. Hears how many rows are new, unless `new_rows` has."""
        if self._announced is None:
            yield from self.new_rows(rows)
        message, self._announced = self._announced, None
        assert message is not None  # noqa: S101 - new_rows has set it
        fresh = np.empty((0, self._width), np.float32)
        if message.new:
            fresh = yield from self._inner.forward(message.new, False)
        z = self._rows.take(message.references, fresh)
        self._end_batch(rows, training)
        return z

    def backward(self, dz: NDArray[np.float32], learning_rate: float) -> Steps[None]:
        """See the interface. W stays, whatever the gradient."""
        self._pending.check(len(dz))
        yield from self.skip()

    def skip(self) -> Steps[None]:
        """See the interface."""
        self._pending.take()
        yield Send(BatchClosed())
        self._life.end_batch()


class FrozenCollaborator(_FrozenSide[CollaboratorLayer, SentRows], CollaboratorLayer):
    """The collaborator's side. Arguments as `FrozenHost`."""

    def __init__(self, spec: LayerSpec, inner: CollaboratorLayer) -> None:
        super().__init__(spec, inner, SentRows(kept_rows(_projected_width(spec))))

    @property
    def offline(self) -> CollaboratorOfflinePhase | None:
        """See the interface."""
        return self._inner.offline

    def forward(self, features: NDArray[np.float32], training: bool) -> Steps[None]:
        """See the interface."""
        self._life.begin_batch()
        self._pending.drop()
        check_rows(f"features of {self._spec.feature_key}", features, len(features), self._spec.width_in)
        references, new = self._rows.refer(features)
        yield Send(FrozenRows(len(new), references))
        if len(new):
            yield from self._inner.forward(features[new], False)
        self._end_batch(len(features), training)

    def backward(self) -> Steps[NDArray[np.float32] | None]:
        """See the interface. Waits for the host: checkpoints of both must be of the same batches."""
        self._pending.take()
        yield Receive(BatchClosed)
        self._life.end_batch()
        return None


class _EvaluationPhase:
    """`HostOfflinePhase` of a layer that is only ever asked for evaluations, of new rows."""

    def __init__(self, inner: HostOfflinePhase) -> None:
        self._inner = inner

    @property
    def bytes_per_unit(self) -> int:
        """See the interface."""
        return self._inner.bytes_per_unit

    def kind(self, training: bool) -> str:
        """See the interface."""
        return self._inner.kind(False)

    def stock(self, kind: str) -> int:
        """See the interface."""
        return self._inner.stock(kind)

    def needs(self, training: bool, rows: int) -> tuple[str, int]:
        """See the interface."""
        return self._inner.needs(False, rows) if rows else (self.kind(training), 0)

    def generate(self, kind: str, count: int) -> Steps[None]:
        """See the interface."""
        return self._inner.generate(kind, count)


def _projected_width(spec: LayerSpec) -> int:
    return spec.width_in if spec.width_out is None else spec.width_out


def _restored(spec: LayerSpec, state: Mapping[str, Array], rows: SentRows | KeptRows) -> Mapping[str, Array]:
    """Put a checkpoint's rows back; what is left is the scheme's. Raises `InvalidInput`."""
    where = f"the checkpoint of {spec.feature_key}'s layer"
    missing = sorted(name for name in rows.state() if PREFIX + name not in state)
    if missing:
        raise InvalidInput(f"{where} lacks {', '.join(missing)} of the rows that have crossed")
    rows.restore(where, {name: state[PREFIX + name] for name in rows.state()})
    return {name: array for name, array in state.items() if not name.startswith(PREFIX)}
