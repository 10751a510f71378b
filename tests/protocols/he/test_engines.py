"""Every engine makes the same messages from the same seeds, and reads those of the others; which one is chosen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import get_ident
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.core.mapper import Mapper
from protocols.core.randomness import SeededRandomness
from protocols.he import engines
from protocols.he.bfv import PIECE, BfvBackend
from protocols.he.bfv_engine import BfvEngine
from protocols.he.interface import RING_BITS, CiphertextBundle, MatrixShape
from protocols.he.layout import best_layout
from protocols.he.native.kernel import instruction_sets
from protocols.he.parameters import PARAMETER_SETS, SMALL, TRAINING, TRIPLES, UNPACKED, UNPACKED_TRIPLES, BfvParameters
from tests.protocols.he.bfv_helpers import T

NATIVE = instruction_sets()
ALL = (*NATIVE, engines.SEAL)
needs_kernel = pytest.mark.skipif(not NATIVE, reason="the native kernel is not built here: make native")
each_set = pytest.mark.parametrize("parameters", PARAMETER_SETS.values(), ids=lambda p: p.name)

Ring = NDArray[np.uint64]
WIDE = MatrixShape(200, 150, 100, 19)
"""More parts and replies than one piece has; none of them from a stock."""


@lru_cache
def engine(parameters: BfvParameters, name: str) -> BfvEngine:
    return engines.make_engine(parameters, name)


def inputs(shape: MatrixShape, number: int) -> tuple[NDArray[np.int64], Ring, Ring]:
    """X with its largest entries either way among others, M, R."""
    stream, bits = SeededRandomness(number, "engines"), min(shape.factor_bits, RING_BITS - 1)
    factor = stream.ring((shape.m, shape.k), bits).astype(np.int64)
    factor *= 1 - 2 * stream.ring((shape.m, shape.k), 1).astype(np.int64)
    factor[0, 0], factor[-1, -1] = (1 << bits) - 1, 1 - (1 << bits)
    matrix, addend = stream.ring((shape.k, shape.n), RING_BITS), stream.ring((shape.m, shape.n), RING_BITS)
    matrix[0, 0], addend[-1, -1] = T - 1, T - 1
    return factor, matrix, addend


def messages(
    parameters: BfvParameters, name: str, shape: MatrixShape, number: int = 1, mapper: Mapper = map
) -> tuple[bytes, ...]:
    """Key, operand and reply from seeds, whose result is checked."""
    factor, matrix, addend = inputs(shape, number)
    backend = BfvBackend(parameters, SeededRandomness(number, "engines' seeds"), engine(parameters, name), mapper)
    owner = backend.generate()
    evaluator = backend.load_public(owner.public_key())
    if shape is not WIDE:
        owner.prepare(shape)
        evaluator.prepare(shape)
    operand = owner.encrypt(matrix, shape)
    reply = evaluator.multiply_add(factor, evaluator.load_operand(operand, shape), addend, shape)
    exact = (factor.view(np.uint64) @ matrix + addend) & np.uint64(T - 1)
    assert (owner.decrypt(reply, shape) == exact).all()
    return owner.public_key(), *operand.parts, *reply.parts


@needs_kernel
@each_set
@pytest.mark.parametrize(("m", "k", "n"), [(128, 20, 20), (3, 200, 90), (129, 7, 1), (1, 1, 1), (1, 9000, 1)])
def test_the_same_seeds_give_the_same_messages(parameters: BfvParameters, m: int, k: int, n: int) -> None:
    shape = MatrixShape(m, k, n, RING_BITS if parameters is TRIPLES else 19)
    by_seal = messages(parameters, engines.SEAL, shape)
    for name in NATIVE:
        assert messages(parameters, name, shape) == by_seal


@needs_kernel
@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(NATIVE or ALL),
    st.sampled_from([(TRAINING, 26), (TRAINING, 1), (TRIPLES, RING_BITS)]),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 1 << 20),
)
def test_products_are_exact(name: str, kind: tuple[BfvParameters, int], m: int, k: int, n: int, number: int) -> None:
    parameters, bits = kind
    messages(parameters, name, MatrixShape(m, k, n, bits), number)


@needs_kernel
@pytest.mark.parametrize("parameters", [TRAINING, UNPACKED], ids=lambda p: p.name)
def test_a_factor_of_zeros_gives_the_addend(parameters: BfvParameters) -> None:
    """SEAL leaves such tiles out; the bytes are those that multiplying gives."""
    shape, replies = MatrixShape(40, 30, 20, 19), []
    _, matrix, addend = inputs(shape, 3)
    for name in ALL:
        backend = BfvBackend(parameters, SeededRandomness(4, "zeros"), engine(parameters, name))
        owner = backend.generate()
        evaluator = backend.load_public(owner.public_key())
        operand = evaluator.load_operand(owner.encrypt(matrix, shape), shape)
        reply = evaluator.multiply_add(np.zeros((40, 30), np.int64), operand, addend, shape)
        assert (owner.decrypt(reply, shape) == addend).all()
        replies.append(reply)
    assert all(each == replies[0] for each in replies)


@needs_kernel
@pytest.mark.parametrize("parameters", [TRAINING, UNPACKED], ids=lambda p: p.name)
def test_the_largest_factors_of_a_set_are_multiplied_alike(parameters: BfvParameters) -> None:
    """SEAL is given them in fewer bits than the ring has."""
    shape = MatrixShape(2, 1, 1, parameters.max_norm.bit_length() - 1)
    by_seal = messages(parameters, engines.SEAL, shape)
    for name in NATIVE:
        assert messages(parameters, name, shape) == by_seal


@needs_kernel
def test_threads_change_nothing() -> None:
    shape, layout = WIDE, best_layout(WIDE, TRAINING)
    assert layout.operand_parts > PIECE
    assert layout.groups > layout.packed
    used: set[int] = set()

    def spread(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return pool.map(lambda item: used.add(get_ident()) or function(item), items)  # type: ignore[func-returns-value]

    with ThreadPoolExecutor(3) as pool:
        alone, spread_out = (messages(TRAINING, NATIVE[0], shape, mapper=mapper) for mapper in (map, spread))
    assert alone == spread_out
    assert used
    assert get_ident() not in used


@needs_kernel
def test_a_key_and_an_operand_of_one_engine_serve_another() -> None:
    shape = MatrixShape(5, 20, 3, 19)
    factor, matrix, addend = inputs(shape, 2)
    exact = (factor.view(np.uint64) @ matrix + addend) & np.uint64(T - 1)
    for one, other in ((NATIVE[0], engines.SEAL), (engines.SEAL, NATIVE[0])):
        owner = BfvBackend(engine=engine(TRAINING, one)).generate()
        evaluator = BfvBackend(engine=engine(TRAINING, other)).load_public(owner.public_key())
        reply = evaluator.multiply_add(
            factor, evaluator.load_operand(owner.encrypt(matrix, shape), shape), addend, shape
        )
        assert (owner.decrypt(reply, shape) == exact).all()


@pytest.mark.parametrize("name", ALL)
def test_opened_keys_agree_with_every_engine(name: str) -> None:
    shape = MatrixShape(5, 20, 3, 19)
    factor, matrix, addend = inputs(shape, 2)
    backend = BfvBackend(engine=engine(TRAINING, name))
    owner = backend.generate()
    evaluator, key = backend.load_public(owner.public_key()), backend.open_key(owner.public_key(), owner.exported())
    operand = owner.encrypt(matrix, shape)
    assert (key.operand(operand, shape) == matrix).all()
    reply = evaluator.multiply_add(factor, evaluator.load_operand(operand, shape), addend, shape)
    assert (key.reply(reply, shape) == owner.decrypt(reply, shape)).all()
    assert isinstance(reply, CiphertextBundle)


# ---- which one is chosen


@needs_kernel
def test_the_best_is_chosen_or_what_the_environment_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.SWITCH, raising=False)
    monkeypatch.delenv(engines.CHOICE, raising=False)
    assert engines.chosen() == NATIVE[0]
    monkeypatch.setenv(engines.CHOICE, "scalar")
    assert engines.chosen() == "scalar"
    assert engines.make_engine(TRAINING).description == engines.description() == "native, no vector instructions"
    monkeypatch.setenv(engines.SWITCH, "1")
    assert (engines.chosen(), engines.description()) == (engines.SEAL, "SEAL")
    assert engines.make_engine(TRAINING).description == "SEAL"
    monkeypatch.setenv(engines.SWITCH, "0")
    assert engines.chosen() == "scalar"


def test_a_host_asks_for_packed_replies_where_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (engines.SWITCH, engines.CHOICE, engines.PACKING):
        monkeypatch.delenv(variable, raising=False)
    packed, unpacked = (TRAINING, TRIPLES), (UNPACKED, UNPACKED_TRIPLES)
    for sets, fitting in ((("avx2",), packed), ((), unpacked)):
        monkeypatch.setattr(engines, "instruction_sets", lambda sets=sets: sets)
        assert (engines.training_set(), engines.triples_set()) == fitting
    for wanted, named in (("1", packed), ("0", unpacked), ("small", (SMALL, TRIPLES))):
        monkeypatch.setenv(engines.PACKING, wanted)
        assert (engines.training_set(), engines.triples_set()) == named
    monkeypatch.setenv(engines.PACKING, "yes")
    with pytest.raises(InvalidInput, match="SECURE_HFL_PACKING must be 1, 0 or small, not 'yes'"):
        engines.training_set()


def test_instructions_that_are_not_here_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.SWITCH, raising=False)
    monkeypatch.setenv(engines.CHOICE, "mmx")
    with pytest.raises(InvalidInput, match="SECURE_HFL_NATIVE=mmx cannot be used here, only: "):
        BfvBackend()


def test_without_the_module_it_is_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.SWITCH, raising=False)
    monkeypatch.delenv(engines.CHOICE, raising=False)
    monkeypatch.setattr(engines, "instruction_sets", lambda: ())
    assert engines.chosen() == engines.SEAL
    monkeypatch.setenv(engines.CHOICE, "ifma")
    with pytest.raises(InvalidInput, match="only: none, as the native module was not built"):
        engines.chosen()


@needs_kernel
def test_the_kernel_does_without_seal() -> None:
    program = (
        "import sys\nfrom protocols.he.bfv import BfvBackend\nBfvBackend().generate()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tenseal', 'zstandard')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
