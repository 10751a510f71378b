"""The evaluator's half of the kernel: every byte of a reply against Python's integers and FLINT's polynomials."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import lru_cache

import numpy as np
import pytest

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.core.randomness import SeededRandomness
from protocols.he.native.objects import KernelMask
from tests.protocols.he.native import reference
from tests.protocols.he.native.reference import N
from tests.protocols.he.native.setting import SETS, SIZES, each_set, each_size, kernel, keys, layout, needs_kernel

pytestmark = needs_kernel

LARGEST = 1 << 58


class Case:
    """A product with its inputs: operands and addends that fill their ranges."""

    def __init__(self, size: str, m: int, k: int, n: int, k_tile: int, n_tile: int) -> None:
        self.size, self.layout = size, layout(m, k, n, k_tile, n_tile)
        source = SeededRandomness(m * k * n, "native product")
        self.factor = source.ring((m, k), 60).view(np.int64) - (1 << 59)
        self.factor[0], self.factor[-1, ::2] = LARGEST, -LARGEST
        self.addend = source.ring((m, n), 59)
        self.addend[-1] = (1 << 59) - 1
        self.seeds = [source.seed() for _ in range(self.layout.operand_parts)]
        self.words = [(source.bytes(8 * N), source.bytes(8 * N)) for _ in range(self.layout.reply_parts)]
        counts = [self.count(index) for index in range(self.layout.reply_parts)]
        self.flooding = [b"\xff" * 48 * counts[0], *(source.bytes(48 * count) for count in counts[1:])]

    def count(self, index: int) -> int:
        return len(self.layout.places(*divmod(index, self.layout.n_tiles)))

    def residues(self, name: str) -> list[np.ndarray]:
        """c0 of every part: the first as large as it can be."""
        own = kernel(name, self.size)
        rows = [own.uniform(bytes([index % 256]) * 32) for index in range(len(self.seeds))]
        rows[0][:] = np.array(own.primes, np.uint64)[:, None] - np.uint64(1)
        return rows

    def replies(self, name: str, first: int = 0, end: int | None = None) -> list[bytes]:
        own, tiles = kernel(name, self.size), self.layout.n_tiles
        packed = [own.pack(rows) for rows in self.residues(name)]
        operand = own.load(list(zip(self.seeds, packed, strict=True)))
        end = self.layout.groups if end is None else end
        these = slice(first * tiles, end * tiles)
        key = keys(name, self.size).public
        masks = [own.mask(own.ternary(u), key, own.error(e)) for u, e in self.words[these]]
        return own.multiply_add(self.layout, self.factor, operand, self.addend, masks, self.flooding[these], first, end)


@lru_cache
def expected(case: Case, index: int) -> bytes:
    """One reply from the definitions, through whole polynomials modulo every prime."""
    _, _, width, drop, flood = SIZES[case.size]
    own, pair, shape = kernel(SETS[0], case.size), keys(SETS[0], case.size), case.layout
    group, tile = divmod(index, shape.n_tiles)
    parts = slice(tile * shape.k_tiles, (tile + 1) * shape.k_tiles)
    factors = [*reference.factor_polynomials(shape, case.factor, group), own.ternary(case.words[index][0]).tolist()]
    operands = [*zip(case.residues(SETS[0])[parts], case.seeds[parts], strict=True), (pair.c0, pair.seed)]
    halves = [(c0.tolist(), own.inverse(own.uniform(seed)).tolist()) for c0, seed in operands]
    c0, c1 = (
        [reference.sum_of_products(factors, [each[i][row] for each in halves], p) for row, p in enumerate(own.primes)]
        for i in (0, 1)
    )
    q = math.prod(own.primes)
    places = shape.places(group, tile).tolist()
    noise = reference.flooding(np.frombuffer(case.flooding[index], np.uint64).tolist(), len(places), flood)
    addend = case.addend[shape.window(group, tile)].reshape(-1).tolist()
    results = reference.composed([[row[place] for place in places] for row in c0], own.primes)
    results = [(x + f + reference.message(m, q)) % q for x, f, m in zip(results, noise, addend, strict=True)]
    error = own.error(case.words[index][1]).tolist()
    whole = [(x + e) % q for x, e in zip(reference.composed(c1, own.primes), error, strict=True)]
    kept = [(x + (1 << drop >> 1)) >> drop for x in reference.scaled(results, own.primes, width)]
    kept = [x % (1 << (width - drop)) for x in kept]
    return reference.packed(kept, width - drop) + reference.packed(reference.scaled(whole, own.primes, width), width)


SHAPES = [
    (5, 3, 7, 3, 7),
    (9, 20, 20, 10, 20),
    (70, 34, 70, 16, 32),
    (3, 70, 65, 64, 64),
    (2, 3, 64, 1, 64),
    (3, 9, 128, 2, 128),
    (3, 9, 64, 4, 32),
    (3, 9, 64, 8, 8),
    (2, 3, 8192, 1, 8192),
    (3, 3, 1, 1, 1),
    (1, 40, 16, 32, 16),
]
"""Tiles that fill the polynomial, by every stage at which the pruned transform starts, and tiles that do not."""


@lru_cache
def case_of(size: str, shape: tuple[int, ...]) -> Case:
    return Case(size, *shape)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_replies_are_exact_to_the_bit(shape):
    case = case_of("training", shape)
    for name in SETS:
        replies = case.replies(name)
        for index in {0, case.layout.reply_parts - 1}:
            assert replies[index] == expected(case, index)


@each_size
@each_set
def test_replies_are_exact_in_every_size(name, size):
    case = case_of(size, (4, 15, 40, 4, 32))
    assert case.replies(name)[-1] == expected(case, case.layout.reply_parts - 1)


@pytest.mark.parametrize("shape", [(5, 3, 7, 3, 7), (3, 9, 64, 4, 32)], ids=["whole", "pruned"])
def test_factors_may_be_any_words(shape):
    case = Case("wide", *shape)
    case.factor[0], case.factor[-1] = -(1 << 63), (1 << 63) - 1
    wanted = expected(case, 0)
    assert all(case.replies(name)[0] == wanted for name in SETS)


@each_set
def test_more_k_tiles_than_a_sum_takes_at_once(name):
    for shape in ((2, 33, 8, 1, 8), (2, 33, 64, 1, 64)):
        case = case_of("training", shape)
        assert case.replies(name)[0] == expected(case, 0)


@each_set
def test_threads_may_share_the_groups_of_a_product(name):
    case = case_of("training", (70, 34, 70, 16, 32))
    cuts = [0, 1, case.layout.groups // 2, case.layout.groups]
    with ThreadPoolExecutor(3) as pool:
        parts = pool.map(lambda i: case.replies(name, cuts[i], cuts[i + 1]), range(3))
    assert [body for part in parts for body in part] == case.replies(name)


def test_what_does_not_fit_is_refused():
    own, pair, case = kernel(SETS[0]), keys(SETS[0]), case_of("training", (5, 3, 7, 3, 7))
    packed = own.pack(case.residues(SETS[0])[0])
    operand, seed = own.load([(case.seeds[0], packed)]), case.seeds[0]

    def mask() -> KernelMask:
        return own.mask(pair.ternary, pair.public, np.zeros(N, np.int8))

    used = mask()
    own.multiply_add(case.layout, case.factor, operand, case.addend, [used], case.flooding)
    other, other_key = kernel(SETS[0], "triples"), keys(SETS[0], "triples").public
    operand_of_two = own.load([(seed, packed)] * 2)
    wrong = [
        (0, layout(5, 3, 7, 3, 6)),
        (1, case.factor[:, :2].copy()),
        (1, case.factor.astype(np.float64)),
        (2, operand_of_two),
        (2, other_key),
        (3, case.addend[:4]),
        (4, []),
        (4, [mask(), mask()]),
        (4, [used]),
        (4, [other.mask(pair.ternary, other_key, np.zeros(N, np.int8))]),
        (5, []),
        (5, [case.flooding[0][:-8]]),
        (5, [case.flooding[0] + bytes(1)]),
    ]
    for index, value in wrong:
        good = [case.layout, case.factor, operand, case.addend, [mask()], case.flooding]
        with pytest.raises(InvalidInput):
            own.multiply_add(*(value if place == index else argument for place, argument in enumerate(good)))
    for groups in ((0, 2), (1, 1), (1, 0), (1, 2), (-1, 0)):
        with pytest.raises(InvalidInput):
            own.multiply_add(case.layout, case.factor, operand, case.addend, [mask()], case.flooding, *groups)
    for arguments in ((pair.ternary[:-1], pair.public), (pair.ternary, operand_of_two), (pair.ternary, other_key)):
        with pytest.raises(InvalidInput):
            own.mask(*arguments, np.zeros(N, np.int8))
    with pytest.raises(InvalidInput):
        own.mask(pair.ternary, pair.public, np.zeros(N - 1, np.int8))


def test_views_that_begin_between_two_words_are_read_as_they_are():
    case = case_of("training", (5, 3, 7, 3, 7))
    wanted = case.replies(SETS[0])
    odd = copy(case)
    for name in ("factor", "addend"):
        array = getattr(case, name)
        view = np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)
        assert not view.flags.aligned
        setattr(odd, name, view)
    assert odd.replies(SETS[0]) == wanted


def test_malformed_operands_are_refused():
    own = kernel(SETS[0])
    rows = own.uniform(bytes(32))
    good = own.pack(rows)
    for packed in (b"", good[:-1], good + bytes(1)):
        with pytest.raises(InvalidCiphertext, match=r"part 1 .* another length"):
            own.load([(bytes(32), good), (bytes(32), packed)])
    for prime, p in enumerate(own.primes):
        above, zero = rows.copy(), rows.copy()
        above[prime, 77], zero[prime] = p, 0
        with pytest.raises(InvalidCiphertext, match="not below its prime"):
            own.load([(bytes(32), own.pack(above))])
        with pytest.raises(InvalidCiphertext, match="transparent"):
            own.load([(bytes(32), own.pack(zero))])
