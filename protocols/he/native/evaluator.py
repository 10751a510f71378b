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
from protocols.he.native.core import DEGREE, Core, pieces
from protocols.he.native.objects import KernelMask, KernelOperand, Memory, Small, Words
from protocols.he.parameters import automorphisms
from protocols.wire.varint import Buffer


@dataclass(frozen=True, repr=False)
class _Reply:
    """What one reply is made from: the layout's numbers, its own, its sums, flooding for all their results, and the
    whole addend."""

    numbers: Any
    index: int
    sums: Sequence[Memory]
    flooding: bytes
    addend: Words


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
    ) -> list[bytes]:
        """The bodies of the replies of some row groups, all by default: X M + R under encryption.

        Args:
            layout: of the product; its tiles are those of the operand.
            masks: one for each reply, in order. They are used up, also by a call that is refused.
            flooding: uniform bytes for each sum, 48 for each of its results.
            first_group, end_group: so that threads can share the groups. With the first one, a reply begins.
            keys: the owner's key-switching keys, loaded by `switching`, where sums are packed.
        """
        end = layout.groups if end_group is None else end_group
        maker = self._of_operands
        if operand.kernel is not maker or operand.parts != layout.operand_parts:
            raise InvalidInput("the operand is not of this kernel and layout")
        first, count = first_group * layout.n_tiles, (end - first_group) * layout.n_tiles
        replies = -(-count // layout.packed)
        if not (len(flooding) == count and replies == len(masks)) or any(mask.kernel is not self for mask in masks):
            raise InvalidInput(f"{replies} replies take as many masks of this kernel, and flooding for each sum")
        self._check_packing(layout, range(first, first + count), keys)
        check_array("the factor", factor, np.int64, 2, (layout.shape.m, layout.shape.k))
        check_array("the addend", addend, np.uint64, 2, (layout.shape.m, layout.shape.n))
        taken = [mask.take() for mask in masks]
        sums = taken if layout.packed == 1 else [self._pool.take(maker._mask_words) for _ in range(count)]
        numbers = self._layout(layout)
        maker._add_products(numbers, np.ascontiguousarray(factor), operand, sums, range(first_group, end))
        out, addend = [], np.ascontiguousarray(addend)
        for index, mask in enumerate(masks):
            own = slice(index * layout.packed, (index + 1) * layout.packed)
            reply = _Reply(numbers, first // layout.packed + index, sums[own], b"".join(flooding[own]), addend)
            out.append(
                self._reply(reply, mask.error)
                if keys is None or layout.packed == 1
                else self._packed_reply(reply, taken[index], mask.error, keys)
            )
        for memory in sums if layout.packed == 1 else [*sums, *taken]:
            self._pool.give(memory)
        return out

    @property
    def _of_operands(self) -> EvaluatorHalf:
        """What loads operands and the public key. The first rows of a key are those of this kernel."""
        return self.switching if self.raised and isinstance(self.switching, EvaluatorHalf) else self

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

    def _add_products(
        self, numbers: Any, factor: NDArray[np.int64], operand: KernelOperand, sums: list[Memory], groups: range
    ) -> None:
        """Adds the products of some groups to their masks, or makes them the sums that will be packed."""
        these = groups.start, groups.stop
        workspace = self._pool.take(int(self._lib.kernel_products_workspace_words(self._context, numbers, *these)))
        status = self._lib.kernel_products(
            self._context, numbers, *these, self._ffi.from_buffer("int64_t[]", factor), operand.memory.pointer,
            self._pointers(sums), workspace.pointer, workspace.size,
        )  # fmt: skip
        self._check(status, "a product")
        self._pool.give(workspace)

    def _pointers(self, sums: Sequence[Memory]) -> Any:
        return self._ffi.new("uint64_t *[]", [memory.pointer for memory in sums])

    def _reply(self, reply: _Reply, error: Small) -> bytes:
        """The body of one reply, from its sum."""
        return self._written(
            reply,
            self._workspace_words,
            lambda body, workspace: self._lib.kernel_reply(
                self._context, reply.numbers, reply.index, reply.sums[0].pointer, self._small("an error", error),
                *self._flooding(reply), self._words(reply.addend), *body, *workspace,
            ),
        )  # fmt: skip

    def _packed_reply(self, reply: _Reply, mask: Memory, error: Small, keys: KernelOperand) -> bytes:
        """The body of one reply, from its sums and its mask."""
        if self.switching is None:
            raise InvalidInput("this kernel packs no sums")
        switching = self.switching._context
        needed = int(self._lib.kernel_packed_workspace_words(self._context, reply.numbers, self.raised))
        return self._written(
            reply,
            needed,
            lambda body, workspace: self._lib.kernel_packed_reply(
                self._context, switching, self.raised, keys.memory.pointer, keys.parts, reply.numbers, reply.index,
                self._pointers(reply.sums), mask.pointer, self._small("an error", error), *self._flooding(reply),
                self._words(reply.addend), *body, *workspace,
            ),
        )  # fmt: skip

    def _flooding(self, reply: _Reply) -> tuple[Any, int]:
        if len(reply.flooding) % 8:
            raise InvalidInput("flooding is made of words")
        return self._ffi.from_buffer("uint64_t[]", reply.flooding), len(reply.flooding) // 8

    def _written(self, reply: _Reply, workspace_words: int, call: Any) -> bytes:
        """What a call writes as a reply's body."""
        size = self._reply_bytes(reply.numbers, reply.index)
        workspace, body = self._pool.take(workspace_words), self._pool.take(-(-size // 8))
        self._check(call((body.octet_pointer, size), (workspace.pointer, workspace.size)), "a reply")
        out = body.octets[:size].tobytes()
        self._pool.give(workspace)
        self._pool.give(body)
        return out
