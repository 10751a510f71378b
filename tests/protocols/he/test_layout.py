"""The layout against integer matrix products, with polynomials multiplied in the clear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.errors import InvalidInput
from protocols.core.randomness import SeededRandomness
from protocols.he.interface import MatrixShape
from protocols.he.layout import best_layout, layout_with_tiles
from protocols.he.parameters import SMALL, TRAINING, TRIPLES, UNPACKED_TRIPLES
from protocols.he.retired_parameters import RETIRED_SETS
from tests.protocols.he.bfv_helpers import T, negacyclic

SIDES = st.integers(1, 40)
ALONE = replace(TRAINING, packing=1)
"""Every sum is a reply of its own."""


def product_in_the_clear(layout, factor, matrix):
    operand = np.zeros((layout.operand_parts, layout.degree), np.uint64)
    operand[:, : layout.k_tile * layout.n_tile] = layout.operand(matrix)
    out = np.full((layout.shape.m, layout.shape.n), -1, object)
    for group in range(layout.groups):
        tiles = layout.factor(factor, group)
        for n_index in range(layout.n_tiles):
            own = operand[n_index * layout.k_tiles : (n_index + 1) * layout.k_tiles]
            total = sum(negacyclic(x, m) for x, m in zip(tiles, own, strict=True)) % T
            window = layout.window(group, n_index)
            assert (out[window] == -1).all()
            out[window] = total[layout.places(group, n_index)].reshape(out[window].shape)
    return out


@settings(max_examples=12, deadline=None)
@given(SIDES, SIDES, SIDES, st.data())
def test_results_are_where_places_says(m, k, n, data):
    shape = MatrixShape(m, k, n, 26)
    tiles = data.draw(st.integers(1, k)), data.draw(st.integers(1, n))
    layout = layout_with_tiles(shape, ALONE, *tiles)
    stream = SeededRandomness(m * 10000 + k * 100 + n, "layout")
    factor = stream.ring((m, k), 27).astype(np.int64) - (1 << 26)
    matrix = stream.ring((k, n), 59)
    expected = factor.astype(object) @ matrix.astype(object) % T
    assert (product_in_the_clear(layout, factor, matrix) == expected).all()


@pytest.mark.parametrize(("k_tile", "n_tile"), [(90, 91), (8192, 1), (1, 8192), (64, 128), (1, 1)])
def test_full_polynomials_do_not_wrap_onto_results(k_tile, n_tile):
    rows = 8192 // (k_tile * n_tile)
    shape = MatrixShape(min(rows, 5), k_tile, n_tile, 19) if rows < 8192 else MatrixShape(8192, 1, 1, 19)
    layout = layout_with_tiles(shape, ALONE, k_tile, n_tile)
    stream = SeededRandomness(k_tile, "wrap")
    factor = stream.ring((shape.m, shape.k), 19).astype(np.int64)
    matrix = stream.ring((shape.k, shape.n), 59)
    expected = factor.astype(object) @ matrix.astype(object) % T
    assert (product_in_the_clear(layout, factor, matrix) == expected).all()


@pytest.mark.parametrize(
    ("m", "k", "n", "operands", "sums"),
    [(128, 20, 20, 2, 4), (20, 128, 20, 2, 4), (1, 1, 1, 1, 1), (4096, 20, 20, 10, 21)],
)
def test_tiles_balance_operands_and_replies(m, k, n, operands, sums):
    layout = best_layout(MatrixShape(m, k, n, 20), ALONE)
    assert (layout.operand_parts, layout.sums, layout.reply_parts) == (operands, sums, sums)


@pytest.mark.parametrize(
    ("m", "k", "n", "operands", "sums", "replies"),
    [(128, 20, 20, 1, 8, 1), (20, 128, 20, 1, 7, 1), (1, 1, 1, 1, 1, 1), (128, 512, 512, 32, 128, 8)],
)
def test_tiles_balance_operands_and_packed_replies(m, k, n, operands, sums, replies):
    layout = best_layout(MatrixShape(m, k, n, 20), TRAINING)
    assert (layout.operand_parts, layout.sums, layout.reply_parts) == (operands, sums, replies)


def test_the_small_set_sends_denser_operands_and_more_sums():
    layouts = [best_layout(MatrixShape(128, 128, 128, 18), parameters) for parameters in (TRAINING, SMALL)]
    assert [(each.operand_parts, each.sums, each.reply_parts) for each in layouts] == [(8, 32, 2), (4, 64, 2)]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 70), st.integers(1, 30))
def test_packed_results_of_one_reply_are_apart_and_inside(m, k, n):
    layout = best_layout(MatrixShape(m, k, n, 20), TRAINING)
    seen = []
    for part in range(layout.reply_parts):
        places = layout.part_places(part)
        assert [len(each) for each in places] == [len(layout.places(*each)) for each in layout.part(part)]
        together = np.concatenate(places)
        assert len(set(together.tolist())) == len(together) == layout.part_results(part)
        assert together.min() >= 0
        assert together.max() < layout.degree
        seen += layout.part(part)
    assert seen == [(group, tile) for group in range(layout.groups) for tile in range(layout.n_tiles)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 30), st.integers(1, 30), st.sampled_from((1, 4, 16)))
def test_no_tiling_costs_less(m, k, n, packing):
    shape, parameters = MatrixShape(m, k, n, 26), replace(TRAINING, packing=packing)

    def cost(layout):
        return layout.operand_parts * 144 + layout.reply_parts * 76 + layout.sums * (20 if packing > 1 else 0)

    step = min(4, packing)
    tiles = ((a, b) for a in range(step, k + packing, step) if a < k + min(a & -a, packing) for b in range(1, n + 1))
    least = min(cost(layout_with_tiles(shape, parameters, *each)) for each in tiles)
    best = best_layout(shape, parameters)
    quick = all(side & (side - 1) == 0 for side in (best.k_tile, best.n_tile, best.rows))
    assert cost(best) == least or (quick and cost(best) <= least + least // TRAINING.layout_slack)


def test_a_quick_tiling_is_taken_where_it_sends_little_more():
    wide = MatrixShape(512, 128, 512, 15)
    best, least = best_layout(wide, ALONE), layout_with_tiles(wide, ALONE, 3, 512)
    assert (best.k_tile, best.n_tile, best.rows) == (2, 512, 8)
    bits = [layout.operand_parts * 144 + layout.reply_parts * 76 for layout in (best, least)]
    assert bits[1] < bits[0] < bits[1] * 1.01


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 30), st.integers(1, 30))
def test_layouts_of_old_transcripts_send_the_least_as_they_did(m, k, n):
    shape, old = MatrixShape(m, k, n, 26), RETIRED_SETS["bfv-8192-144"]

    def cost(layout):
        return layout.operand_parts * 144 + layout.reply_parts * 84

    tiles = [(a, b) for a in range(1, k + 1) for b in range(1, n + 1)]
    assert cost(best_layout(shape, old)) == min(cost(layout_with_tiles(shape, old, a, b)) for a, b in tiles)


@pytest.mark.parametrize("shape", [MatrixShape(128, 512, 512, 23), MatrixShape(4096, 512, 1, 20)])
def test_layouts_keep_within_the_noise_bound(shape):
    layout = best_layout(shape, TRAINING)
    assert layout.norm == layout.rows * shape.k * ((1 << shape.factor_bits) - 1) <= TRAINING.max_norm


def test_the_noise_bound_limits_rows():
    layout = layout_with_tiles(MatrixShape(4096, 512, 1, 20), ALONE, 1, 1)
    assert layout.rows == TRAINING.max_norm // (512 * ((1 << 20) - 1)) < 4096


@pytest.mark.parametrize(("row_sum", "norm"), [(1 << 22, 1 << 22), (1 << 40, 20 * ((1 << 26) - 1)), (1, 1)])
def test_a_bound_on_rows_counts_where_it_is_the_smaller(row_sum, norm):
    layout = best_layout(MatrixShape(1, 20, 20, 26, row_sum), TRAINING)
    assert layout.norm == norm


@pytest.mark.parametrize(
    "shape",
    [
        MatrixShape(0, 1, 1, 26),
        MatrixShape(1, -1, 1, 26),
        MatrixShape(1, 1, 1 << 17, 26),
        MatrixShape(1, 1, 1, 0),
        MatrixShape(1, 1, 1, 60),
        MatrixShape(1, 1, 1, 45),
        MatrixShape(1, 65536, 1, 26),
        MatrixShape(1, 1, 1, 26, 0),
        MatrixShape(1, 1, 1, 26, (1 << 46) + 1),
    ],
)
def test_shapes_refused(shape):
    with pytest.raises(InvalidInput):
        best_layout(shape, TRAINING)


@pytest.mark.parametrize(
    "numbers", [(True, 1, 1, 26), (1, 1.0, 1, 26), (1, 1, 1, None), (1, 1, 1, 26, 1.0), (1, 1, 1, 26, None, True)]
)
def test_shapes_are_made_of_integers(numbers):
    """Or a shape that equals another would have what is cached for that one."""
    with pytest.raises(InvalidInput, match="must be an integer"):
        MatrixShape(*numbers)


def test_the_wide_set_takes_what_the_narrow_one_refuses():
    assert best_layout(MatrixShape(128, 20, 20, 59), UNPACKED_TRIPLES).rows == 40
    assert best_layout(MatrixShape(128, 20, 20, 59), TRIPLES).rows == 20


@pytest.mark.parametrize("tiles", [(0, 1), (1, 0), (21, 1), (1, 21), (8192, 8192)])
def test_tiles_refused(tiles):
    with pytest.raises(InvalidInput):
        layout_with_tiles(MatrixShape(1, 20, 20, 26), TRAINING, *tiles)
