"""Several sums in one reply, in C: every byte against Python's integers, by the algebra of protocols/he/packing.py."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from protocols.core.errors import InvalidInput
from protocols.core.mapper import Mapper
from protocols.core.randomness import SeededRandomness
from protocols.he.native.core import LEFT, Work
from protocols.he.native.kernel import Kernel
from tests.protocols.he.native import reference
from tests.protocols.he.native.reference import N, T
from tests.protocols.he.native.setting import SETS, layout, needs_kernel

pytestmark = needs_kernel

SIZES = {"wide": (50, 3, 96, 20, 64), "middle": (48, 3, 76, 11, 83), "narrow": (47, 2, 76, 11, 64)}
"""Bits and count of data primes, W, D, bits of flooding."""

RAISED = " raised"
"""Of a case whose operands are modulo the special prime as well."""

SHAPES = {
    "k_tile beyond k, parts over two groups": ("wide", 4, (5, 3, 7, 4, 3), 2),
    "the last reply of one sum": ("middle", 4, (9, 6, 7, 8, 3), 4),
    "pruned tiles": ("middle", 4, (70, 34, 70, 16, 32), 16),
    "pairs, and two without a partner": ("narrow", 16, (6, 5, 7, 16, 3), 3),
    "pairs of pairs": ("wide", 32, (7, 9, 5, 32, 2), 2),
    "three levels of pairs": ("narrow", 32, (17, 3, 2, 32, 2), 1),
    "the last reply of one sum," + RAISED: ("middle", 4, (9, 6, 7, 8, 3), 4),
    "pairs, and a last reply of one sum," + RAISED: ("middle", 8, (9, 6, 7, 8, 3), 4),
}
"""Size; how many sums a reply holds; m, k, n, k_tile, n_tile; rows of a group."""


@lru_cache
def kernel(name: str, size: str, raised: bool = False) -> Kernel:
    bits, count, scale, drop, flood = SIZES[size]
    numbers: dict[str, Any] = {"scale_bits": scale, "drop_bits": drop, "flood_bits": flood, "instruction_set": name}
    moduli = reference.primes(bits, count + 1)
    return Kernel(moduli[:-1], switching=Kernel(moduli, **numbers), raised=raised, **numbers)


def maker(own: Kernel) -> Kernel:
    """Of operands."""
    assert isinstance(own.switching, Kernel)
    return own.switching if own.raised else own


def random_halves(own: Kernel, number: int) -> tuple[np.ndarray, bytes]:
    """c0, the first of them as large as it can be, and the seed of c1."""
    seed = bytes([number % 256]) * 32
    c0 = own.uniform(bytes([255 - number % 256]) * 32)
    if not number:
        c0[:] = np.array(own.primes, np.uint64)[:, None] - np.uint64(1)
    return c0, seed


class Case:
    """A product with its inputs: any polynomials do as ciphertexts and as keys."""

    def __init__(self, size: str, packing: int, shape: tuple[int, ...], rows: int, raised: bool = False) -> None:
        m, k, n, k_tile, n_tile = shape
        self.size, self.raised = size, raised
        self.layout = layout(m, k, n, k_tile, n_tile, packing)
        object.__setattr__(self.layout, "rows", rows)
        source = SeededRandomness(m * k * n, "native packing")
        self.factor = source.ring((m, k), 60).view(np.int64) - (1 << 59)
        self.addend = source.ring((m, n), 59)
        self.words = [(source.bytes(8 * N), source.bytes(8 * N)) for _ in range(self.layout.reply_parts)]
        self.flooding = [source.bytes(48 * len(self.layout.places(*each))) for each in self.sums]
        own = self.kernel(SETS[0])
        assert own.switching is not None
        count = (packing.bit_length()) * len(own.primes)
        self.operand = [random_halves(maker(own), number) for number in range(self.layout.operand_parts)]
        self.keys = [random_halves(own.switching, number) for number in range(count)]
        self.public = random_halves(maker(own), 200)

    def kernel(self, name: str) -> Kernel:
        return kernel(name, self.size, self.raised)

    @property
    def sums(self) -> list[tuple[int, int]]:
        return [each for index in range(self.layout.reply_parts) for each in self.layout.part(index)]

    def arguments(self, name: str) -> list[Any]:
        """Of `Kernel.multiply_add`, for all groups."""
        own = self.kernel(name)
        assert own.switching is not None
        operand, public = (
            maker(own).load([(seed, maker(own).pack(c0)) for c0, seed in these])
            for these in (self.operand, [self.public])
        )
        keys = own.switching.load([(seed, own.switching.pack(c0)) for c0, seed in self.keys])
        masks = [own.mask(own.ternary(u), public, own.error(e)) for u, e in self.words]
        groups = 0, self.layout.groups
        return [self.layout, self.factor, operand, self.addend, masks, self.flooding, *groups, keys]


@lru_cache
def case_of(name: str) -> Case:
    return Case(*SHAPES[name], raised=name.endswith(RAISED))


def halves_of(own: Kernel, part: tuple[np.ndarray, bytes]) -> tuple[list[list[int]], list[list[int]]]:
    c0, seed = part
    return c0.tolist(), own.inverse(own.uniform(seed)).tolist()


def product(own: Kernel, factors: list[list[int]], parts: list[tuple[np.ndarray, bytes]]) -> list[list[list[int]]]:
    """[2][primes][N]: the sum of factors times ciphertexts, which may have more primes."""
    halves = [halves_of(own, part) for part in parts]
    return [
        [reference.sum_of_products(factors, [each[i][row] for each in halves], p) for row, p in enumerate(own.primes)]
        for i in (0, 1)
    ]


def folded(primes: tuple[int, ...], c1s: list[list[list[int]]]) -> list[list[list[int]]]:
    """d_k [4][primes][N]."""
    out = []
    for k in range(4):
        rows = []
        for row, prime in enumerate(primes):
            total = np.zeros(N, object)
            for j, c1 in enumerate(c1s):
                total += np.array(reference.moved(c1[row], j - 3 - j * k * N // 2), object)
            rows.append([int(x) % prime for x in reference.automorphism(total.tolist(), k, 4)])
        out.append(rows)
    return out


def rounded(values: list[int], special: int) -> list[int]:
    return [(x + special // 2) // special for x in values]


def lowered(values: list[int], packing: int, own: Kernel) -> list[int]:
    """Digits of raised sums, by the definition."""
    assert own.switching is not None
    modulus, special = math.prod(own.switching.primes), own.switching.primes[-1]
    inverse = pow(packing, -1, modulus)
    return [packing * x for x in rounded([inverse * x % modulus for x in values], special)]


def residues(values: list[int], primes: tuple[int, ...]) -> list[list[int]]:
    return [[x % prime for x in values] for prime in primes]


def pairs(case: Case, own: Kernel, c1s: list[list[int]]) -> tuple[list[list[int]], list[int]]:
    """c1 of four sums modulo q P, from those of more modulo q, or q P; and what is added to c0, by the definition."""
    assert own.switching is not None
    primes, special = own.switching.primes, own.switching.primes[-1]
    whole, count, is_raised = math.prod(primes), len(own.primes), case.raised
    added, apart = [0] * N, 1 << (len(c1s) - 1).bit_length() - 1
    while apart >= 4:
        made, modulus = [], math.prod(primes if is_raised else own.primes)
        first_key = (3 + (apart // 4).bit_length() - 1) * count
        for i, first in enumerate(c1s[:apart]):
            moved = reference.moved(first, -apart)
            if i + apart >= len(c1s):
                made.append([x * (1 if is_raised else special) % whole for x in moved])
                continue
            second = c1s[i + apart]
            apart_by = reference.moved([x - y for x, y in zip(second, moved, strict=True)], 1)
            digits = [x % modulus for x in reference.moved(reference.automorphism(apart_by, 1, 2 * apart), -1)]
            digits = lowered(digits, 2, own) if is_raised else digits
            keys = case.keys[first_key : first_key + count]
            both = product(own.switching, residues(digits, own.primes), keys)
            c0, c1 = (reference.composed(half, primes) for half in both)
            half, times = pow(2, -1, modulus), 1 if is_raised else special
            sums = [(x + y) * half % modulus * times for x, y in zip(second, moved, strict=True)]
            made.append([(x + y) % whole for x, y in zip(sums, c1, strict=True)])
            for at in range(0, N, apart):
                added[at + i] += c0[at + apart - 1]
        c1s, is_raised, apart = made, True, apart // 2
    return c1s, added


def packed_halves(case: Case, own: Kernel, c1s: list[list[list[int]]]) -> tuple[list[int], list[int]]:
    """What is added to c0 at the results, and c1, by the definition: modulo q, or modulo q P and both times P."""
    switching, is_raised, added = own.switching, case.raised or len(c1s) > 4, [0] * N
    assert switching is not None
    primes, special = switching.primes if is_raised else own.primes, switching.primes[-1]
    if len(c1s) > 4:
        four, added = pairs(case, own, [reference.composed(each, maker(own).primes) for each in c1s])
        c1s = [residues(each, primes) for each in four]
    first, *others = folded(primes, c1s)
    if is_raised:
        others = [residues(lowered(reference.composed(each, primes), 4, own), own.primes) for each in others]
    digits = [row for each in others for row in each]
    sums = [reference.composed(half, switching.primes) for half in product(switching, digits, case.keys[: len(digits)])]
    c0, c1 = sums if is_raised else [rounded(half, special) for half in sums]
    modulus, kept = math.prod(primes), reference.composed(first, primes)
    whole = [(pow(4, -1, modulus) * x + y) % modulus for x, y in zip(kept, c1, strict=True)]
    return [x + y for x, y in zip(c0, added, strict=True)], whole


def expected(case: Case, index: int) -> bytes:
    """One reply from the definitions."""
    _, _, width, drop, flood = SIZES[case.size]
    own, shape, sums = case.kernel(SETS[0]), case.layout, case.layout.part(index)
    q, tiles, moduli = math.prod(own.primes), case.layout.k_tiles, maker(own).primes
    is_raised = case.raised or len(sums) > 4
    special = own.switching.primes[-1] if is_raised and own.switching is not None else 1
    times = 1 if case.raised else special
    made = [
        product(
            maker(own),
            reference.factor_polynomials(shape, case.factor, group),
            case.operand[t * tiles : (t + 1) * tiles],
        )
        for group, t in sums
    ]
    extra, c1 = [0] * N, reference.composed(made[0][1], moduli)
    if len(sums) > 1:
        extra, c1 = packed_halves(case, own, [each[1] for each in made])
    u, e = case.words[index]
    mask_c0, mask_c1 = (
        reference.composed(half, own.primes) for half in product(own, [own.ternary(u).tolist()], [case.public])
    )
    if is_raised:
        c1 = rounded(c1, special)
    whole = [sum(each) % q for each in zip(c1, mask_c1, own.error(e).tolist(), strict=True)]
    results = []
    for j, (group, tile) in enumerate(sums):
        back = max(4, 1 << (len(sums) - 1).bit_length()) - 1 if len(sums) > 1 else j
        places = shape.places(group, tile).tolist()
        words = np.frombuffer(case.flooding[case.sums.index((group, tile))], np.uint64).tolist()
        noise = reference.flooding(words, len(places), flood)
        addend = case.addend[shape.window(group, tile)].reshape(-1).tolist()
        c0 = reference.composed([[row[place] for place in places] for row in made[j][0]], moduli)
        for place, x, f, m in zip(places, c0, noise, addend, strict=True):
            to = place + j - back
            joined = ((x * times + extra[to]) % (q * special) + special // 2) // special
            results.append((joined + mask_c0[to] + f + reference.message(m, q)) % q)
    kept = [(x + (1 << drop >> 1)) >> drop for x in reference.scaled(results, own.primes, width)]
    kept = [x % (1 << (width - drop)) for x in kept]
    return reference.packed(kept, width - drop) + reference.packed(reference.scaled(whole, own.primes, width), width)


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_replies_are_exact_to_the_bit(shape: str) -> None:
    case = case_of(shape)
    made = {name: case.kernel(name).multiply_add(*case.arguments(name)) for name in SETS}
    for index in {0, case.layout.reply_parts - 1}:
        wanted = expected(case, index)
        for name in SETS:
            assert made[name][index] == wanted, name
    assert all(replies == made[SETS[0]] for replies in made.values())


def last_first(function: Any, items: Any) -> Any:
    """A mapper whose first piece finds nothing left."""
    return reversed([function(item) for item in reversed(list(items))])


def threads(function: Any, items: Any) -> Any:
    with ThreadPoolExecutor(2) as pool:
        return pool.map(function, items)


@pytest.mark.parametrize("mapper", [last_first, threads])
@pytest.mark.parametrize("shape", SHAPES)
def test_threads_make_the_bytes_that_one_makes(shape: str, mapper: Mapper) -> None:
    case = case_of(shape)
    alone = case.kernel(SETS[0]).multiply_add(*case.arguments(SETS[0]))
    for name in SETS:
        assert case.kernel(name).multiply_add(*case.arguments(name), mapper) == alone, name


def test_who_waits_for_a_thread_without_a_core_leaves_the_rest_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number 1 finds one item begun by number 0, which never ends it: it does the others of that step, and no more."""
    case = case_of("pairs, and two without a partner")
    own = case.kernel(SETS[0])
    progress, returned = np.zeros(16, np.uint64), []
    progress[0] = 1
    share = own._ffi.new("kernel_share *", (1, 2, 0, own._new_words(progress)))

    def take_part(works: Sequence[Work], *_: Any) -> None:
        returned.extend(work.call(share) for work in works)

    monkeypatch.setattr(own, "_together", take_part)
    own.multiply_add(*case.arguments(SETS[0]), last_first)
    assert returned == [0, LEFT]
    assert progress[0] == progress[8] + 1 == len(own.primes) * case.layout.groups


def test_who_helps_ends_alone_what_the_first_caller_was_interrupted_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """And in memory that is still there: in a sanitized build it would say so."""
    case = case_of("pairs, and two without a partner")
    own, kept = case.kernel(SETS[0]), list[Work]()

    def interrupted(works: Sequence[Work], *_: Any) -> None:
        kept.extend(works)
        raise KeyboardInterrupt

    monkeypatch.setattr(own, "_together", interrupted)
    with pytest.raises(KeyboardInterrupt):
        own.multiply_add(*case.arguments(SETS[0]), last_first)
    gc.collect()
    progress = np.zeros(16, np.uint64)
    share = own._ffi.new("kernel_share *", (1, 2, 0, own._new_words(progress)))
    assert [work.call(share) for work in kept] == [0, 0]
    assert progress[0] == progress[8] > 0


@pytest.mark.parametrize("shape", [*SHAPES][:2] + [*SHAPES][3:4])
def test_a_packed_reply_decrypts_at_the_places_that_results_moved_to(shape: str) -> None:
    case = case_of(shape)
    _, _, width, drop, _ = SIZES[case.size]
    own, parts = case.kernel(SETS[0]), case.layout
    ternary = own.ternary(SeededRandomness(3, "packed key").bytes(8 * N))
    source, bodies, wanted = np.random.default_rng(9), [], np.zeros((parts.shape.m, parts.shape.n), np.uint64)
    for index in range(parts.reply_parts):
        numbers = [int.from_bytes(source.bytes(12), "little") for _ in range(N + parts.part_results(index))]
        c1, c0 = [x % (1 << width) for x in numbers[:N]], [x % (1 << (width - drop)) for x in numbers[N:]]
        bodies.append(reference.packed(c0, width - drop) + reference.packed(c1, width))
        centred = [x - (1 << width) if x >> (width - 1) else x for x in c1]
        whole, at = reference.times(centred, ternary.tolist()), 0
        for j, each in enumerate(parts.part(index)):
            count = len(parts.part(index))
            back = max(4, 1 << (count - 1).bit_length()) - 1 if count > 1 else j
            places = (parts.places(*each) + (j - back)).tolist()
            phases = [((c0[at + i] << drop) + whole[place]) % (1 << width) for i, place in enumerate(places)]
            found = [(2 * phase * T + (1 << width)) // (1 << (width + 1)) % T for phase in phases]
            window = wanted[parts.window(*each)]
            window[:] = np.array(found, np.uint64).reshape(window.shape)
            at += len(places)
    for each_kernel in (case.kernel(name) for name in SETS):
        assert np.array_equal(each_kernel.decrypt(each_kernel.secret(ternary), parts, bodies), wanted)


def test_what_does_not_fit_is_refused() -> None:
    """Also what would read beyond the keys, or beyond the sums of a reply that is cut in two."""
    case = case_of("the last reply of one sum")
    own = case.kernel(SETS[0])
    assert own.switching is not None
    few = own.switching.load([(seed, own.switching.pack(c0)) for c0, seed in case.keys[:-1]])
    single = layout(9, 6, 7, 8, 3)
    wrong: list[dict[int, Any]] = [
        {8: None},
        {8: few},
        {8: case.arguments(SETS[0])[2]},
        {6: 1},
        {0: single, 4: case.arguments(SETS[0])[4] * single.sums, 5: case.flooding},
    ]
    for changes in wrong:
        arguments = case.arguments(SETS[0])
        for place, value in changes.items():
            arguments[place] = value
        with pytest.raises(InvalidInput):
            own.multiply_add(*arguments)
    # The first two groups have six sums: flooding of as many words as a whole second reply takes does not make it one.
    arguments = case.arguments(SETS[0])
    results = case.layout.part_results(1)
    arguments[5] = [*case.flooding[:5], bytes(48 * (results - len(case.flooding[4]) // 48))]
    arguments[4], arguments[7] = arguments[4][:2], 2
    with pytest.raises(InvalidInput):
        own.multiply_add(*arguments)
    assert own.multiply_add(*case.arguments(SETS[0]))
