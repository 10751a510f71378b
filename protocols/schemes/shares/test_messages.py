"""Messages of the tests of shares and of what ciphertexts hold, in the schemes of secret-shared weights.

Each has a file of its own, with its diagram and theorem: here relation_test.py, share_marks.py, form_test.py;
protocols/schemes/encrypted/share_test.py and protocols/schemes/masked/share_tests.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput
from protocols.core.ledger import EITHER_KEY, HOST_KEY, ciphertext
from protocols.core.message import Message
from protocols.core.randomness import SEED_BYTES
from protocols.core.sender import Sender
from protocols.core.sizes import Range, Recorded, TaskSizes
from protocols.core.wire_format import Uint32, Uint64, wire
from protocols.he.interface import MatrixShape
from protocols.layer.messages import (
    COMPARED,
    ELEMENT_BYTES,
    FLOODED,
    MAX_ROWS,
    SEMANTIC,
    CiphertextMessage,
    laid_out,
    layer_bounds,
    layer_distance,
)
from protocols.layer.sizes import LaidOut
from protocols.wire.sizes import data, number

T = TypeVar("T")
M = TypeVar("M", int, Distance)


def _test_products(layer: LaidOut, rows: int) -> tuple[tuple[MatrixShape, MatrixShape], ...]:
    """The shapes of a test's products, each with what its operand was encrypted for; `rows` of the step."""
    shapes = layer.shapes
    share = shapes.tested_share(Sender.COLLABORATOR, rows), shapes.forward(layer.first_rows)
    return share, (shapes.step_test(rows), shapes.weight_gradient(rows)), share


def _test_size(layer: LaidOut, recorded: Recorded) -> int:
    version, rows = recorded
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidInput(f"a step of {rows} rows")
    sizes = sum(layer.sizes.reply(*each) for each in _test_products(layer, rows))
    return number(version) + number(rows) + sizes + data(ELEMENT_BYTES)


def _test_distance(layer: LaidOut, recorded: Recorded) -> Distance:
    old, step, new = (layer.sizes.distance(*each) for each in _test_products(layer, recorded[1]))
    return old + step + new


@wire(
    69,
    ledger=ciphertext(HOST_KEY, f"{FLOODED} What it decrypts to is masked by fresh uniform matrices. {COMPARED}"),
    recorded=("version", "rows"),
    bounds=layer_bounds(_test_size),
    distance=layer_distance(_test_distance),
)
@dataclass(frozen=True)
class ShareQuery(Message):
    """The collaborator's test of a new [U] (protocols/schemes/encrypted/share_test.py).

    Secret combinations of the old [U], of the step of `rows` rows between them, and of the new [U] of this version,
    each under a fresh mask; and the element of a comparison, for the sum of the masks.

    **Leaks** nothing: what it decrypts to is uniform, and adds up to what is compared.
    """

    is_question = True

    version: Uint64
    rows: Uint32
    old: tuple[bytes, ...]
    step: tuple[bytes, ...]
    new: tuple[bytes, ...]
    element: bytes

    def __post_init__(self) -> None:
        for parts in (self.old, self.step, self.new):
            CiphertextMessage(self.version, parts)
        self.require_int("rows", 1, MAX_ROWS)
        self.require_bytes("element", ELEMENT_BYTES)


def _check_rows(rows: int) -> None:
    if not 0 <= rows <= MAX_ROWS:
        raise InvalidInput(f"a test of the share after a step of {rows} rows")


def _of_share(
    layer: LaidOut, tester: Sender, rows: int, measure: Callable[[MatrixShape, MatrixShape], M], none: M
) -> M:
    """Of the products of one test with a share: of their shape, and what the share was encrypted for."""
    _check_rows(rows)
    shapes, first = layer.shapes, layer.first_rows
    loaded = shapes.forward(first) if tester is Sender.COLLABORATOR else shapes.feature_gradient(first)
    shape, count = shapes.share_test(tester, rows, first)
    return sum((measure(shape, loaded) for _ in range(count)), none)


def _share_size(layer: LaidOut, tester: Sender, rows: int) -> int:
    """Bytes of [c P + m]_O."""
    return _of_share(layer, tester, rows, layer.sizes.reply, 0)


def _share_distance(layer: LaidOut, tester: Sender, rows: int) -> Distance:
    return _of_share(layer, tester, rows, layer.sizes.distance, Distance())


def _answer_shape(layer: LaidOut, tester: Sender, rows: int) -> MatrixShape:
    _check_rows(rows)
    return layer.shapes.test_answer(tester, rows)


def _head(recorded: Recorded) -> int:
    return number(recorded[0]) + number(recorded[1])


def _of_layer(of: Callable[[LaidOut, Sender, Recorded], T]) -> Callable[[TaskSizes, Sender, Recorded], T | None]:
    """What a layer's sizes, who sends, and the recorded fields say."""

    def measure(task: TaskSizes, sender: Sender, recorded: Recorded) -> T | None:
        layer = laid_out(task)
        return None if layer is None else of(layer, sender, recorded)

    return measure


def _query_bounds(layer: LaidOut, sender: Sender, recorded: Recorded) -> Range:
    rows = recorded[1]
    answer = layer.sizes.operand(_answer_shape(layer, sender, rows))
    size = (1 + bool(rows)) * _share_size(layer, sender, rows) + answer + _head(recorded)
    return size, size


def _query_distance(layer: LaidOut, sender: Sender, recorded: Recorded) -> Distance:
    rows = recorded[1]
    return _share_distance(layer, sender, rows) * (1 + bool(rows))


def _reply_bounds(layer: LaidOut, sender: Sender, recorded: Recorded) -> Range:
    answer = _answer_shape(layer, sender.other, recorded[1])
    size = layer.sizes.reply(answer) + _head(recorded) + data(ELEMENT_BYTES)
    return size, size


def _reply_distance(layer: LaidOut, sender: Sender, recorded: Recorded) -> Distance:
    return layer.sizes.distance(_answer_shape(layer, sender.other, recorded[1]))


@wire(
    70,
    ledger=ciphertext(EITHER_KEY, f"{FLOODED} {SEMANTIC} What its receiver decrypts to is masked by uniform matrices."),
    recorded=("version", "rows"),
    bounds=_of_layer(_query_bounds),
    distance=_of_layer(_query_distance),
)
@dataclass(frozen=True)
class RelationQuery(Message):
    """One party's test of the share that the other holds (protocols/schemes/shares/relation_test.py).

    Attributes:
        rows: of the step behind which it tests; 0: it tests the first share.
        before: [-c P + m]_O of the share before the step, under its owner's key; none for the first share.
        now: [c P + m]_O of the share of this version.
        image: [(c G)^T]_T, under the sender's own key.

    **Leaks** nothing: what the receiver can decrypt is masked by fresh uniform matrices.
    """

    version: Uint64
    rows: Uint32
    before: tuple[bytes, ...]
    now: tuple[bytes, ...]
    image: tuple[bytes, ...]

    def __post_init__(self) -> None:
        self.require_int("rows", 0, MAX_ROWS)
        for parts in (self.now, self.image, *([self.before] if self.rows else [])):
            CiphertextMessage(self.version, parts)
        self.require(bool(self.rows) or self.before == (), "there is no share before the first one")


@wire(
    71,
    ledger=ciphertext(EITHER_KEY, f"{FLOODED} What it decrypts to is masked by a fresh uniform matrix. {COMPARED}"),
    recorded=("version", "rows"),
    bounds=_of_layer(_reply_bounds),
    distance=_of_layer(_reply_distance),
)
@dataclass(frozen=True)
class RelationReply(CiphertextMessage):
    """[(c G F + s)^T]_T, the answer to a `RelationQuery`, and the element of a comparison, for c P + m + s.

    **Leaks** nothing: what it decrypts to is uniform, and the tester knows what is compared, if the relation holds.
    """

    rows: Uint32
    element: bytes

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_int("rows", 0, MAX_ROWS)
        self.require_bytes("element", ELEMENT_BYTES)


def _mark_bounds(layer: LaidOut, sender: Sender, recorded: Recorded) -> Range:
    size = _share_size(layer, sender, 0) + number(recorded[0])
    return size, size


def _mark_query_bounds(layer: LaidOut, sender: Sender, recorded: Recorded) -> Range:
    low, high = _mark_bounds(layer, sender, recorded)
    return low + data(ELEMENT_BYTES), high + data(ELEMENT_BYTES)


def _mark_distance(layer: LaidOut, sender: Sender, recorded: Recorded) -> Distance:
    return _share_distance(layer, sender, 0)


@wire(
    82,
    ledger=ciphertext(EITHER_KEY, f"{FLOODED} What it decrypts to is masked by a fresh uniform matrix."),
    recorded=("version",),
    bounds=_of_layer(_mark_bounds),
    distance=_of_layer(_mark_distance),
)
@dataclass(frozen=True)
class ShareMark(CiphertextMessage):
    """[c P + m]_O before a checkpoint, of the receiver's share P (protocols/schemes/shares/share_marks.py).

    **Leaks** nothing: what it decrypts to is uniform. The receiver keeps it.
    """


@wire(
    83,
    ledger=ciphertext(EITHER_KEY, f"{FLOODED} What it decrypts to is masked by a fresh uniform matrix. {COMPARED}"),
    recorded=("version",),
    bounds=_of_layer(_mark_query_bounds),
    distance=_of_layer(_mark_distance),
)
@dataclass(frozen=True)
class MarkQuery(CiphertextMessage):
    """[c P + m']_O behind a resumption, by the c of a `ShareMark`, and the element of a comparison, for m' - m.

    **Leaks** nothing: what it decrypts to is uniform, and differs from what the receiver has kept by what is compared.
    """

    is_question = True

    element: bytes

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_bytes("element", ELEMENT_BYTES)


def _same_bounds(layer: LaidOut, sender: Sender, recorded: Recorded) -> Range:
    size = 2 * _share_size(layer, sender, 0) + number(recorded[0]) + data(ELEMENT_BYTES)
    return size, size


def _same_distance(layer: LaidOut, sender: Sender, recorded: Recorded) -> Distance:
    return _share_distance(layer, sender, 0) * 2


@wire(
    140,
    ledger=ciphertext(EITHER_KEY, f"{FLOODED} What it decrypts to is masked by fresh uniform matrices. {COMPARED}"),
    recorded=("version",),
    bounds=_of_layer(_same_bounds),
    distance=_of_layer(_same_distance),
)
@dataclass(frozen=True)
class SameShareQuery(Message):
    """One party's test that two openings of one version are of one share (protocols/schemes/masked/share_tests.py).

    Attributes:
        before: [m1 - c P]_O of the opening before.
        now: [c P + m2]_O of this one.
        element: of a comparison, for m1 + m2.

    **Leaks** nothing: what it decrypts to is uniform, and adds up to what is compared.
    """

    is_question = True

    version: Uint64
    before: tuple[bytes, ...]
    now: tuple[bytes, ...]
    element: bytes

    def __post_init__(self) -> None:
        for parts in (self.before, self.now):
            CiphertextMessage(self.version, parts)
        self.require_bytes("element", ELEMENT_BYTES)


def _form_shape(layer: LaidOut, sender: Sender, recorded: Recorded) -> tuple[MatrixShape, MatrixShape]:
    """Of the product that tests a form, and what the share was encrypted for."""
    rows = recorded[1]
    if not 2 <= rows <= MAX_ROWS:
        raise InvalidInput(f"a test of the form for a batch of {rows} rows")
    shapes = layer.shapes
    of = shapes.forward if sender is Sender.COLLABORATOR else shapes.feature_gradient
    return of(rows), of(layer.first_rows)


def _form_bounds(layer: LaidOut, sender: Sender, recorded: Recorded) -> Range:
    fixed = _head(recorded) + data(SEED_BYTES) + data(ELEMENT_BYTES)
    size = layer.sizes.reply(*_form_shape(layer, sender, recorded)) + fixed
    return size, size


def _form_distance(layer: LaidOut, sender: Sender, recorded: Recorded) -> Distance:
    return layer.sizes.distance(*_form_shape(layer, sender, recorded))


@wire(
    84,
    ledger=ciphertext(EITHER_KEY, f"{FLOODED} What it decrypts to is masked by a fresh uniform matrix. {COMPARED}"),
    recorded=("version", "rows"),
    bounds=_of_layer(_form_bounds),
    distance=_of_layer(_form_distance),
)
@dataclass(frozen=True)
class FormQuery(Message):
    """One party's test that the other's ciphertexts hold a matrix (protocols/schemes/shares/form_test.py).

    Attributes:
        rows: of the batch that comes next.
        seed: of which rows are compared.
        parts: [X P + M]_O, in the shape of that batch.
        element: of a comparison, for differences of rows of M.

    **Leaks** nothing: what it decrypts to is uniform, and what is compared the sender knows.
    """

    is_question = True

    version: Uint64
    rows: Uint32
    seed: bytes
    parts: tuple[bytes, ...]
    element: bytes

    def __post_init__(self) -> None:
        CiphertextMessage(self.version, self.parts)
        self.require_int("rows", 2, MAX_ROWS)
        self.require_bytes("seed", SEED_BYTES)
        self.require_bytes("element", ELEMENT_BYTES)
