"""The evaluator's half of the kernel: operands, masks, products, replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.mapper import Mapper
from protocols.core.message import check_array
from protocols.he.layout import Layout
from protocols.he.native.core import DEGREE, WORD_BYTES, Core, Work, pieces
from protocols.he.native.objects import KernelMask, KernelOperand, Memory, Small, Words, readable
from protocols.he.parameters import automorphisms
from protocols.wire.varint import Buffer

CALLERS = 2
"""Threads that make one product together. Some of its steps have four items of one size, so that three gain little."""


@dataclass(frozen=True, repr=False)
class _Reply:
    """What one reply is made from: the layout's numbers, its own, its sums, its mask, flooding for all their results,
    the whole addend; and where: room for its body, and to work in, which replies of one call share."""

    numbers: Any
    index: int
    sums: Sequence[Memory]
    mask: Memory
    error: Small
    flooding: bytes
    addend: Words
    body: Memory
    size: int
    workspace: Memory


class EvaluatorHalf(Core):
    """Of `kernel.Kernel`."""

    def load(self, parts: Sequence[tuple[bytes, Buffer]], what: str = "operand", mapper: Mapper = map) -> KernelOperand:
        """An operand, or a public key as an operand of one part, from its parts' seeds and packed c0.

        Args:
            what: the peer's, for errors.
            mapper: loads parts that follow each other at once.
        """
        loaded = self._pool.take(int(self._lib.kernel_operand_words(self._context, len(parts))))

        def read(piece: range) -> None:  # each part has its own places
            workspace = self._pool.take(self._workspace_words)
            room = workspace.pointer, workspace.size
            for index in piece:
                seed, packed = parts[index]
                place = loaded.pointer, len(parts), index
                status = self._drawing(
                    seed,
                    lambda drawn, size, packed=packed, place=place: self._lib.kernel_load(
                        self._context, self._bytes(packed), len(packed), drawn, size, *place, *room
                    ),
                )
                self._check(status, f"part {index} of the peer's {what}")
            self._pool.give(workspace)

        deque(mapper(read, pieces(len(parts))), maxlen=0)
        return KernelOperand(self, self._pool, loaded, len(parts))

    def mask(self, ternary: Small, key: KernelOperand, error: Small) -> KernelMask:
        """u * key, and e2 for c1, for one reply."""
        if key.kernel is not self._of_operands or key.parts != 1:
            raise InvalidInput("the key was not loaded by the kernel that loads operands")
        check_array("an error", error, np.int8, 1, (DEGREE,))
        factor, out = self._small("a mask's factor", ternary), self._pool.take(self._mask_words)
        workspace = self._pool.take(self._workspace_words)
        status = self._lib.kernel_mask(
            self._context, factor, key.memory.pointer, out.pointer, workspace.pointer, workspace.size
        )
        self._check(status, "a mask")
        self._pool.give(workspace)
        return KernelMask(self, out, np.ascontiguousarray(error))

    def multiply_add(
        self,
        layout: Layout,
        factor: NDArray[np.int64],
        operand: KernelOperand,
        addend: Words,
        masks: Sequence[KernelMask],
        flooding: Sequence[Buffer],
        first_group: int = 0,
        end_group: int | None = None,
        keys: KernelOperand | None = None,
        mapper: Mapper = map,
    ) -> list[bytes]:
        """The bodies of the replies of some row groups, all by default: X M + R under encryption.

        Args:
            layout: of the product; its tiles are those of the operand.
            masks: one for each reply, in order. They are used up, also by a call that is refused.
            flooding: uniform bytes for each sum, 48 for each of its results.
            first_group, end_group: so that threads can share the groups. With the first one, a reply begins.
            keys: the owner's key-switching keys, loaded by `switching`, where sums are packed.
            mapper: for threads that make each packed reply together; no thread waits for one that comes late.
        """
        end = layout.groups if end_group is None else end_group
        first, count = first_group * layout.n_tiles, (end - first_group) * layout.n_tiles
        self._check_product(layout, operand, masks, flooding, range(first, first + count))
        self._check_packing(layout, range(first, first + count), keys)
        check_array("the factor", factor, np.int64, 2, (layout.shape.m, layout.shape.k))
        check_array("the addend", addend, np.uint64, 2, (layout.shape.m, layout.shape.n))
        maker, taken, numbers = self._of_operands, [mask.take() for mask in masks], self._layout(layout)
        sums = taken if layout.packed == 1 else [self._pool.take(maker._mask_words) for _ in range(count)]
        callers = CALLERS if mapper is not map and layout.packed > 1 else 1
        room = self._pool.take(self._reply_words(numbers, layout.packed, callers))
        more = self._pool.take(callers * maker._products_words(numbers, first_group, end))
        works = [maker._products(numbers, readable(factor), operand, sums, range(first_group, end), more)]
        replies, addend = [], readable(addend)
        for index, mask in enumerate(masks):
            number, own = first // layout.packed + index, slice(index * layout.packed, (index + 1) * layout.packed)
            size, noise = self._reply_bytes(numbers, number), b"".join(flooding[own])
            body = self._pool.take(-(-size // WORD_BYTES))
            reply = _Reply(numbers, number, sums[own], taken[index], mask.error, noise, addend, body, size, room)
            replies.append(reply)
            works.append(self._reply(reply, keys))
        self._together(works, mapper, callers)
        out = [reply.body.octets[: reply.size].tobytes() for reply in replies]
        for memory in (room, more, *(reply.body for reply in replies), *taken, *(sums if layout.packed > 1 else ())):
            self._pool.give(memory)
        return out

    @property
    def _of_operands(self) -> EvaluatorHalf:
        """What loads operands and the public key. The first rows of a key are those of this kernel."""
        return self.switching if self.raised and isinstance(self.switching, EvaluatorHalf) else self

    def _check_product(
        self,
        layout: Layout,
        operand: KernelOperand,
        masks: Sequence[KernelMask],
        flooding: Sequence[Buffer],
        sums: range,
    ) -> None:
        """That there are such sums, and that the others are of as many and of this kernel."""
        if not 0 <= sums.start < sums.stop <= layout.sums:
            raise InvalidInput(f"a piece of a product has some of its {layout.groups} row groups")
        if operand.kernel is not self._of_operands or operand.parts != layout.operand_parts:
            raise InvalidInput("the operand is not of this kernel and layout")
        replies = -(-len(sums) // layout.packed)
        if not (len(flooding) == len(sums) and replies == len(masks)) or any(mask.kernel is not self for mask in masks):
            raise InvalidInput(f"{replies} replies take as many masks of this kernel, and flooding for each sum")

    def _check_packing(self, layout: Layout, sums: range, keys: KernelOperand | None) -> None:
        """That these are all sums of some replies, and that there are as many keys as C will read."""
        if (layout.packed > 1) != (self.switching is not None):
            raise InvalidInput("a kernel for packed sums takes packed layouts only, and another one takes none")
        if layout.packed == 1:
            return
        if (
            keys is None
            or keys.kernel is not self.switching
            or keys.parts < automorphisms(layout.packed) * len(self.primes)
        ):
            raise InvalidInput("sums are packed with the key-switching keys of their owner, all of them")
        if sums.start % layout.packed or (sums.stop % layout.packed and sums.stop != layout.sums):
            raise InvalidInput("a piece of a product begins and ends with a whole reply")

    def _products_words(self, numbers: Any, first: int, end: int) -> int:
        """Of one caller's workspace."""
        return int(self._lib.kernel_products_workspace_words(self._context, numbers, first, end))

    def _reply_words(self, numbers: Any, packed: int, callers: int) -> int:
        """Of a reply's workspace."""
        if packed == 1:
            return self._workspace_words
        return int(self._lib.kernel_packed_workspace_words(self._context, numbers, self.raised, callers))

    def _products(
        self,
        numbers: Any,
        factor: NDArray[np.int64],
        operand: KernelOperand,
        sums: Sequence[Memory],
        groups: range,
        workspace: Memory,
    ) -> Work:
        """Adds the products of some groups to their masks, or makes them the sums that will be packed."""
        inputs = self._ffi.from_buffer("int64_t[]", factor), operand.memory.pointer, self._pointers(sums)
        at, room = (numbers, groups.start, groups.stop), (workspace.pointer, workspace.size)
        return Work(
            "a product", lambda share: self._lib.kernel_products(self._context, *at, *inputs, share, *room), sums
        )

    def _pointers(self, sums: Sequence[Memory]) -> Any:
        return self._ffi.new("uint64_t *[]", [memory.pointer for memory in sums])

    def _reply(self, reply: _Reply, keys: KernelOperand | None) -> Work:
        """Writes one reply's body, from its sums and its mask, or from its only sum, which has it."""
        if len(reply.flooding) % WORD_BYTES:
            raise InvalidInput("flooding is made of words")
        flooding = self._ffi.from_buffer("uint64_t[]", reply.flooding), len(reply.flooding) // WORD_BYTES
        inputs = self._small("an error", reply.error), *flooding, self._words(reply.addend)
        at, body = (reply.numbers, reply.index), (reply.body.octet_pointer, reply.size)
        room = reply.workspace.pointer, reply.workspace.size
        if keys is None or self.switching is None:
            total = reply.sums[0].pointer
            return Work("a reply", lambda _: self._lib.kernel_reply(self._context, *at, total, *inputs, *body, *room))
        switching = self.switching._context, self.raised, keys.memory.pointer, keys.parts
        given = *at, self._pointers(reply.sums), reply.mask.pointer, *inputs, *body
        return Work(
            "a reply",
            lambda share: self._lib.kernel_packed_reply(self._context, *switching, *given, share, *room),
            reply.sums,
        )
