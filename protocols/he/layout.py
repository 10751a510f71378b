"""Where the entries of a matrix product sit in polynomials: coefficient packing with tiles, no rotations.

    operand tile [K, n']   M[a, j]  at coefficient  j K + a
    factor tile  [rows, K] X[i, a]  at coefficient  i K n' + K - 1 - a
    product                         at coefficient  i K n' + j K + K - 1   is  sum_a X[i, a] M[a, j]

with K = k_tile, n' = n_tile and rows K n' <= N. Any other pair (a, b) of the sum lands b - a places away, a distance
of 1 to K - 1, so never on a result; what wraps past N lands, negated, on coefficients 0 to K - 2, which hold none.

Products of several k tiles add up under encryption. So with fewer rows of M per ciphertext more operands travel, and
fewer replies, as each reply holds N / (K n') rows of results: `best_layout` takes the tiling with the fewest bytes. An
operand and a reply cost both parties together about the same time, so that is close to the least work as well. At
128 x 20 x 20, with a sum in each reply, that is two operands of [10, 20] and four replies, not one and seven. Where the
tiles that fill a polynomial are powers of two, a factor's transform needs few of its stages (`native/products.inc`):
such a tiling is taken if it sends little more, as it is done in a third of the time.

**Shapes**: X [m, k], M [k, n], result [m, n]; polynomials [N] uint64 in Z_{2^RING_BITS}.

Reference: Huang, Lu, Hong, Ding: Cheetah (USENIX Security 2022), section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.he.flooded_set import FloodedSet
from protocols.he.interface import MAX_DIMENSION, RING_BITS, MatrixShape, as_ring
from protocols.he.parameters import JOINED

MAX_ROW_SUM = 1 << 46
"""So that MAX_DIMENSION entries that are no larger add up in an int64. A larger bound would say nothing."""

BLOCK = 64
"""A transform's last stages stay within blocks of so many points: it is quick with tiles of k up to that, in spans from
that on."""

Ring = NDArray[np.uint64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """One product cut into tiles. Made by `best_layout` or `layout_with_tiles`, which check it."""

    shape: MatrixShape
    k_tile: int
    n_tile: int
    rows: int
    degree: int
    packed: int = 1

    @cached_property
    def k_tiles(self) -> int:
        return -(-self.shape.k // self.k_tile)

    @cached_property
    def n_tiles(self) -> int:
        return -(-self.shape.n // self.n_tile)

    @cached_property
    def groups(self) -> int:
        """Groups of `rows` rows of the factor."""
        return -(-self.shape.m // self.rows)

    @cached_property
    def operand_parts(self) -> int:
        """Ciphertexts of M, ordered by n tile, then k tile."""
        return self.n_tiles * self.k_tiles

    @cached_property
    def sums(self) -> int:
        """Sums over k tiles, each with a part of the result, ordered by row group, then n tile."""
        return self.groups * self.n_tiles

    @cached_property
    def reply_parts(self) -> int:
        """Ciphertexts of the result: each holds `packed` sums that follow each other, the last one what is left."""
        return -(-self.sums // self.packed)

    @cached_property
    def sum_results(self) -> tuple[int, ...]:
        """How many results each sum holds."""
        windows = (self.window(*divmod(each, self.n_tiles)) for each in range(self.sums))
        return tuple((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in windows)

    @property
    def norm(self) -> int:
        """Bound on the sum of |x| over the factor coefficients behind one reply: what the noise bound counts."""
        return self.rows * self.shape.largest_row_sum(largest_lifted(self.shape))

    def operand(self, matrix: Ring) -> Ring:
        """M [k, n] as the first k_tile * n_tile coefficients of polynomials, [operand_parts, k_tile * n_tile]."""
        padded = np.zeros((self.k_tiles * self.k_tile, self.n_tiles * self.n_tile), np.uint64)
        padded[: self.shape.k, : self.shape.n] = matrix
        tiles = padded.reshape(self.k_tiles, self.k_tile, self.n_tiles, self.n_tile).transpose(2, 0, 3, 1)
        return tiles.reshape(self.operand_parts, -1)

    def factor(self, factor: NDArray[np.int64], group: int) -> Ring:
        """The rows of X [m, k] in one group as polynomials [k_tiles, N]."""
        block = factor[group * self.rows : (group + 1) * self.rows]
        padded = np.zeros((len(block), self.k_tiles * self.k_tile), np.int64)
        padded[:, : self.shape.k] = block
        tiles = padded.reshape(len(block), self.k_tiles, self.k_tile).transpose(1, 0, 2)[:, :, ::-1]
        out = np.zeros((self.k_tiles, self.degree), np.uint64)
        stride = self.k_tile * self.n_tile
        blocks = out[:, : len(block) * stride].reshape(self.k_tiles, len(block), stride)
        blocks[:, :, : self.k_tile] = as_ring(tiles)
        return out

    def window(self, group: int, n_index: int) -> tuple[slice, slice]:
        """The part of the result [m, n] that one reply holds."""
        rows = slice(group * self.rows, min((group + 1) * self.rows, self.shape.m))
        return rows, slice(n_index * self.n_tile, min((n_index + 1) * self.n_tile, self.shape.n))

    def places(self, group: int, n_index: int) -> Places:
        """The coefficients of one sum that hold results, in the row-major order of its window. Read-only."""
        rows, columns = self.window(group, n_index)
        return _places(rows.stop - rows.start, columns.stop - columns.start, self.k_tile, self.n_tile)

    def part(self, index: int) -> list[tuple[int, int]]:
        """The sums in one reply, by row group and n tile."""
        last = min((index + 1) * self.packed, self.sums)
        return [divmod(each, self.n_tiles) for each in range(index * self.packed, last)]

    def part_places(self, index: int) -> list[Places]:
        """The coefficients of one reply that hold results, for each of its sums in order, as `packing` moves them."""
        sums = self.part(index)
        if len(sums) == 1:
            return [self.places(*sums[0])]
        back = spacing(len(sums)) - 1
        return [self.places(*each) + (number - back) for number, each in enumerate(sums)]

    def part_results(self, index: int) -> int:
        """How many results one reply holds."""
        return sum(self.sum_results[index * self.packed : (index + 1) * self.packed])


def spacing(count: int) -> int:
    """How far apart the results of each of `count` sums are before these become one reply."""
    return max(JOINED, 1 << (count - 1).bit_length())


def put_results(out: Ring, layout: Layout, index: int, values: Ring) -> None:
    """Writes the results of one reply, in the order of `Layout.part_places`, into out [m, n]."""
    at = 0
    for each in layout.part(index):
        window = out[layout.window(*each)]
        window[:] = values[at : at + window.size].reshape(window.shape)
        at += window.size


@lru_cache(maxsize=64)
def _places(rows: int, columns: int, k_tile: int, n_tile: int) -> Places:
    i = np.arange(rows)[:, None] * (k_tile * n_tile)
    places: Places = (i + np.arange(columns) * k_tile + k_tile - 1).reshape(-1)
    places.flags.writeable = False
    return places


def largest_lifted(shape: MatrixShape) -> int:
    """Bound on |x| once a factor is lifted from the ring, centred."""
    return min(shape.largest, 1 << (RING_BITS - 1))


def _check_shape(shape: MatrixShape) -> None:
    for name, side in (("m", shape.m), ("k", shape.k), ("n", shape.n)):
        if not 1 <= side <= MAX_DIMENSION:
            raise InvalidInput(f"a matrix product's {name} must be from 1 to {MAX_DIMENSION}, not {side}")
    if not 1 <= shape.factor_bits <= RING_BITS:
        raise InvalidInput(f"factor_bits must be from 1 to {RING_BITS}, not {shape.factor_bits}")
    if shape.row_sum is not None and not 1 <= shape.row_sum <= MAX_ROW_SUM:
        raise InvalidInput(f"row_sum must be None or from 1 to 2^46, not {shape.row_sum}")
    if shape.square_sum is not None and shape.square_sum < 1:
        raise InvalidInput(f"square_sum must be None or positive, not {shape.square_sum}")


@lru_cache(maxsize=256)
def layout_with_tiles(shape: MatrixShape, parameters: FloodedSet, k_tile: int, n_tile: int) -> Layout:
    """The layout for given tile sizes, with as many rows in a reply as fit and as the noise bound allows.

    Raises:
        InvalidInput: the shape is out of range, the tiles do not fit it, or not one row stays within the noise bound.
    """
    _check_shape(shape)
    most = parameters.packed_replies
    packed = min(k_tile & -k_tile, most)
    fits = 1 <= k_tile <= _rounded_up(shape.k, packed) and 1 <= n_tile <= shape.n
    if not (fits and k_tile * n_tile <= parameters.degree and packed >= min(JOINED, most)):
        raise InvalidInput(f"tiles of {k_tile} x {n_tile} do not fit a [{shape.k}, {shape.n}] matrix")
    quiet_rows = _quiet_rows(shape, parameters)
    rows = min(parameters.degree // (k_tile * n_tile), quiet_rows, shape.m)
    return Layout(shape, k_tile, n_tile, rows, parameters.degree, packed)


def _rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _quiet_rows(shape: MatrixShape, parameters: FloodedSet) -> int:
    rows = parameters.max_norm // shape.largest_row_sum(largest_lifted(shape))
    if not rows:
        raise InvalidInput(
            f"a product over k = {shape.k} with a factor of {shape.factor_bits} bits is noisier than {parameters.name} "
            f"can flood (sums of {parameters.max_norm.bit_length() - 1} bits at most); use smaller factors, declare "
            "their row_sum, or take another set"
        )
    return rows


def _tile_sizes(side: int, most: int) -> NDArray[np.int64]:
    """Every size of tile, at most `most`, that a cut of `side` into equal tiles can have."""
    return np.unique(np.minimum(-(-side // np.arange(1, side + 1)), most))


def _k_tiles(k: int, degree: int, most: int) -> NDArray[np.int64]:
    """Every size of k tile: of equal tiles, and then more, so that so many sums can be packed, up to `most`."""
    sizes, packed = [], min(JOINED, most)
    while packed <= most:
        sizes.append(-(-_tile_sizes(k, degree) // packed) * packed)
        packed *= 2
    return np.unique(np.concatenate(sizes))


@lru_cache(maxsize=256)
def best_layout(shape: MatrixShape, parameters: FloodedSet) -> Layout:
    """The layout that sends the fewest bytes, operands and replies together; among equals, the fewest operands.

    One of powers of two is taken if it costs no more beyond that than `FloodedSet.layout_slack` says. Where sums are
    packed, each counts as `FloodedSet.layout_sum` as well, for the time that it takes.

    Both sides call it for the same shape and get the same answer: integers only. Raises `InvalidInput` as
    `layout_with_tiles` does.
    """
    _check_shape(shape)
    degree = parameters.degree
    quiet_rows = _quiet_rows(shape, parameters)
    k_tile = _k_tiles(shape.k, degree, parameters.packed_replies)[:, None]
    packed = np.minimum(k_tile & -k_tile, parameters.packed_replies)
    n_tile = _tile_sizes(shape.n, degree)[None, :]
    rows = np.minimum(np.maximum(degree // (k_tile * n_tile), 1), min(quiet_rows, shape.m))
    n_tiles = -(-shape.n // n_tile)
    operands = -(-shape.k // k_tile) * n_tiles
    sums = -(-shape.m // rows) * n_tiles
    cost = operands * parameters.operand_bits + -(-sums // packed) * parameters.reply_width
    cost += sums * parameters.layout_sum
    fits = k_tile * n_tile <= degree
    least = cost[fits].min()
    span = k_tile * n_tile
    quick = _is_power(k_tile) & _is_power(span) & (k_tile <= BLOCK) & (span >= BLOCK) & (span * rows == degree)
    quick &= cost <= least + (least // parameters.layout_slack if parameters.layout_slack else 0)
    candidates = np.argwhere(quick if quick.any() else fits & (cost == least))
    chosen = min(candidates.tolist(), key=lambda at: (int(cost[at[0], at[1]]), int(operands[at[0], at[1]]), at))
    return layout_with_tiles(shape, parameters, int(k_tile[chosen[0], 0]), int(n_tile[0, chosen[1]]))


def _is_power(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether they are powers of two."""
    found: NDArray[np.bool_] = counts & (counts - 1) == 0
    return found
