"""How one side of a secret-shared layer starts, and what a checkpoint keeps of it: the same for every such scheme.

    setup     fresh keys, and a share of new weights (protocols/layer/initial.py)
    resume    fresh keys, and the share as the checkpoint has it

What a scheme sends after that, before the first batch, is its own matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocols.core.message import Array
from protocols.core.steps import Steps
from protocols.he.interface import Backend
from protocols.layer.initial import FirstShare, Keys, exchange_keys
from protocols.layer.lifecycle import Lifecycle
from protocols.layer.shapes import Integers
from protocols.layer.weight_share import WeightShare


class LayerStart:
    """The start of one side.

    Args:
        backend: makes the keys.
        share: this side's; `setup` or `resume` gives it its values.
        life: of this side.
        first_share: the conversation that makes this side's share of new weights, given the keys.
        commits: whether the scheme's rounds can be judged, so that secrets are committed to before anything is sent.
    """

    def __init__(
        self,
        backend: Backend,
        share: WeightShare,
        life: Lifecycle,
        first_share: Callable[[Keys], Steps[FirstShare]],
        commits: bool = False,
    ) -> None:
        self._backend = backend
        self._share = share
        self._life = life
        self._first_share = first_share
        self._commits = commits
        self._factor: Integers | None = None

    def __repr__(self) -> str:
        return f"<LayerStart of {self._share!r}>"

    def setup(self) -> Steps[Keys]:
        """As `LayerSide.setup`, up to where the keys are exchanged and the share is there."""
        self._life.begin_setup()
        keys = yield from self._exchange_keys()
        self._share.values, self._factor = yield from self._first_share(keys)
        return keys

    def take_factor(self) -> Integers | None:
        """This side's factor of the first weights, once, if it has made them in this session."""
        factor, self._factor = self._factor, None
        return factor

    def resume(self, state: Mapping[str, Array], restore_more: Callable[[], None] = lambda: None) -> Steps[Keys]:
        """As `LayerSide.resume`, up to there. `restore_more`: what else the state gives, before anything is said."""
        self._life.begin_setup()
        self._share.restore(state)
        restore_more()
        return (yield from self._exchange_keys())

    def _exchange_keys(self) -> Steps[Keys]:
        if self._commits:
            yield from self._share.commit()
        keys = yield from exchange_keys(self._backend, self._share.label, self._share.budget)
        if self._commits:
            self._share.note_key(keys.secret)
        return keys

    def state(self) -> dict[str, Array]:
        """As `LayerSide.state`: see `WeightShare.state`."""
        self._life.check_between_batches()
        return self._share.state()

    def weights(self) -> dict[str, Array]:
        """As `LayerSide.weights`. share [o, d] uint64."""
        return {"share": self._share.values}
