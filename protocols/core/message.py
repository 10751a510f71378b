"""What every protocol message is: a frozen dataclass that checks itself when it is made.

A message that exists is well-formed. The same checks run on the sender's side (where a failure is our own bug) and
on the receiver's side, where the codec turns a failure into `MalformedMessage`.

What may travel states everything about itself on its class, with `@wire` (protocols/core/wire_format.py):

    @wire(33, ledger=public("the size of each batch"), recorded=("rows",), bounds=exactly(lambda r: number(r[0])))
    @dataclass(frozen=True)
    class BatchOpen(Message):
        rows: Uint32
        ids: bytes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from protocols.core.errors import InvalidInput, MalformedMessage, OutOfRange

Array = NDArray[Any]


@dataclass(frozen=True)
class Message:
    """Base of all messages. Subclasses are frozen dataclasses and validate in `__post_init__`.

    Attributes:
        is_question: of a type: whether it tests its receiver, who knows by it that it is tested. Its sender says
            nothing more until the answer was right.
    """

    is_question: ClassVar[bool] = False

    def fail(self, problem: str) -> InvalidInput:
        """The error for a field that breaks this message's rules. The caller raises it."""
        return InvalidInput(f"{type(self).__name__}: {problem}")

    def require(self, condition: bool, problem: str) -> None:
        """Raise unless `condition` holds."""
        if not condition:
            raise self.fail(problem)

    def require_int(self, name: str, low: int, high: int) -> None:
        """Raise unless the field is an int in [low, high]."""
        value = getattr(self, name)
        if type(value) is not int or not low <= value <= high:
            shown = value if type(value) is int else type(value).__name__
            raise self.fail(f"{name} must be an integer from {low} to {high}, not {shown}")

    def require_bytes(self, name: str, size: int) -> None:
        """Raise unless the field is bytes of exactly `size`."""
        value = getattr(self, name)
        if not isinstance(value, bytes):
            raise self.fail(f"{name} must be bytes, not {type(value).__name__}")
        if len(value) != size:
            raise self.fail(f"{name} must be {size} bytes, not {len(value)}")

    def require_text(self, name: str, max_chars: int, allow_empty: bool = False) -> None:
        """Raise unless the field is a printable one-line str of at most `max_chars`."""
        value = getattr(self, name)
        if not isinstance(value, str):
            raise self.fail(f"{name} must be text, not {type(value).__name__}")
        if not allow_empty and not value:
            raise self.fail(f"{name} must not be empty")
        if len(value) > max_chars:
            raise self.fail(f"{name} must have at most {max_chars} characters, not {len(value)}")
        if value and not value.isprintable():
            raise self.fail(f"{name} must be printable text on one line")

    def require_array(self, name: str, dtype: DTypeLike, ndim: int, shape: Sequence[int | None] | None = None) -> None:
        """Raise unless the field is an array of this dtype and rank, no axis empty; None in `shape` is any length."""
        check_array(f"{type(self).__name__}.{name}", getattr(self, name), dtype, ndim, shape)


def check_array(
    where: str, value: object, dtype: DTypeLike, ndim: int, shape: Sequence[int | None] | None = None
) -> None:
    """Raise `InvalidInput` unless `value` is a non-empty array of this dtype, rank and (where given) shape."""
    if not isinstance(value, np.ndarray):
        raise InvalidInput(f"{where} must be an array, not {type(value).__name__}")
    if value.dtype != dtype:
        raise InvalidInput(f"{where} must have dtype {np.dtype(dtype)}, not {value.dtype}")
    if value.ndim != ndim:
        raise InvalidInput(f"{where} must have {ndim} dimensions, not {value.ndim}")
    if 0 in value.shape:
        raise InvalidInput(f"{where} must not be empty, but its shape is {value.shape}")
    if shape is None or shape == value.shape:
        return
    if any(want is not None and want != got for want, got in zip(shape, value.shape)):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise InvalidInput(f"{where} must have shape ({wanted}), not {value.shape}")


FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_finite(where: str, values: Array, limit: float | None = None, received: bool = False) -> float:
    """The largest magnitude. Raise when a value is NaN, infinite or beyond the limit, naming all three.

    Args:
        where: the tensor's name.
        values: any float array.
        limit: largest magnitude allowed; default: float32's.
        received: whether a peer sent it.

    Raises:
        OutOfRange: the tensor is our own.
        MalformedMessage: a peer sent it.
    """
    magnitude = np.abs(values)
    largest = float(magnitude.max(initial=0.0))
    bound = FLOAT32_MAX if limit is None else limit
    if largest <= bound:
        return largest
    position = tuple(int(i) for i in np.unravel_index(int(np.argmax(~(magnitude <= bound))), values.shape))
    text = f"{where} holds {float(values[position])} at {list(position)}, the limit is {bound:g}"
    if received:
        raise MalformedMessage(text)
    raise OutOfRange(f"{text}; nothing was sent. Lower the learning rate, normalise the inputs, or clip")
