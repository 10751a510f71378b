"""Fuzz targets for roles: a peer that answers with messages of the right type, or of another, holding anything.

A role ends its conversation, or refuses with a `PeerViolation`. It may also find that a result is out of range, which
nobody can tell from training that diverges.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from benchmarks.harness.pump import and_rest, pinned, pump
from protocols.core.errors import InvalidPoint, MessageOutOfOrder, OutOfRange, PeerViolation
from protocols.core.message import Message
from protocols.core.randomness import ChaCha20Randomness, OsRandomness
from protocols.core.sender import Sender
from protocols.core.steps import ReceiveMany, Send, Steps
from protocols.he.bfv import BfvBackend, BfvSecret
from protocols.he.parameters import TRAINING, TRIPLES, BfvParameters
from protocols.layer.frozen import FrozenCollaborator, FrozenHost
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.psi import PsiPoints, PsiReceiver, PsiSender, hash_ids
from protocols.psi.curve import Scalar, multiply
from protocols.psi.encode import POINT_BYTES
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.masked.triples import TEST, TRAIN
from protocols.schemes.plain.collaborator import PlainCollaborator
from protocols.schemes.plain.host import PlainHost
from protocols.task.agreement import CollaboratorAgreement, HostAgreement, HostPlan
from protocols.task.alignment import CollaboratorAlignment, HostAlignment, SplitDigest
from protocols.task.manifest import Hello, Manifest
from tests.fuzz.allowed import refused
from tests.fuzz.corpus import message_of, run, tree_of
from tests.fuzz.recipe import Recipe, alter
from tests.protocols.he import bfv_helpers
from tests.protocols.kept_layers import parameters_of
from tests.protocols.layer.helpers import backward_and_settle, copied, normal
from tests.protocols.psi.helpers import run_psi
from tests.protocols.schemes.masked.helpers import answering

MAX_MESSAGES = 30
BOUNDS = LayerParameters(check_every=1)


class _Ended(Exception):
    """The peer says nothing more: a real caller waits, and gives up."""


def _altered(honest: Iterable[Message], recipe: Recipe) -> deque[Message]:
    """What the peer sends instead of what it should."""
    tree = alter([tree_of(message) for message in honest], recipe)
    messages = [message_of(each) for each in (tree[:MAX_MESSAGES] if isinstance(tree, list) else [])]
    return deque(message for message in messages if message is not None)


def _take(messages: deque[Message], *wanted: type[Message]) -> Any:
    """The next message, as a link gives it to a role."""
    if not messages:
        raise _Ended
    message = messages.popleft()
    if not isinstance(message, wanted):
        raise MessageOutOfOrder(f"{type(message).__name__} came")
    return message


# Conversations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stage:
    """One role's part of one conversation: how it starts, and what an honest peer sends it."""

    start: Callable[[], Steps[Any]]
    honest: tuple[Message, ...]


def _converse(stage: _Stage, recipe: Recipe) -> None:
    messages = _altered(stage.honest, recipe)
    with refused(PeerViolation, OutOfRange, _Ended):
        _drive(stage.start(), messages)


def _drive(steps: Steps[Any], messages: deque[Message]) -> Any:
    """One conversation with a peer that says this; what it returns."""
    answer: Any = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(step, ReceiveMany):
            answer = _take_many(messages, step)
        else:
            answer = None if isinstance(step, Send) else _take(messages, *step.types)


def _take_many(messages: deque[Message], step: ReceiveMany) -> Iterator[Message]:
    for _ in range(step.count):
        yield _take(messages, *step.types)


class _Ends:
    """Two roles that go through a life together. Every stage is kept with the roles as they were before it."""

    def __init__(self, host: Any, collaborator: Any) -> None:
        self.roles = host, collaborator
        self.stages: list[_Stage] = []

    def do(self, *calls: Callable[[Any], Steps[Any]]) -> _Ends:
        """One conversation."""
        before = [copied(role) for role in self.roles]
        talk = pump(*(call(role) for call, role in zip(calls, self.roles, strict=True)))
        heard = talk.from_right, talk.from_left
        for call, role, messages in zip(calls, before, heard, strict=True):
            if messages:
                self.stages.append(_Stage(lambda call=call, role=role: call(copied(role)), tuple(messages)))
        return self


class _Kept(BfvBackend):
    """BFV with a key pair that is made once a process."""

    def __init__(self, parameters: BfvParameters, number: int) -> None:
        vars(self).update(vars(bfv_helpers.backend(parameters)))
        self._number = number

    def generate(self, randomness_label: str = "") -> BfvSecret:
        return bfv_helpers.secret(self.parameters, self._number)


_D, _O, _ROWS = 3, 2, 2


def _spec(trainable: bool) -> LayerSpec:
    return LayerSpec("patient", _D, _O, _ROWS, trainable, bytes(32))


def _batches(ends: _Ends, is_trained: bool = True) -> _Ends:
    """A training batch and one that is skipped, if the bottom model is trained, and a test batch."""
    features, dz = normal(1, _ROWS, _D), normal(2, _ROWS, _O, scale=1e-3)
    if isinstance(ends.roles[0], PlainHost) and ends.roles[0]._spec.width_out is None:
        dz = normal(2, _ROWS, _D)
    for back in (lambda host: host.backward(dz, 0.1), lambda host: host.skip()) if is_trained else ():
        _make_masks(ends, TRAIN)
        ends.do(lambda host: and_rest(host, host.forward(_ROWS, True)), lambda end: end.forward(features, True))
        ends.do(back, backward_and_settle)
    _make_masks(ends, TEST)
    return ends.do(lambda host: host.forward(_ROWS, False), lambda end: end.forward(features, False))


def _make_masks(ends: _Ends, kind: str) -> None:
    """Just what a batch and its check use up."""
    if isinstance(ends.roles[0], MaskedHost):
        ends.do(lambda host: host.triples.generate(kind, 2), lambda end: answering(end.triples))


def _set_up(role: Any) -> Steps[Any]:
    steps: Steps[Any] = role.setup()
    return steps


@lru_cache
def _encrypted() -> list[_Stage]:
    stages = []
    for trainable in (True, False):
        kinds = EncryptedHost, EncryptedCollaborator
        ends = _Ends(*(kind(_spec(trainable), _Kept(TRAINING, at), BOUNDS) for at, kind in enumerate(kinds)))
        stages += _batches(ends.do(_set_up, _set_up), trainable).stages
    return stages


@lru_cache
def _masked() -> list[_Stage]:
    stages = []
    for trainable in (True, False):
        kinds = MaskedHost, MaskedCollaborator
        ends = _Ends(*(kind(_spec(trainable), _Kept(TRIPLES, at), BOUNDS) for at, kind in enumerate(kinds)))
        stages += _batches(ends.do(_set_up, _set_up), trainable).stages
    return stages


def _host_agreement(expected: Hello) -> Steps[Manifest]:
    """What the engine does with a Hello."""
    known = pinned({"patient": "patient"})
    plan = HostPlan(expected.task_id, "hospital", expected.scheme, "", expected.is_reproducible, 30.0, known)
    host = HostAgreement(plan, ["patient"])
    yield from host.hello_from("patient")
    host.admit("patient")
    return host.decide([2], OsRandomness())


@lru_cache
def _clear() -> list[_Stage]:
    """What runs without keys: the agreement, the comparison of splits, and the plain scheme, also for frozen models."""
    hello, manifest = (run("plain")[sender][0][0].message for sender in (Sender.COLLABORATOR, Sender.HOST))
    assert isinstance(hello, Hello)
    known = pinned({"patient": "patient"})
    own = SplitDigest.of(bytes(32), ["id5", "id6"], ["id7"])
    agreement = [
        _Stage(lambda: _host_agreement(hello), (hello,)),
        _Stage(lambda: CollaboratorAgreement(hello, (parameters_of("plain"),), known, "patient").run(), (manifest,)),
    ]
    split = _Ends(HostAlignment(own, "patient"), CollaboratorAlignment(own))
    split.do(lambda role: role.run(), lambda role: role.run())
    ends = _Ends(PlainHost(_spec(True)), PlainCollaborator(_spec(True)))
    frozen, layer = _spec(False), (PlainHost(_spec(False)), PlainCollaborator(_spec(False)))
    once = _Ends(FrozenHost(frozen, layer[0]), FrozenCollaborator(frozen, layer[1]))
    stages = [stage for each in (ends, once) for stage in _batches(each.do(_set_up, _set_up)).stages]
    return [*agreement, *split.stages, *stages]


def clear_roles(data: bytes) -> None:
    """Agreement, alignment, and the ends of scheme plain, also around a frozen bottom model."""
    recipe = Recipe(data)
    _converse(recipe.pick(_clear()), recipe)


def encrypted_roles(data: bytes) -> None:
    """Both ends of an encrypted layer, from the exchange of keys to a test batch."""
    recipe = Recipe(data)
    _converse(recipe.pick(_encrypted()), recipe)


def masked_roles(data: bytes) -> None:
    """Both ends of a masked layer, and the making of their one-time masks."""
    recipe = Recipe(data)
    _converse(recipe.pick(_masked()), recipe)


# PSI ------------------------------------------------------------------------------------------------------------------

_SESSION = bytes(range(32))
_HOST_IDS, _COLLABORATOR_IDS = [f"id{i}" for i in range(5)], [f"id{i}" for i in range(2, 9)]


def _psi_host() -> PsiReceiver:
    return PsiReceiver(hash_ids(_SESSION, _HOST_IDS), ChaCha20Randomness(bytes(32)), chunk=2)


def _psi_collaborator() -> PsiSender:
    return PsiSender(hash_ids(_SESSION, _COLLABORATOR_IDS), ChaCha20Randomness(b"\1" * 32), chunk=2)


@lru_cache
def _psi_run() -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """What the host and what the collaborator sends; the same every time."""
    run = run_psi(_psi_host(), _psi_collaborator())
    return tuple(run.from_host), tuple(run.from_collaborator)


def psi(data: bytes) -> None:
    """Both roles of PSI, in the order in which the engine asks them."""
    recipe = Recipe(data)
    is_host = recipe.below(2)
    messages = _altered(_psi_run()[is_host], recipe)
    for message in messages:
        if isinstance(message, PsiPoints):
            _same_products(message.points)
    with refused(PeerViolation, _Ended):
        if is_host:
            _run_host(_psi_host(), messages)
        else:
            _run_collaborator(_psi_collaborator(), messages)


def _run_host(role: PsiReceiver, messages: deque[Message]) -> None:
    _drive(role.send(), messages)
    common = _drive(role.receive(), messages)
    assert common <= set(_HOST_IDS)
    _drive(role.tell(common), messages)


def _run_collaborator(role: PsiSender, messages: deque[Message]) -> None:
    _drive(role.send(), messages)
    _drive(role.answer(), messages)
    assert _drive(role.learn(), messages) <= set(_COLLABORATOR_IDS)


def _same_products(points: bytes) -> None:
    """The fast path refuses what the plain one refuses, and gives the same products."""
    scalar = Scalar(ChaCha20Randomness(b"\2" * 32))
    with refused(InvalidPoint):
        products = multiply(scalar, points)
        key = X25519PrivateKey.from_private_bytes(scalar.value)
        for at in range(0, len(points), POINT_BYTES):
            point = X25519PublicKey.from_public_bytes(points[at : at + POINT_BYTES])
            assert key.exchange(point) == products[at : at + POINT_BYTES]


TARGETS: tuple[Callable[[bytes], None], ...] = (psi, clear_roles, encrypted_roles, masked_roles)
