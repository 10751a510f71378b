"""A tree comes back as it was, types and bits; what a tree cannot hold is named with its place."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from protocols.core.errors import InvalidInput
from secure_hfl.checkpoints.tree import pack, unpack
from secure_hfl.errors import CheckpointRefused


def bits(array: np.ndarray[Any, Any]) -> tuple[object, ...]:
    """What makes two arrays the same."""
    return array.dtype.str, array.shape, array.tobytes()


def same(one: Any, other: Any) -> bool:
    """Equal in type, order and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        if one.layout is torch.sparse_coo:
            parts = [(t._indices(), t._values(), t.is_coalesced(), t.shape) for t in (one, other)]
            return all(same(a, b) for a, b in zip(*parts))
        as_bytes = [t.resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for t in (one, other)]
        return (one.dtype, one.shape, as_bytes[0]) == (other.dtype, other.shape, as_bytes[1])
    if isinstance(one, (np.ndarray, np.generic)):
        return bits(np.asarray(one)) == bits(np.asarray(other))
    if isinstance(one, float):
        return (math.copysign(1, one), repr(one)) == (math.copysign(1, other), repr(other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple, deque)):
        limits = getattr(one, "maxlen", None), getattr(other, "maxlen", None)
        return len(one) == len(other) and limits[0] == limits[1] and all(same(a, b) for a, b in zip(one, other))
    return bool(one == other)


numbers = st.integers() | st.floats() | st.booleans() | st.none()
scalars = numbers | st.text(st.characters()) | st.binary()  # characters() includes lone surrogates
keys = scalars.filter(lambda key: key == key) | st.tuples(st.integers(), st.text())
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys, inner)
        | st.lists(inner).map(tuple)
        | st.lists(inner).map(lambda items: deque(items, 5))
        | st.dictionaries(keys, inner).map(OrderedDict)
        | st.frozensets(keys)
        | st.sets(keys)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200)
@given(trees)
def test_a_tree_comes_back(tree: Any) -> None:
    assert same(unpack(pack(tree)), tree)


def tensor_of(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Any bits that a tensor of this dtype may have."""
    count = math.prod(shape) * dtype.itemsize
    raw = torch.randint(2 if dtype is torch.bool else 256, (count,), dtype=torch.uint8)
    return raw.view(dtype).reshape(shape)


STANDARD = [
    *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32),
    *(torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
]


@pytest.mark.parametrize("dtype", STANDARD, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (3, 4, 5)], ids=str)
def test_tensors_of_every_dtype_and_shape(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = tensor_of(dtype, *shape)
    assert same(unpack(pack({"x": [tensor, tensor]})), {"x": [tensor, tensor]})


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i4", "u8", "<f2", "f4", "f8", ">f8", ">i4", "c8", "c16"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)], ids=str)
def test_arrays_of_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    came_back = unpack(pack([array, array.T, array.dtype.type(1)]))
    assert same(came_back, [array, array.T, array.dtype.type(1)])
    came_back[0][...] = 0  # it may be written to


def test_tensors_that_are_views_parameters_and_sparse() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    complex_one = torch.tensor([1 + 2j, 3 - 1j])
    places, values = torch.tensor([[0, 2, 2]]), torch.tensor([1.0, 2.0, 3.0])
    sparse = torch.sparse_coo_tensor(places, values, (4,), check_invariants=True)
    tree = [base.T, base[:, ::2], base.expand(2, 3, 4), complex_one.conj(), sparse, sparse.coalesce()]
    assert same(unpack(pack(tree)), tree)
    parameter = torch.nn.Parameter(base)
    assert same(unpack(pack(parameter)), base)
    assert same(unpack(pack((parameter * 2).sum(0))), base.mul(2).sum(0))


def test_containers_that_torch_uses() -> None:
    tree = {
        "milestones": Counter([3, 3, 7]),
        "history": deque([1.5], maxlen=None),
        "state": defaultdict(dict, {0: {"step": torch.tensor(3.0)}}),
        "none": defaultdict(None, {1: 2}),
        "infinity": [math.inf, -math.inf, -0.0, math.nan],
        "large": [2**63, -(2**63) - 1, 2**64, 10**6000],
    }
    came_back = unpack(pack(tree))
    assert same(came_back, tree)
    assert came_back["state"]["new"] == {}
    assert came_back["history"].maxlen is None


def holds_itself() -> list[Any]:
    """A list that has itself in it."""
    loop: list[Any] = []
    loop.append(loop)
    return loop


class Number(int):
    """A type of the user's own."""


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"optimizer": {"state": {3: {"foo": print}}}},
            r"^optimizer\.state\[3\]\.foo is a builtin_function_or_method; ",
        ),
        ({"a b": [0, {1}, object()]}, r"^\['a b'\]\[2\] is a object; a checkpoint keeps numbers, text, tensors"),
        ([{"x": (Number(3),)}], r"^\[0\]\.x\[0\] is a Number; "),
        ({"x": {Number(3): 1}}, r"^x\[3\] is a Number; "),
        (pytest, "^the state is a module; "),
        ([torch.float32], r"^\[0\] is a dtype"),
        ([torch.zeros(2, device="meta")], r"\[0\] is a Tensor of torch.float32 on meta"),
        (torch.nn.LazyLinear(3).state_dict()["weight"], "UninitializedParameter"),
        (np.array([object()]), "the state is an array of object"),
        (np.array(["text"]), "an array of <U4"),
        (np.array([1], dtype="M8[s]"), "an array of datetime64"),
        (np.ma.array([1], mask=[True]), "a MaskedArray"),
        ({"x": defaultdict(lambda: 3)}, "^x is a defaultdict with a function of its own"),
        (holds_itself(), "nested too deeply, or holds itself"),
    ],
)
def test_what_a_tree_cannot_hold(tree: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        pack(tree)


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_layout_that_a_tree_cannot_hold() -> None:
    with pytest.raises(InvalidInput, match=r"^x is a tensor of layout torch.sparse_csr"):
        pack({"x": torch.zeros(2, 2).to_sparse_csr()})


def test_a_structure_longer_than_safetensors_reads() -> None:
    with pytest.raises(InvalidInput, match="too many single values"):
        pack([["\\" * 13_000_000] * 2])


def test_tensors_can_be_read_without_us() -> None:
    weight = torch.randn(2, 3)
    arrays = load(pack({"weight": weight, "step": 3}))
    assert {name: array.tolist() for name, array in arrays.items()} == {"0": weight.tolist()}


def resealed(structure: object) -> bytes:
    """A structure that `pack` would not write, around one small tensor."""
    return save({"0": np.zeros(3, np.uint8)}, {"tree": json.dumps(structure)})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 64,
        pickle.dumps({"a": 1}),
        pack({"x": torch.ones(9)})[:-1],
        pack({"x": torch.ones(9)}) + b"\0",
        save({"0": np.zeros(3)}),
        resealed({"tensor": ["1", "uint8", [3]]}),
        resealed({"tensor": ["0", "float32", [3]]}),
        resealed({"tensor": ["0", "load", [3]]}),
        resealed({"tensor": ["0", "uint8", [4]]}),
        resealed({"array": ["0", "|O", [3]]}),
        resealed({"sparse": [{"array": ["0", "|u1", [3]]}, 1, [3], True]}),
        resealed({"defaultdict": ["system", []]}),
        resealed({"reduce": ["os", "system"]}),
        resealed({"dict": [1]}),
        resealed({"dict": [[[], 1]]}),
        resealed({"dict": [], "list": []}),
        resealed({"int": "x"}),
        resealed({"float": "00"}),
    ],
    ids=range(20),
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointRefused, match="not in the form"):
        unpack(data)
