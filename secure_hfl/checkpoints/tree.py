"""A tree of numbers, text, tensors and containers as bytes. No pickle: reading one runs no code.

The bytes are a safetensors file. Its tensors are the tree's tensors, arrays and byte strings under running numbers; its
metadata entry "tree" is the structure as JSON:

    null  true  1  0.5  "text"  [...]             themselves; [...] is a list
    {"dict": [[key, value], ...]}                 also "OrderedDict", "Counter"; keys keep their types
    {"defaultdict": [factory, [[key, value], ...]]}
    {"tuple": [...]}                              also "set", "frozenset"
    {"deque": [maximum length, [...]]}
    {"tensor": [number, dtype, shape]}            also "array" (numpy), "scalar" (numpy)
    {"sparse": [indices, values, shape, is coalesced]}      a torch COO tensor
    {"bytes": number}
    {"int": "hex"}                                beyond 64 bits
    {"float": "hex of 8 bytes"}                   not finite
    {"str": "hex of UTF-8"}                       with lone surrogates

A dtype that numpy or safetensors does not have (bfloat16, complex) is stored as bytes.
"""

from __future__ import annotations

import json
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from protocols.core.errors import InvalidInput
from protocols.core.message import Array
from secure_hfl.errors import CheckpointRefused

Node = Any
"""A JSON value."""

MAX_HEADER = 100_000_000
"""Bytes. safetensors reads no longer ones."""

TOO_MANY = "a checkpoint's state has too many single values; keep long lists of numbers as tensors"

_FACTORIES: Mapping[str, Callable[[], Any]] = {
    kind.__name__: kind for kind in (int, float, str, list, dict, set, tuple)
}
_MAPPINGS: Mapping[str, type[dict[Any, Any]]] = {kind.__name__: kind for kind in (dict, OrderedDict, Counter)}
_SEQUENCES: Mapping[str, Callable[[Iterable[Any]], Any]] = {kind.__name__: kind for kind in (tuple, set, frozenset)}
_NATIVE = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64)
}
# Of these, UnicodeDecodeError and JSONDecodeError are a ValueError, RecursionError is a RuntimeError.
_MALFORMED = (SafetensorError, struct.error, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def pack(value: Any) -> bytes:
    """A tree as bytes.

    Args:
        value: None, bool, int, float, str, bytes, torch tensors (dense or COO; on any device, kept on the CPU, without
            their history), numpy arrays and scalars, and dict, OrderedDict, Counter, defaultdict, list, tuple, set,
            frozenset and deque of them.

    Raises:
        InvalidInput: something else is in it. Says what, and where.
    """
    packer = _Packer()
    try:
        structure = json.dumps(packer.node(value), separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise InvalidInput("a checkpoint's state is nested too deeply, or holds itself") from error
    try:
        data = bytes(save(packer.arrays, {"tree": structure}))
    except SafetensorError as error:
        raise InvalidInput(TOO_MANY) from error
    if _header_bytes(data) > MAX_HEADER:  # what older versions of safetensors write, and do not read
        raise InvalidInput(TOO_MANY)
    return data


def unpack(data: bytes) -> Any:
    """The tree that `pack` made bytes of. Its tensors are on the CPU.

    Raises:
        CheckpointRefused: these are not such bytes.
    """
    try:
        header = json.loads(data[8 : 8 + _header_bytes(data)])
        return _Unpacker(load(data)).value(json.loads(header["__metadata__"]["tree"]))
    except _MALFORMED as error:
        raise CheckpointRefused("a checkpoint's state is not in the form in which this version writes it") from error


def _header_bytes(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


class _Packer:
    """Collects the arrays, and knows where in the tree it is."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self._path: list[Any] = []

    def node(self, value: Any) -> Node:
        """The value's structure."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind in (int, float, str):
            return _number_or_text(value)
        if kind is list:
            return self._items(value)
        if kind in (dict, OrderedDict, Counter):
            return {kind.__name__: self._pairs(value)}
        if kind in (tuple, set, frozenset):
            return {kind.__name__: self._items(value)}
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        return self._rarer(value)

    def _rarer(self, value: Any) -> Node:
        kind = type(value)
        if kind is bytes:
            return {"bytes": self._store(np.frombuffer(value, np.uint8))}
        if kind is np.ndarray or isinstance(value, np.generic):
            return self._array(value)
        if kind is deque:
            return {"deque": [value.maxlen, self._items(value)]}
        if kind is defaultdict:
            return {"defaultdict": [self._factory(value), self._pairs(value)]}
        raise self._misfit(f"a {kind.__name__}")

    def _items(self, values: Iterable[Any]) -> list[Node]:
        return [self._inside(number, value) for number, value in enumerate(values)]

    def _pairs(self, values: Mapping[Any, Any]) -> list[list[Node]]:
        return [[self._inside(key, key), self._inside(key, value)] for key, value in values.items()]

    def _inside(self, step: Any, value: Any) -> Node:
        self._path.append(step)
        node = self.node(value)
        self._path.pop()
        return node

    def _factory(self, value: defaultdict[Any, Any]) -> str | None:
        factory = value.default_factory
        if factory is None:
            return None
        name = getattr(factory, "__name__", "")
        if _FACTORIES.get(name) is not factory:
            raise self._misfit("a defaultdict with a function of its own")
        return str(name)

    def _tensor(self, tensor: torch.Tensor) -> Node:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.is_quantized or tensor.is_meta:
            raise self._misfit(f"a {type(tensor).__name__} of {tensor.dtype} on {tensor.device}")
        tensor = tensor.detach().cpu()
        if tensor.layout is torch.sparse_coo:
            parts = [self._tensor(tensor._indices()), self._tensor(tensor._values())]
            return {"sparse": [*parts, list(tensor.shape), tensor.is_coalesced()]}
        if tensor.layout is not torch.strided:
            raise self._misfit(f"a tensor of layout {tensor.layout}")
        dtype = str(tensor.dtype).removeprefix("torch.")
        dense = tensor.resolve_conj().resolve_neg().contiguous()
        array = dense.numpy() if dtype in _NATIVE else dense.reshape(-1).view(torch.uint8).numpy()
        return {"tensor": [self._store(array), dtype, list(tensor.shape)]}

    def _array(self, value: Any) -> Node:
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise self._misfit(f"an array of {array.dtype}")
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        native = array.dtype.isnative and array.dtype.name in _NATIVE
        stored = np.asarray(array, order="C") if native else np.frombuffer(array.tobytes(), np.uint8)
        return {kind: [self._store(stored), array.dtype.str, list(array.shape)]}

    def _store(self, array: Array) -> str:
        name = str(len(self.arrays))
        self.arrays[name] = array
        return name

    def _misfit(self, what: str) -> InvalidInput:
        steps = (f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{step!r}]" for step in self._path)
        where = "".join(steps).removeprefix(".") or "the state"
        return InvalidInput(f"{where} is {what}; a checkpoint keeps numbers, text, tensors and containers of them")


def _number_or_text(value: int | float | str) -> Node:
    """The JSON of a number or a text, in other words where JSON has none."""
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else {"int": hex(value)}
    if isinstance(value, float):
        return value if isfinite(value) else {"float": struct.pack(">d", value).hex()}
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"str": value.encode("utf-8", "surrogatepass").hex()}
    return value


class _Unpacker:
    """Rebuilds a tree from its structure and its arrays."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def value(self, node: Node) -> Any:
        """The value of a node."""
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        if kind in _MAPPINGS:
            return _MAPPINGS[kind](self._pairs(content))
        if kind in _SEQUENCES:
            return _SEQUENCES[kind](self.value(item) for item in content)
        return getattr(self, f"_{kind}_of")(content)

    def _pairs(self, pairs: list[list[Node]]) -> dict[Any, Any]:
        return {self.value(key): self.value(item) for key, item in pairs}

    def _defaultdict_of(self, content: list[Node]) -> defaultdict[Any, Any]:
        factory, pairs = content
        return defaultdict(None if factory is None else _FACTORIES[factory], self._pairs(pairs))

    def _deque_of(self, content: list[Node]) -> deque[Any]:
        return deque(self.value(content[1]), content[0])

    def _int_of(self, content: str) -> int:
        return int(content, 16)

    def _float_of(self, content: str) -> float:
        (value,) = struct.unpack(">d", bytes.fromhex(content))
        return float(value)

    def _str_of(self, content: str) -> str:
        return bytes.fromhex(content).decode("utf-8", "surrogatepass")

    def _bytes_of(self, name: str) -> bytes:
        return self._arrays[name].tobytes()

    def _tensor_of(self, content: list[Node]) -> torch.Tensor:
        name, dtype, shape = content
        return torch.from_numpy(self._raw(name)).view(getattr(torch, dtype)).reshape(shape)

    def _sparse_of(self, content: list[Node]) -> torch.Tensor:
        indices, values, shape, is_coalesced = content
        parts = self.value(indices), self.value(values)
        return torch.sparse_coo_tensor(*parts, shape, is_coalesced=is_coalesced, check_invariants=True)

    def _array_of(self, content: list[Node]) -> Array:
        name, dtype, shape = content
        return self._raw(name).view(np.dtype(dtype)).reshape(shape)

    def _scalar_of(self, content: list[Node]) -> Any:
        return self._array_of(content)[()]

    def _raw(self, name: str) -> Array:
        return self._arrays[name].reshape(-1).view(np.uint8)
