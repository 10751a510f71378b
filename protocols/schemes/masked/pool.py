"""How the two parties make triples between themselves, ahead of time, and keep them until each is used once.

    collaborator (key C)                           host (key H)
                             <------------------   TripleRequest(kind, index, count)
    for every few triples    <------------------   TripleOperand [M^T]_H, [G]_H            G, D, N: kind "train"
    TripleOperand [N]_C      ------------------>                                           D, N: if trainable
                             <------------------   TripleProduct [D N - Q_H]_C
    TripleProduct [A M^T - P_C]_H, [A'^T G - T_C^T]_H  --->

The masks A, A', N, M, G, D and the evaluators' shares P_C, T_C, Q_H are uniform in Z_{2^59}, expanded from fresh seeds
for every few triples. Both factors of a product fill the ring, so the backend's parameter set must be made for it
(`protocols.he.parameters.TRIPLES`). A message has one product of `TripleShapes.together` triples. While the
collaborator multiplies, the host encrypts for the next ones.

The collaborator stores a triple before it sends the last message about it, and the host when it has that message: what
the host has in stock, the collaborator has too. One thread may run `generate` or `serve` while another takes.

**Leaks** (semi-honest) how many triples are made; nothing else.

**Reference** Beaver (CRYPTO 1991); Rathee et al., Improved Multiplication Triple Generation over Rings via RLWE-based
AHE (CANS 2019) for making them with encryption; packing and flooding: protocols/he/.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypeVar

import numpy as np

from protocols.core.errors import InvalidInput, LimitExceeded, MalformedMessage, PoolExhausted
from protocols.core.message import Message
from protocols.core.randomness import OsRandomness, expand
from protocols.core.steps import Answer, Receive, Send, Steps, received
from protocols.he.interface import RING_BITS, Backend, CiphertextBundle, PublicSide, SecretSide
from protocols.layer.interface import UNITS_AT_ONCE, LayerSpec, most_units
from protocols.layer.shapes import Ring, negative
from protocols.schemes.masked.triple_messages import MAX_COUNT, TripleOperand, TripleProduct, TripleRequest
from protocols.schemes.masked.triples import KINDS, OF_SHARES, Half, Product, Triple, TripleShapes

_Masks = dict[str, Ring]
"""One party's masks of one triple, by product."""

P = TypeVar("P", TripleOperand, TripleProduct)


@dataclass(frozen=True, repr=False)
class _Making:
    """A triple that is being made: its masks, and the halves that are done."""

    masks: _Masks
    halves: dict[str, Half] = field(default_factory=dict)


class _Triples:
    """One party's stock, and its part in the products.

    Args:
        spec: the layer.
        backend: what multiplies, under a parameter set for factors that fill the ring.
        secret: this party's key pair.
        public: the peer's public key.
        keeps_operands: what hides the peer's share of the weights is kept, encrypted, until the triple is used.

    Raises:
        InvalidInput: a product is too large for the backend.
    """

    _is_host: bool

    def __init__(
        self,
        spec: LayerSpec,
        backend: Backend,
        secret: SecretSide,
        public: PublicSide,
        keeps_operands: bool = False,
    ) -> None:
        self._spec, self._key = spec, spec.feature_key
        self._shapes, self._keeps_operands = TripleShapes(spec, backend, keeps_operands), keeps_operands
        self._secret, self._public = secret, public
        self._stock: dict[str, deque[Triple]] = {kind: deque() for kind in KINDS}
        self._made = dict.fromkeys(KINDS, 0)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(f'{len(stock)} {kind}' for kind, stock in self._stock.items())}>"

    @property
    def bytes_per_triple(self) -> int:
        """Memory that one takes, about."""
        return self._shapes.bytes_per_triple

    def stock(self, kind: str) -> int:
        """How many triples of a kind are ready."""
        return len(self._stock[kind])

    def require(self, kind: str, count: int) -> None:
        """Raise `PoolExhausted` unless `count` triples of a kind are ready."""
        if self.stock(kind) < count:
            raise self._exhausted(kind, count)

    def _exhausted(self, kind: str, count: int) -> PoolExhausted:
        return PoolExhausted(
            f"{self._key} needs {count} {kind} triples and has {self.stock(kind)}: wait until more have been made. "
            "One-time masks are never used twice"
        )

    def take(self, kind: str) -> Triple:
        """The next triple of a kind, which nobody else has or gets. Raises `PoolExhausted` if none is ready."""
        try:
            return self._stock[kind].popleft()
        except IndexError:
            raise self._exhausted(kind, 1) from None

    def _split(self, kind: str) -> tuple[list[Product], list[Product]]:
        """The products that we own the operand of, and those that we evaluate."""
        products = self._shapes.products(kind)
        owned = [product for product in products if product.host_evaluates != self._is_host]
        return owned, [product for product in products if product.host_evaluates == self._is_host]

    def _groups(self, first: int, count: int) -> list[range]:
        """The triples of a request, as many together as go in one message."""
        step, end = self._shapes.together, first + count
        return [range(start, min(start + step, end)) for start in range(first, end, step)]

    def _draw(self, kind: str, group: range) -> list[_Masks]:
        """Fresh masks for every triple of a group."""
        products = self._shapes.products(kind)
        shapes = [product.host_mask if self._is_host else product.collaborator_mask for product in products]
        sizes = [rows * columns for rows, columns in shapes]
        drawn = _fresh((len(group), sum(sizes)))
        ends = np.cumsum(sizes)
        parts = [drawn[:, end - size : end].reshape(-1, *shape) for size, end, shape in zip(sizes, ends, shapes)]
        return [{product.name: part[at] for product, part in zip(products, parts)} for at in range(len(group))]

    def _send_operands(self, kind: str, group: range) -> Steps[list[_Masks]]:
        masks = self._draw(kind, group)
        for product in self._split(kind)[0]:
            bundles = (self._secret.encrypt(product.operand(each[product.name]), product.shape) for each in masks)
            yield Send(TripleOperand(group.start, len(group), product.name, _joined(bundles)))
        return masks

    def _evaluate(self, group: range, product: Product, making: list[_Making]) -> Steps[TripleProduct]:
        """The owner's encrypted shares, when its operands have come; our halves."""
        operands = _about((yield Receive(TripleOperand)), TripleOperand, group, product)
        shares = _fresh((len(making), product.shape.m, product.shape.n))
        replies = [self._multiply(product, each, operands.of(at), shares[at]) for at, each in enumerate(making)]
        return TripleProduct(group.start, len(group), product.name, _joined(replies))

    def _multiply(self, product: Product, making: _Making, parts: tuple[bytes, ...], share: Ring) -> CiphertextBundle:
        shape, mask = product.shape, making.masks[product.name]
        operand = self._public.load_operand(CiphertextBundle(parts), shape)
        kept = parts if self._keeps_operands and product.name in OF_SHARES else ()
        making.halves[product.name] = Half(mask, product.result(share), kept)
        return self._public.multiply_add(product.factor(mask), operand, negative(share), shape)

    def _decrypt(self, group: range, product: Product, making: list[_Making]) -> Steps[None]:
        """Our halves of a product that we own the operands of, when the answer has come."""
        answer = _about((yield Receive(TripleProduct)), TripleProduct, group, product)
        for at, each in enumerate(making):
            share = self._secret.decrypt(CiphertextBundle(answer.of(at)), product.shape)
            each.halves[product.name] = Half(each.masks[product.name], product.result(share))

    def _store(self, kind: str, index: int, halves: dict[str, Half]) -> None:
        self._made[kind] = index + 1
        self._stock[kind].append(Triple(index, halves))


def _fresh(shape: tuple[int, ...]) -> Ring:
    """Uniform in the ring."""
    return expand(OsRandomness().seed()).ring(shape, RING_BITS)


def _joined(bundles: Iterable[CiphertextBundle]) -> tuple[bytes, ...]:
    return tuple([part for bundle in bundles for part in bundle.parts])


def _about(message: Answer, kind: type[P], group: range, product: Product) -> P:
    """A message about a product of these triples. Raises `MalformedMessage` if it is about others."""
    parts = received(message, kind)
    got, wanted = (parts.index, parts.count, parts.product), (group.start, len(group), product.name)
    if got != wanted:
        raise MalformedMessage(
            f"{kind.__name__} is of {parts.product} of {parts.count} triples from {parts.index} on, not of "
            f"{product.name} of {len(group)} from {group.start} on"
        )
    return parts


class HostTriples(_Triples):
    """The host's halves; it starts every batch of triples."""

    _is_host = True

    def generate(self, kind: str, count: int = 1) -> Steps[None]:
        """Make `count` triples of a kind, the collaborator's `serve` answering.

        Raises:
            InvalidInput: an unknown kind, or a count that is not from 1 to `MAX_COUNT`.
        """
        self._shapes.products(kind)
        if not 1 <= count <= MAX_COUNT:
            raise InvalidInput(f"triples are made 1 to {MAX_COUNT} at a time, not {count}")
        first = self._made[kind]
        yield Send(TripleRequest(kind, first, count))
        owned, evaluated = self._split(kind)
        groups = self._groups(first, count)
        masks = yield from self._send_operands(kind, groups[0])
        for group, following in zip_longest(groups, groups[1:]):
            making = [_Making(each) for each in masks]
            for product in evaluated:
                reply = yield from self._evaluate(group, product, making)
                yield Send(reply)
            if following:
                masks = yield from self._send_operands(kind, following)
            for product in owned:
                yield from self._decrypt(group, product, making)
            for index, each in zip(group, making, strict=True):
                self._store(kind, index, each.halves)


class CollaboratorTriples(_Triples):
    """The collaborator's halves. `protocols.layer.interface.CollaboratorOfflinePhase`, of triples."""

    _is_host = False
    request_type = TripleRequest

    def serve(self, request: Message) -> Steps[None]:
        """Make the triples that the host asks for.

        Raises:
            MessageOutOfOrder: it is not a `TripleRequest`.
            LimitExceeded: more would lie unused than the operator allows, or than the declared run can use.
            MalformedMessage: the request does not go on where the last one ended.
        """
        request = received(request, TripleRequest)
        kind, expected = request.kind, self._made[request.kind]
        if request.index != expected:
            raise MalformedMessage(f"TripleRequest is of {kind} triple {request.index}; the next here is {expected}")
        self._check_stock(kind, request.count)
        owned, evaluated = self._split(kind)
        for group in self._groups(request.index, request.count):
            masks = yield from self._send_operands(kind, group)
            making, replies = [_Making(each) for each in masks], []
            for product in evaluated:
                replies.append((yield from self._evaluate(group, product, making)))
            for product in owned:
                yield from self._decrypt(group, product, making)
            for index, each in zip(group, making, strict=True):
                self._store(kind, index, each.halves)
            for reply in replies:
                yield Send(reply)

    def _check_stock(self, kind: str, count: int) -> None:
        """Unused triples cost this side all the work, so a host must use some before it gets more."""
        wanted, most = self.stock(kind) + count, most_unused(self._spec, self.bytes_per_triple)
        if wanted > most:
            raise LimitExceeded("stock_bytes", wanted * self.bytes_per_triple, most * self.bytes_per_triple)


def most_unused(spec: LayerSpec, bytes_per_triple: int) -> int:
    """How many triples of one kind a collaborator holds for its host: a stock, and a conversation that is under way."""
    most = most_units(spec.stock_bytes, bytes_per_triple)
    if spec.batches is not None:
        most = min(most, 2 * spec.batches)  # a batch that is verified takes two
    return most + UNITS_AT_ONCE
