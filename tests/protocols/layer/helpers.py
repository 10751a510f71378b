"""One encrypted layer in memory, both ends and the reference beside it; and a peer that sends what it should not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from types import MethodType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.pump import Talk, and_rest, pump
from protocols.core.fixed_point import WEIGHT_BITS
from protocols.core.message import Array, Message
from protocols.core.steps import Send, Steps
from protocols.he.bfv import BfvBackend
from protocols.he.interface import Backend, as_signed
from protocols.layer.interface import LayerSpec, layer_randomness
from protocols.layer.parameters import LayerParameters
from protocols.layer.reference import ReferenceLayer, initial_factors
from protocols.layer.shapes import add
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.encrypted.messages import FeatureGradient, Projection
from tests.protocols.he.kept_keys import KeptBfv, KeptPaillier

Floats = NDArray[np.float32]
States = tuple[Mapping[str, Array], Mapping[str, Array]]
QUIET = LayerParameters(check_every=0, test_shares_every=0)


@lru_cache
def kept(name: str) -> Backend:
    """A backend by its scheme's name; with "fresh" before it, one that makes keys as it should."""
    return {"bfv": KeptBfv, "paillier": KeptPaillier, "fresh bfv": BfvBackend}[name]()


class NoNoise(LayerParameters):
    """The weak design without smoothing noise."""

    def smoothing_sigma(self, dimension: int) -> float:
        return 0.0


@dataclass
class View:
    """What each side sent."""

    from_host: list[Message] = field(default_factory=list)
    from_collaborator: list[Message] = field(default_factory=list)


class Layer:
    """A layer that is set up, or resumed.

    Args:
        d, o, rows: its shapes.
        prepare: may change the ends before they talk (to take a protection away).
        states: of the host and the collaborator, to resume from.
    """

    def __init__(
        self,
        d: int,
        o: int,
        rows: int,
        trainable: bool = True,
        backend: str = "bfv",
        parameters: LayerParameters = QUIET,
        seed: int | None = 5,
        prepare: Callable[[EncryptedHost, EncryptedCollaborator], None] = lambda host, collaborator: None,
        states: States | None = None,
    ) -> None:
        self._arguments = (d, o, rows, trainable, backend, parameters, seed)
        self.spec = LayerSpec("side", d, o, rows, trainable, bytes(32), seed)
        self.host = EncryptedHost(self.spec, kept(backend), parameters)
        self.collaborator = EncryptedCollaborator(self.spec, kept(backend), parameters)
        self.sigma = parameters.smoothing_sigma(max(d, o))
        prepare(self.host, self.collaborator)
        self.view = View()
        if states is not None:
            self._talk(self.host.resume(states[0]), self.collaborator.resume(states[1]))
            self.reference = ReferenceLayer(self.weights())
            return
        self._talk(self.host.setup(), self.collaborator.setup())
        factors = initial_factors(*(layer_randomness(self.spec, role) for role in ("host", "collaborator")), o, d)
        self.reference = ReferenceLayer(factors[0] @ factors[1] if seed is not None else self.weights())

    def states(self) -> States:
        """What the two ends would keep in a checkpoint."""
        self._talk(self.host.before_checkpoint(), self.collaborator.before_checkpoint())
        return self.host.state(), self.collaborator.state()

    def resumed(self, states: States | None = None) -> Layer:
        """Two new ends that go on from these states, or from where we are."""
        return Layer(*self._arguments, states=states or self.states())

    def _talk(self, left: Steps[object], right: Steps[object]) -> Talk:
        talk = pump(left, right)
        self.view.from_host += talk.from_left
        self.view.from_collaborator += talk.from_right
        return talk

    def forward(self, a: Floats, training: bool = True) -> Floats:
        """z."""
        return self._talk(
            and_rest(self.host, self.host.forward(len(a), training)), self.collaborator.forward(a, training)
        ).left

    def backward(self, dz: Floats, learning_rate: float) -> Floats | None:
        """da, and both ends move their shares."""
        return self._talk(self.host.backward(dz, learning_rate), backward_and_settle(self.collaborator)).right

    def skip(self) -> Floats | None:
        return self._talk(self.host.skip(), backward_and_settle(self.collaborator)).right

    def weights(self) -> NDArray[np.float64]:
        """W, which nobody knows, at its exact value."""
        return as_signed(add(self.host._share.values, self.collaborator._share.values)) * 2.0**-WEIGHT_BITS

    def exact_projection(self) -> NDArray[np.int64]:
        """The ring elements that the host decrypted last: what it really sees of z."""
        message = [sent for sent in self.view.from_collaborator if isinstance(sent, Projection)][-1]
        rows = self.host._pending._kept[0]
        return as_signed(self.host._products.decrypt_projection(message.parts, rows))

    def exact_gradient(self, rows: int) -> NDArray[np.int64]:
        """The ring elements that the collaborator decrypted last: what it really sees of da."""
        message = [sent for sent in self.view.from_host if isinstance(sent, FeatureGradient)][-1]
        return as_signed(self.collaborator._products.decrypt_gradient(message.parts, rows))


def backward_and_settle(collaborator: EncryptedCollaborator) -> Steps[Floats | None]:
    """The collaborator's half of a batch's end."""
    da = yield from collaborator.backward()
    yield from collaborator.settle()
    return da


class Watched:
    """What one end of a layer does in its batches from here on, in its order: `done`.

    Each message is there by its type as it is sent, "waits" where one is waited for, and each of the `computed` of its
    products by its name.
    """

    def __init__(self, end: Any, *computed: str) -> None:
        self.done = list[str]()
        for name in ("forward", "backward"):
            setattr(end, name, self._talking(getattr(end, name)))
        for name in computed:
            setattr(end._products, name, self._computing(name, getattr(end._products, name)))

    def _talking(self, role: Callable[..., Steps[Any]]) -> Callable[..., Steps[Any]]:
        def talk(*arguments: Any) -> Steps[Any]:
            steps, answer = role(*arguments), None
            while True:
                try:
                    step = steps.send(answer)  # type: ignore[arg-type]
                except StopIteration as end:
                    return end.value
                self.done.append(type(step.message).__name__ if isinstance(step, Send) else "waits")
                answer = yield step

        return talk

    def _computing(self, name: str, product: Callable[..., Any]) -> Callable[..., Any]:
        def compute(*arguments: Any) -> Any:
            self.done.append(name)
            return product(*arguments)

        return compute


def copied(role: Any) -> Any:
    """A copy that can go on without changing the original: its parts, stocks and counts are copies too."""
    return _copied(role, {})


def _copied(part: Any, twins: dict[int, Any]) -> Any:
    """A part that two others have is one in the copy too; methods that a part was given are those of the copy."""
    if id(part) in twins:
        return twins[id(part)]
    twin = twins[id(part)] = copy.copy(part)
    for name, value in vars(twin).items():
        if isinstance(value, dict):
            setattr(twin, name, {key: copy.copy(each) for key, each in value.items()})
        elif isinstance(value, MethodType) and _is_part(value.__self__):
            setattr(twin, name, MethodType(value.__func__, _copied(value.__self__, twins)))
        elif _is_part(value):
            setattr(twin, name, _copied(value, twins))
    return twin


def _is_part(value: Any) -> bool:
    return type(value).__module__.startswith(("protocols.layer", "protocols.schemes")) and not is_dataclass(value)


def tampering(steps: Steps[object], kind: type[Message], change: Callable[[Message], Message]) -> Steps[object]:
    """The same conversation, with every message of one kind changed before it is sent."""
    answer = None
    while True:
        try:
            step = steps.send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value
        if isinstance(step, Send) and type(step.message) is kind:
            step = Send(change(step.message))
        answer = yield step


def normal(number: int, *shape: int, scale: float = 1.0) -> Floats:
    """Features or gradients of a test; the same every time."""
    return (np.random.default_rng(number).normal(size=shape) * scale).astype(np.float32)
