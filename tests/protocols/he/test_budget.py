"""Statistical distances: formulas against brute force and measured noise, what whole runs come to, and the budget."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.distance import MARKS, NOTHING, RUN_BITS, Distance, DistanceBudget
from protocols.core.errors import BudgetSpent
from protocols.core.randomness import OsRandomness
from protocols.he.bfv import BfvBackend
from protocols.he.budget import INFORMATION, TERNARY_SQUARES, smooth_squares
from protocols.he.interface import RING_BITS, Backend, MatrixShape
from protocols.he.layout import best_layout, layout_with_tiles
from protocols.he.metered import MeteredPublic
from protocols.he.paillier import PaillierBackend
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import LayerShapes
from protocols.schemes.masked.triples import mask_product
from tests.protocols.he.bfv_helpers import T, WithoutFlooding, backend, public, scaled_noise, secret
from tests.protocols.he.paillier_helpers import ConstantRandomness, public_with_masks, slot_integers
from tests.protocols.he.paillier_helpers import draw as draw_paillier
from tests.protocols.he.paillier_helpers import secret as paillier_secret


def three_uniform(width: int) -> NDArray[np.float64]:
    """The probabilities of the sum of three uniform integers below `width`, from 0."""
    one = np.full(width, 1 / width)
    return np.convolve(np.convolve(one, one), one)


def information(width: int) -> float:
    roots = np.sqrt(np.concatenate([[0.0], three_uniform(width), [0.0]]))
    return 4 * float(np.square(np.diff(roots)).sum()) * width**2


def test_the_bound_on_information_holds_and_is_not_far() -> None:
    values = [information(width) for width in range(16, 600)]
    assert max(values) < INFORMATION
    assert values == sorted(values, reverse=True)
    assert 4.5 < values[-1] < 4.6


def distance_of_run(width: int, shifts: tuple[int, ...]) -> float:
    """The exact statistical distance of several results, each shifted, from none shifted."""
    density = three_uniform(width)
    ideal, seen = np.ones(1), np.ones(1)
    for shift in shifts:
        ideal = np.outer(ideal, np.concatenate([density, np.zeros(shift)])).reshape(-1)
        seen = np.outer(seen, np.concatenate([np.zeros(shift), density])).reshape(-1)
    return float(np.abs(ideal - seen).sum()) / 2


SHIFTS = [(1,), (1, 1), (1, 2, 1), (3, 0, 1)]
RUNS = [*itertools.product([4, 5], SHIFTS), (4, (1, 1, 1, 1))]  # four results of 5 bits have 2^26 outcomes


@pytest.mark.parametrize(("bits", "shifts"), RUNS)
def test_a_run_is_no_further_than_the_formula_says(bits: int, shifts: tuple[int, ...]) -> None:
    exact = distance_of_run(1 << bits, shifts)
    bound = Distance(smooth_squares(sum(shift**2 for shift in shifts), bits)).total
    assert bound / 3 < exact <= bound


def signs(m: int, k: int) -> NDArray[np.int64]:
    return OsRandomness().ring((m, k), 1).astype(np.int64) * 2 - 1


@pytest.mark.parametrize(("m", "k", "n"), [(40, 20, 20), (128, 20, 20), (6, 128, 20), (1, 1, 1)])
def test_measured_noise_of_bfv_is_what_the_formula_expects(m: int, k: int, n: int) -> None:
    """Over all results of all replies; chance makes it a little more or less than the expectation."""
    bits = 20
    shape, evaluator, owner = MatrixShape(m, k, n, bits), WithoutFlooding(), secret()
    operand = evaluator.load_operand(owner.encrypt(OsRandomness().ring((k, n), RING_BITS), shape), shape)
    evaluator.multiply_add(signs(m, k) * ((1 << bits) - 1), operand, OsRandomness().ring((m, n), RING_BITS), shape)
    squares = sum(
        float(np.square(scaled_noise(owner, seen)[places].astype(float) / T).sum())
        for seen, places in zip(evaluator.seen, evaluator.places, strict=True)
    )
    bound = evaluator.distance(operand, shape).squares
    assert smooth_squares(squares, TRAINING.flood_bits) < (1.5 if m * n > 1 else 40) * bound
    assert m * n == 1 or smooth_squares(squares, TRAINING.flood_bits) > bound / 6


def test_measured_slots_of_paillier_are_within_what_the_formula_counts() -> None:
    shape = MatrixShape(4, 3, 5, 20)
    factor, matrix, addend = draw_paillier(shape)
    evaluator = public_with_masks(ConstantRandomness(0))
    operand = evaluator.load_operand(paillier_secret().encrypt(matrix, shape), shape)
    slots = slot_integers(paillier_secret(), evaluator.multiply_add(factor, operand, addend, shape), shape)
    layout = PAILLIER_2048.layout(shape)
    hidden = [(slot >> RING_BITS) - layout.offset for slot in itertools.chain(*slots)]
    assert 0 < max(map(abs, hidden)) <= layout.offset + 1
    counted = smooth_squares(sum(h * h for h in hidden), layout.mask_bits)
    assert counted < evaluator.distance(operand, shape).squares


@pytest.mark.parametrize("sides", [(1, 1, 1), (8, 5, 1), (128, 20, 20), (512, 1024, 512)])
def test_what_is_counted_of_triples_covers_all_roundings_at_their_worst(sides: tuple[int, int, int]) -> None:
    """One by one, as they add up before they are squared: of M, of R, and of packing's digits and division."""
    shape, special = mask_product(*sides), TRIPLES.special_prime
    layout, degree = best_layout(shape, TRIPLES), TRIPLES.degree
    squares = shape.k * 4.0**RING_BITS / 12 / special**2  # of a row of X, uniform
    errors = 21 / 2 * (layout.rows * squares + 2 * degree)
    errors += sum(21 / 2 * degree * (prime / special) ** 2 for prime in TRIPLES.data_primes * (TRIPLES.packing - 1))
    rounding = math.sqrt(shape.k * squares) / 2 + 1 + (degree + 1) / 2 + (TRIPLES.packing - 1) * degree / 2
    one = smooth_squares(errors + math.sqrt(errors) + rounding**2, TRIPLES.flood_bits)
    ternary = layout.reply_parts * degree * TERNARY_SQUARES
    assert one * shape.m * shape.n < backend(TRIPLES).distance(shape).squares - ternary


def test_the_owner_chooses_the_tiles_and_the_distance_follows_them() -> None:
    shape = MatrixShape(40, 20, 20, 20)
    wide = layout_with_tiles(shape, TRAINING, 4, 20)
    assert wide.rows > best_layout(shape, TRAINING).rows
    loaded = public().load_operand(secret().encrypt(np.ones((20, 20), np.uint64), shape), shape)
    before = public().distance(loaded, shape)
    loaded.layout = wide  # type: ignore[attr-defined]
    assert public().distance(loaded, shape).squares > before.squares


# Runs -----------------------------------------------------------------------------------------------------------------


def batch(shapes: LayerShapes, scheme: Backend, rows: int) -> tuple[Distance, Distance]:
    """What the collaborator, and the host, shows in a batch."""
    own = scheme.distance(shapes.forward(rows)) + scheme.distance(shapes.weight_gradient(rows))
    return own, scheme.distance(shapes.feature_gradient(rows))


@pytest.mark.parametrize(
    ("scheme", "d", "o", "rows", "batches"),
    [
        (backend(TRAINING), 20, 20, 128, 10 * (469 + 79)),
        (backend(TRAINING), 20, 20, 128, 100 * (469 + 79)),
        (backend(TRAINING), 512, 512, 1024, 10_000),
        (PaillierBackend(), 20, 20, 128, 1_000_000),
        (PaillierBackend(), 512, 512, 1024, 10_000),
    ],
    ids=["bfv, tutorial", "bfv, 100 epochs", "bfv, wide", "paillier, long", "paillier, wide"],
)
def test_whole_runs_are_within_what_is_promised(scheme: Backend, d: int, o: int, rows: int, batches: int) -> None:
    for one in batch(LayerShapes(d, o, LayerParameters()), scheme, rows):
        assert (one * batches).bits > RUN_BITS


def test_triples_of_the_tutorial_are_within_it_too() -> None:
    products = [MatrixShape(128, 20, 20, RING_BITS), MatrixShape(20, 128, 20, RING_BITS)]
    one = Distance()
    for product in products:
        one = one + backend(TRIPLES).distance(product)
    assert (one * 5_480).bits > RUN_BITS + 5


def test_uniform_flooding_of_40_bits_was_far_beyond_it() -> None:
    """What stood here before: 2^-41 for the worst of all errors, for each result, and results add up."""
    results = 5_480 * (128 * 20 + 20 * 20)
    assert results * 2.0**-41 > 2.0**-18


# Arithmetic and the budget ------------------------------------------------------------------------------------------


def test_squares_add_up_under_the_root_and_linear_parts_do_not() -> None:
    one = Distance(2.0**-100, 2.0**-70)
    assert (one * 4).total == 2 * 2.0**-50 + 4 * 2.0**-70
    assert (one + one).total == pytest.approx((one * 2).total)
    assert Distance(2.0**-80).fits
    assert not Distance(2.0**-80, 2.0**-200 + 2.0**-60).fits
    assert (NOTHING.bits, str(NOTHING), str(Distance(2.0**-84))) == (math.inf, "0", "2^-42.0")


def test_a_budget_refuses_the_message_that_would_exceed_it_and_stays_as_it_was() -> None:
    budget = DistanceBudget("bank's layer")
    budget.spend(Distance(2.0**-80 * 0.75))
    for _ in range(2):
        with pytest.raises(BudgetSpent, match=r"bank's layer: .* to 2\^-39\.8, and 2\^-40 is the most"):
            budget.spend(Distance(2.0**-80 * 0.5))
    budget.spend(Distance(2.0**-80 * 0.25))


def test_marks_are_written_before_anything_beyond_them_is_spent_and_seldom() -> None:
    marks: list[Distance] = []
    budget = DistanceBudget(keep=marks.append)
    for _ in range(4 * MARKS):
        budget.spend(Distance(2.0**-80 / (4 * MARKS)))
        assert marks[-1].squares >= budget.spent.squares
    assert MARKS / 2 < len(marks) <= MARKS
    resumed = DistanceBudget(spent=marks[100], keep=marks.append)
    assert resumed.spent.squares > 100 * 2.0**-80 / MARKS


def test_a_metered_key_sends_nothing_beyond_its_budget() -> None:
    shape = MatrixShape(4, 3, 2, 10)
    product = BfvBackend.distance(backend(), shape)
    budget = DistanceBudget(spent=Distance(2.0**-80 - 1.5 * product.squares))
    metered = MeteredPublic(public(), budget)
    operand = metered.load_operand(secret().encrypt(np.ones((3, 2), np.uint64), shape), shape)
    inputs = np.ones((4, 3), np.int64), operand, np.zeros((4, 2), np.uint64), shape
    assert (secret().decrypt(metered.multiply_add(*inputs), shape) == 3).all()
    with pytest.raises(BudgetSpent):
        metered.multiply_add(*inputs)
