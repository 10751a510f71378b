"""A malformed message cannot be made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.schemes.masked import messages as m
from protocols.schemes.masked import triple_messages as t

RING = np.full((2, 3), (1 << 59) - 1, np.uint64)
VECTOR = RING[0].copy()
GOOD: dict[str, Message] = {
    "request": t.TripleRequest("train", 0, 1),
    "operand": t.TripleOperand(0, 1, "projection", (b"x",)),
    "product": t.TripleProduct(0, 2, "weight_gradient", (b"x", b"y")),
    "share": m.MaskedShare(0, 0, RING),
    "features": m.MaskedFeatures(0, 0, RING, RING[:, :1].copy()),
    "gradient features": m.MaskedGradientFeatures(0, 0, RING, RING),
    "gradient": m.MaskedGradient(0, 0, -200, RING, RING),
    "step": m.MaskedStep(0, 0, 1, RING, (RING,)),
    "check": m.MaskedCheck(0, 0, VECTOR, VECTOR),
    "check reply": m.MaskedCheckReply(0, 0, RING, bytes(32)),
}
TOO_LARGE = RING + np.uint64(1)
BAD_RINGS: tuple[Any, ...] = (
    TOO_LARGE,
    RING.astype(np.int64),
    RING.astype(np.float64),
    RING[:0],
    RING[None],
    RING.tolist(),
    None,
)
BAD_COUNTS: tuple[Any, ...] = (-1, 1 << 63, True, 1.0, "1", None)
BAD_PARTS: tuple[Any, ...] = ((), [b"x"], (b"",), ("x",), b"x", None, (b"x",) * ((1 << 16) + 1))

CASES: list[tuple[str, str, Any]] = [
    *(("request", "kind", bad) for bad in ("", "Train", "training", 1, None)),
    *(("request", "count", bad) for bad in (0, (1 << 10) + 1, True, None)),
    *((name, "count", bad) for name in ("operand", "product") for bad in (0, 3, 5, True, None)),
    *((name, "index", bad) for name in GOOD for bad in BAD_COUNTS if name != "check"),
    *((name, "product", bad) for name in ("operand", "product") for bad in ("", "forward", 0, None)),
    *((name, "parts", bad) for name in ("operand", "product") for bad in BAD_PARTS),
    *((name, "version", bad) for name in list(GOOD)[3:] for bad in BAD_COUNTS),
    *(("share", "share", bad) for bad in BAD_RINGS),
    *(("features", field, bad) for field in ("features", "projection") for bad in (*BAD_RINGS, RING[:1])),
    *(("gradient features", field, bad) for field in ("features", "share") for bad in BAD_RINGS),
    *(("gradient", field, bad) for field in ("gradient", "feature_gradient") for bad in (*BAD_RINGS, RING[:1])),
    *(("gradient", "exponent", bad) for bad in (-201, 129, 0.0, None)),
    *(("step", "step", bad) for bad in BAD_RINGS),
    *(("step", "ahead", bad) for bad in (*BAD_COUNTS, 0)),
    *(("step", "share", (bad,)) for bad in BAD_RINGS),
    *(("step", "share", bad) for bad in ((), (RING, RING), [RING], None)),
    *(("check", field, bad) for field in ("combination", "share") for bad in (TOO_LARGE[0], RING, VECTOR[:0], None)),
    *(("check reply", "features", bad) for bad in BAD_RINGS),
    *(("check reply", "element", bad) for bad in (b"", bytes(31), RING, None)),
]


@pytest.mark.parametrize(("name", "field", "bad"), CASES)
def test_a_bad_field_is_refused(name: str, field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=f"^{type(GOOD[name]).__name__}"):
        replace(GOOD[name], **{field: bad})  # type: ignore[arg-type]


def test_no_message_shows_its_tensors_in_an_error() -> None:
    with pytest.raises(InvalidInput) as caught:
        m.MaskedShare(0, 0, TOO_LARGE)
    assert str(int(TOO_LARGE[0, 0])) not in str(caught.value)
