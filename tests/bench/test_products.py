"""Products by engine: what is counted and timed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.products import __main__ as command
from benchmarks.products import bound, tables
from benchmarks.products.bound import Rates, memory_milliseconds, nearness
from benchmarks.products.counts import Work, is_pruned, result_primes, transform_butterflies, work
from benchmarks.products.measure import FACTOR_BITS, STEPS, Contender, ProductTimes, in_turns
from protocols.he import engines
from protocols.he.interface import MatrixShape
from protocols.he.layout import Layout
from protocols.he.native.kernel import instruction_sets
from protocols.he.parameters import TRAINING

needs_kernel = pytest.mark.skipif(not instruction_sets(), reason="the native kernel was not built here")

ROUGH = Rates(transform=10.0, multiply_accumulate=1.0, read=10.0)


def test_a_transform_has_half_n_log_n_butterflies() -> None:
    assert transform_butterflies(8192) == 4096 * 13
    assert Work(transforms=2, butterflies=5).all_butterflies(8) == 2 * 4 * 3 + 5


def test_whole_transforms_are_counted_by_part_group_and_prime() -> None:
    layout = Layout(MatrixShape(128, 20, 20, FACTOR_BITS), 12, 20, 34, 8192)
    primes, groups, tiles = 3, 4, 2
    assert (layout.groups, layout.operand_parts, is_pruned(layout)) == (groups, tiles, False)
    needed = work(layout, TRAINING)
    assert tuple(needed) == STEPS
    assert needed["prepare operand"] == needed["load"] == Work(tiles * primes)
    assert needed["prepare product"] == Work(groups * primes)
    assert needed["encrypt"] == Work()
    assert needed["multiply_add"] == Work(
        groups * tiles * primes + 2 * groups * primes, 0, 2 * groups * tiles * primes * 8192
    )
    assert needed["decrypt"] == Work(2 * groups * 2)


def test_packing_costs_transforms_of_digits_and_saves_those_of_replies() -> None:
    shape = MatrixShape(128, 20, 20, FACTOR_BITS)
    one, packed = (work(Layout(shape, 12, 20, 34, 8192, each), TRAINING) for each in (1, 4))
    primes = 3
    switched = 2 * 3 * primes * (primes + 1) * 8192
    # docs/native-kernel.md: 44 for four sums
    assert packed["multiply_add"].transforms == one["multiply_add"].transforms - 4 * 2 * primes + 9 + 27 + 8
    assert packed["multiply_add"].multiply_accumulates == one["multiply_add"].multiply_accumulates + switched
    assert packed["decrypt"] == Work(one["decrypt"].transforms // 4)
    assert packed["prepare product"] == Work(primes)
    alone = work(
        Layout(MatrixShape(34, 20, 20, FACTOR_BITS), 12, 20, 34, 8192, 4), TRAINING
    )  # one sum: nothing to pack
    assert alone["multiply_add"] == Work(2 * primes + 2 * primes, 0, 2 * 2 * primes * 8192)


def test_pairs_are_counted_by_level() -> None:
    shape = MatrixShape(9, 32, 256, FACTOR_BITS)  # nine sums: one pair of 16, four of 8
    needed = work(Layout(shape, 32, 256, 1, 8192, 32), TRAINING)["multiply_add"]
    assert needed.transforms == (3 + 9) + 4 * (4 + 12) + 3 * (4 + 12) + 8
    assert needed.multiply_accumulates == 2 * 8192 * (9 * 3 + (1 + 4 + 3) * 3 * 4)
    # The digits of the pair of 16 modulo their own primes, and all results, back; of c0 of nine sums and of that pair
    # the last of 8 values, by 4, 2 and 1 butterflies in three stages, then three more; 5 of 13 stages of nine tiles
    picked = (9 * 3 + 4) * 1024 * (4 + 2 + 1 + 1.5)
    assert needed.butterflies == (3 + 4) * 6 * 4096 + picked + 9 * 3 * 5 * 4096


def test_pruned_transforms_are_counted_by_butterfly() -> None:
    layout = Layout(MatrixShape(32, 16, 64, FACTOR_BITS), 8, 64, 16, 8192)
    assert (layout.groups, layout.k_tiles, is_pruned(layout)) == (2, 2, True)
    # 4 stages of 8 pairs of rows of 8 numbers, then the last 3 of 13 stages; 4 tiles modulo 3 primes
    assert work(layout, TRAINING)["multiply_add"].butterflies == 4 * 3 * (4 * 8 * 8 + 3 * 4096)


def test_what_decryption_needs_fits_its_primes_with_room_for_a_sign() -> None:
    primes = TRAINING.data_primes[: result_primes(TRAINING)]
    product = 1
    for prime in primes:
        product *= prime
    needed = 2 * TRAINING.degree << TRAINING.reply_bits
    assert product // primes[-1] < needed < product


def test_the_bound_is_the_counted_work_at_the_measured_rates() -> None:
    assert ROUGH.bound(Work(3, 4096 * 13, 8192 * 7), TRAINING) == pytest.approx((4 * 10 + 7) / 1000)
    layout = Layout(MatrixShape(128, 20, 20, FACTOR_BITS), 12, 20, 34, 8192)
    loaded = 2 * 2 * 3 * 8192 * 8
    assert memory_milliseconds(layout, ROUGH) == pytest.approx(loaded / 10e9 * 1e3)
    times = ProductTimes("ifma", (128, 20, 20), 1, dict.fromkeys(STEPS, 2.0), 0, 0)
    for line in nearness(times, ROUGH).values():
        assert line["share"] == pytest.approx(line["bound_milliseconds"] / 2)


@needs_kernel
def test_the_rates_of_this_machine_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "READ_BYTES", 1 << 16)
    monkeypatch.setattr(bound, "MUCH", MatrixShape(2, 2, 8192, 1))
    found = bound.measure_rates(instruction_sets()[0], 1)
    assert min(found.transform, found.multiply_accumulate, found.read) > 0


def test_engines_take_turns_until_they_have_taken_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    contenders = [Contender(name) for name in (engines.SEAL, *instruction_sets()[:1])]
    order: list[str] = []
    multiply = Contender.multiply

    def noted(self: Contender, shape: MatrixShape) -> None:
        order.append(self.name)
        multiply(self, shape)

    monkeypatch.setattr(Contender, "multiply", noted)
    found = in_turns(contenders, (4, 3, 2), 3, seconds=0.0)
    names = [each.name for each in contenders]
    assert order == names * 2
    assert [each.engine for each in found] == names
    for each in found:
        assert each.rounds == 2
        assert set(each.milliseconds) == set(STEPS)
        assert each.operand_bytes > 0
        assert each.reply_bytes > 0
    assert len({(each.operand_bytes, each.reply_bytes) for each in found}) == 1


def product(engine: str, milliseconds: float) -> dict[str, Any]:
    return {
        "engine": engine,
        "shape": [4, 3, 2],
        "cpu_milliseconds": {**dict.fromkeys(STEPS, milliseconds), "awaited": milliseconds, "prepared": 1234.5},
        "operand_bytes": 2000,
        "reply_bytes": 1500,
    }


def test_the_table_of_engines_has_a_row_for_a_shape() -> None:
    text = tables.engines_table({"products": [product("seal", 30.0), product("ifma", 1.5)]})
    head, _, row = text.splitlines()
    assert head == "| product | SEAL | AVX-512 IFMA | SEAL / best | kB there + back |"
    assert row == "| 4 x 3 x 2 | 30 + 1,234 | 1.5 + 1,234 | 20 times | 2 + 1.5 |"


@needs_kernel
def test_a_part_is_printed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "growth.json"
    monkeypatch.setattr(sys, "argv", ["products", "growth", "--json", "growth.json"])
    command.main(["growth", "--quick", "--rounds", "1", "--json", str(file)])
    found = json.loads(file.read_text())
    assert found["command"] == "python -m benchmarks.products growth --json growth.json"
    assert [each["shape"] for each in found["products"]] == [[4, 3, 2]]
    assert tables.growth_table(found) in capsys.readouterr().out
