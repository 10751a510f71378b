"""How many bytes a message must have, given the task's parameters and the sizes that its entry repeats.

    Envelope    header fields, tag (2), varint, body
    body        the fields of the dataclass in proto3: tag (1) and varint, or tag, length and bytes; zeros left out

Ciphertexts have the lengths that `protocols.he.layout` and the parameter set give. Where a field's value is not in the
transcript (the exponent of a gradient, the size of an intersection) the range is that of its varint.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.he import paillier_parameters, parameters, seal_wire
from protocols.he.interface import RING_BITS, MatrixShape
from protocols.he.layout import Layout, best_layout, layout_with_tiles
from protocols.he.paillier_parameters import PaillierParameters
from protocols.he.parameters import BfvParameters
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import FeatureShape, InitialFactor, InitialShare, ProjectionKey, StepSkipped
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import LayerShapes
from protocols.psi.encode import POINT_BYTES, SESSION_BYTES, SUITE
from protocols.psi.messages import DIGEST_BYTES as PSI_DIGEST_BYTES
from protocols.psi.messages import PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.transitions import Stream
from protocols.schemes.encrypted.messages import (
    CheckQuery,
    CheckReply,
    CollaboratorShare,
    FeatureGradient,
    HostShare,
    Projection,
    StepGradient,
    WeightGradient,
)
from protocols.schemes.masked.messages import (
    MaskedCheck,
    MaskedFeatures,
    MaskedGradient,
    MaskedGradientFeatures,
    MaskedShare,
    MaskedStep,
    TripleOperand,
    TripleProduct,
    TripleRequest,
)
from protocols.schemes.masked.triples import KINDS, PRODUCTS
from protocols.schemes.plain.messages import PlainFeatures, PlainGradient
from protocols.task.abort import MAX_REASON, Abort
from protocols.task.alignment import DIGEST_BYTES, BatchOpen, EpochEnd, SplitDigest
from protocols.task.manifest import NONCE_BYTES, Hello, Manifest, ManifestAccepted
from protocols.task.resumption import MAX_OFFERED, SEAM_BYTES, TAG_BYTES
from protocols.task.rounds import FinishAcknowledged, RoundStart, TaskFinished
from protocols.transcript.facts import Facts
from protocols.transcript.messages import HASH_BYTES, MAX_SIGNATURE, MIN_SIGNATURE, Checkpoint, Countersignature
from protocols.transcript.records import Agreed
from protocols.transcript.wire_sizes import data, number, tensor, varint

Kind = type[Message]
Range = tuple[int, int]
Parts = tuple[int, ...]

_EXPONENT = (0, 11)
"""A negative int32 takes ten bytes, zero none."""


class _BfvSizes:
    """Lengths of the ciphertexts of one BFV parameter set."""

    def __init__(self, chosen: BfvParameters) -> None:
        self._set = chosen

    @property
    def key(self) -> int:
        """An encryption of zero, in the form of an operand's part."""
        body = seal_wire.SEED_BYTES + seal_wire.residues_size(self._set.degree, self._set.data_primes)
        return seal_wire.HEADER_BYTES + body

    def operand(self, shape: MatrixShape) -> Parts:
        return (self.key,) * best_layout(shape, self._set).operand_parts

    def reply(self, shape: MatrixShape, loaded: MatrixShape) -> Parts:
        """`loaded`: the shape that the operand was encrypted for, which sets the tiles."""
        tiles = best_layout(loaded, self._set)
        layout = layout_with_tiles(shape, self._set, tiles.k_tile, tiles.n_tile)
        groups, columns = divmod(layout.reply_parts, layout.n_tiles)[0], layout.n_tiles
        # Only the last group of rows and the last tile of columns are smaller than the others.
        whole, last = (self._row(layout, group, columns) for group in (0, groups - 1))
        return whole * (groups - 1) + last

    def _row(self, layout: Layout, group: int, columns: int) -> Parts:
        """The parts of one group of rows."""
        return (self._part(layout, group, 0),) * (columns - 1) + (self._part(layout, group, columns - 1),)

    def _part(self, layout: Layout, group: int, n_index: int) -> int:
        primes = self._set.reply_primes
        rows, columns = layout.window(group, n_index)
        places = (rows.stop - rows.start) * (columns.stop - columns.start)
        c0, c1 = (seal_wire.residues_size(count, primes) for count in (places, self._set.degree))
        return seal_wire.HEADER_BYTES + c0 + c1


class _PaillierSizes:
    """Lengths of the ciphertexts of one Paillier parameter set."""

    HEADER, KEY_HEADER = 32, 6

    def __init__(self, chosen: PaillierParameters) -> None:
        self._set = chosen

    @property
    def key(self) -> int:
        return self.KEY_HEADER + (1 if self._set.full_randomness else 2) * self._set.key_bytes

    def operand(self, shape: MatrixShape) -> Parts:
        return (self.HEADER + self._set.layout(shape).operand_ciphertexts * self._set.ciphertext_bytes,)

    def reply(self, shape: MatrixShape, loaded: MatrixShape) -> Parts:
        return (self.HEADER + self._set.layout(shape).reply_ciphertexts * self._set.ciphertext_bytes,)


def _ciphertexts(name: object) -> _BfvSizes | _PaillierSizes:
    if name in parameters.PARAMETER_SETS:
        return _BfvSizes(parameters.PARAMETER_SETS[str(name)])
    if name in paillier_parameters.PARAMETER_SETS:
        return _PaillierSizes(paillier_parameters.PARAMETER_SETS[str(name)])
    raise InvalidInput(f"there is no parameter set {name!r}")


class TaskSizes:
    """The lengths of one task's messages.

    Args:
        agreed: what the parties agreed on.

    Raises:
        InvalidInput: its scheme's parameters are unknown or out of range.
    """

    def __init__(self, agreed: Agreed) -> None:
        self._agreed = agreed
        self._encryption: _BfvSizes | _PaillierSizes | None = None
        self._bounds = LayerParameters()
        if agreed.scheme_parameters:
            self._read(agreed.scheme_parameters)
        self._sets: dict[Sender, Stream] = {}
        self._rows = self._width = self._first_rows = 0
        self._shapes: LayerShapes | None = None
        self._triples: dict[int, MatrixShape] = {}
        self._sums: dict[tuple[Kind, int, int], int] = {}

    def _read(self, text: str) -> None:
        try:
            values = json.loads(text)
            self._encryption = _ciphertexts(values.get("encryption", values.get("triples")))
            self._bounds = LayerParameters(**values["layer"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise InvalidInput("the scheme's parameters cannot be read") from error

    @property
    def _outputs(self) -> int:
        """o, columns of z."""
        return (self._agreed.projection_width or self._width) if self._agreed.has_projection else self._width

    def note(self, sender: Sender, kind: Kind, facts: Facts) -> None:
        """Take the sizes that a message announces. Raises `InvalidInput` if they are impossible."""
        if kind is BatchOpen:
            (self._rows,) = facts
        elif kind is PsiOpen:
            if not all(facts):
                raise InvalidInput("an empty set or chunk")
            self._sets[sender] = Stream(*facts)
        elif kind is FeatureShape:
            self.take_shape(*facts)

    def take_shape(self, rows: int, width: int) -> None:
        """The first training batch is [rows, width], as announced in this conversation or in one before it.

        Raises:
            InvalidInput: such a layer is impossible.
        """
        self._first_rows, self._width = rows, width
        self._sums.clear()
        if self._encryption is not None:
            self._lay_out()

    def _lay_out(self) -> None:
        d, o, rows = self._width, self._outputs, self._first_rows
        spec = LayerSpec(self._agreed.collaborator, d, o, rows, self._agreed.is_trainable, bytes(32))
        self._shapes = LayerShapes(spec, self._bounds)
        shapes = (
            MatrixShape(rows, d, o, RING_BITS),
            MatrixShape(d, rows, o, RING_BITS),
            MatrixShape(rows, o, d, RING_BITS),
        )
        self._triples = dict(enumerate(shapes))

    def bounds(self, sender: Sender, kind: Kind, facts: Facts) -> Range | None:
        """The fewest and most bytes of a message's body, or None if that cannot be told.

        Raises:
            InvalidInput: what the message says of itself is impossible in this task.
        """
        if kind in _SIMPLE:
            return _SIMPLE[kind](facts)
        if kind in _OF_AGREEMENT:
            return _OF_AGREEMENT[kind](self._agreed, facts)
        if kind in (PsiPoints, PsiDigests, PsiResult):
            return self._psi(sender, kind, facts)
        if not self._width:
            return None
        if kind in (PlainFeatures, PlainGradient):
            size = tensor((self._rows, self._width), 4)
            return size, size
        if self._encryption is None or self._shapes is None:
            return None
        if kind is ProjectionKey:
            size = data(self._encryption.key)
            return size, size
        if kind in _MASKED:
            return self._masked(kind, facts)
        return self._encrypted(kind, facts)

    def _psi(self, sender: Sender, kind: Kind, facts: Facts) -> Range | None:
        # Digests come in the host's chunks, for the host's points; a result has a bit for each of the collaborator's.
        owner = sender if kind is PsiPoints else sender.other
        stream = self._sets.get(owner)
        if stream is None:
            return None
        if kind is PsiResult:
            size = data(-(-stream.items // 8))
            return size, size + 1 + varint(stream.items)
        item = POINT_BYTES if kind is PsiPoints else PSI_DIGEST_BYTES
        size = number(facts[0]) + data(item * stream.size(facts[0]))
        return size, size

    def _encrypted(self, kind: Kind, facts: Facts) -> Range | None:
        size = self._sum(kind, facts)
        if size is None:
            return None
        if kind in (TripleOperand, TripleProduct):
            size += number(facts[0]) + data(len(PRODUCTS[facts[1]]))
            return size, size
        size += number(facts[0])
        if kind is CheckQuery:
            size += tensor((self._outputs,))
        elif kind is CheckReply:
            size += tensor((self._rows,))
        extra = _EXPONENT if kind is FeatureGradient else (0, 0)
        return size + extra[0], size + extra[1]

    def _sum(self, kind: Kind, facts: Facts) -> int | None:
        """Bytes of all ciphertexts in a message."""
        key = (kind, self._rows, facts[1] if kind in (TripleOperand, TripleProduct) else 0)
        known = self._sums.get(key)
        if known is None:
            parts = self._parts(kind, facts)
            if parts is None:
                return None
            if len(self._sums) >= 4096:
                self._sums.clear()
            known = self._sums[key] = sum(map(data, parts))
        return known

    def _parts(self, kind: Kind, facts: Facts) -> Parts | None:
        """The lengths of the ciphertexts in a message."""
        use, shapes, first, rows = self._encryption, self._shapes, self._first_rows, self._rows
        if use is None or shapes is None:
            return None
        if kind in (TripleOperand, TripleProduct):
            if facts[1] not in self._triples:
                raise InvalidInput("there is no such product")
            shape = self._triples[facts[1]]
            return use.operand(shape) if kind is TripleOperand else use.reply(shape, shape)
        operands: dict[Kind, Callable[[], MatrixShape]] = {
            InitialFactor: lambda: shapes.initial,
            HostShare: lambda: shapes.forward(first),
            CollaboratorShare: lambda: shapes.feature_gradient(first),
            StepGradient: lambda: shapes.weight_gradient(rows),
            CheckQuery: lambda: shapes.check(rows),
        }
        replies: dict[Kind, Callable[[], tuple[MatrixShape, MatrixShape]]] = {
            InitialShare: lambda: (shapes.initial, shapes.initial),
            Projection: lambda: (shapes.forward(rows), shapes.forward(first)),
            FeatureGradient: lambda: (shapes.feature_gradient(rows), shapes.feature_gradient(first)),
            WeightGradient: lambda: (shapes.weight_gradient(rows), shapes.weight_gradient(rows)),
            CheckReply: lambda: (shapes.check(rows), shapes.check(rows)),
        }
        if kind in operands:
            return use.operand(operands[kind]())
        return use.reply(*replies[kind]()) if kind in replies else None

    def _masked(self, kind: Kind, facts: Facts) -> Range:
        d, o, first = self._width, self._outputs, self._first_rows
        size = number(facts[0]) + number(facts[1])
        if kind is MaskedFeatures:
            _, _, rows, columns = facts
            if not 1 <= rows <= min(first, self._rows) or columns not in (1, o):
                raise InvalidInput(f"a piece of [{rows}, {columns}] in a batch of {self._rows} rows")
            size += tensor((rows, d)) + tensor((rows, columns))
        elif kind is MaskedGradient:
            rows = facts[2]
            if not 1 <= rows <= min(first, self._rows):
                raise InvalidInput(f"a piece of {rows} rows in a batch of {self._rows}")
            size += tensor((rows, o)) + tensor((rows, d))
            return size + _EXPONENT[0], size + _EXPONENT[1]
        elif kind is MaskedStep:
            size += number(min(facts[2], 1)) + tensor((first, o))
        else:
            sides: dict[Kind, tuple[tuple[int, ...], ...]] = {
                MaskedShare: ((o, d),),
                MaskedGradientFeatures: ((first, d),),
                MaskedCheck: ((o,), (d,)),
            }
            size += sum(map(tensor, sides[kind]))
        return size, size


def _exactly(size: Callable[[Facts], int]) -> Callable[[Facts], Range]:
    return lambda facts: (size(facts), size(facts))


_SIGNATURES = (data(MIN_SIGNATURE), data(MAX_SIGNATURE))
_SIMPLE: dict[Kind, Callable[[Facts], Range]] = {
    Abort: lambda facts: (9, data(4 * MAX_REASON) + 2 * data(400)),
    ManifestAccepted: _exactly(lambda facts: data(32)),
    PsiOpen: _exactly(lambda f: number(f[0]) + number(f[1]) + data(SESSION_BYTES) + data(len(SUITE))),
    SplitDigest: lambda facts: (4 * data(DIGEST_BYTES), 4 * data(DIGEST_BYTES) + 12),
    BatchOpen: lambda facts: (number(facts[0]), number(facts[0]) + data(DIGEST_BYTES)),
    **{kind: _exactly(lambda f: number(f[0])) for kind in (EpochEnd, TaskFinished, FinishAcknowledged)},
    RoundStart: _exactly(lambda f: sum(map(number, f))),
    FeatureShape: _exactly(lambda facts: number(facts[0]) + number(facts[1])),
    StepSkipped: _exactly(lambda facts: 0),
    TripleRequest: _exactly(lambda f: data(len(KINDS[f[0] % len(KINDS)])) + number(f[1]) + number(f[2])),
    Checkpoint: lambda f: _with_signature(number(f[0]) + 2 * data(HASH_BYTES)),
    Countersignature: lambda f: _with_signature(number(f[0]) + data(HASH_BYTES)),
}


def _with_signature(size: int) -> Range:
    return size + _SIGNATURES[0], size + _SIGNATURES[1]


@lru_cache(256)
def _text(value: str) -> int:
    return data(len(value.encode()))


def _hello(agreed: Agreed, facts: Facts) -> Range:
    is_resuming, checkpoints = facts
    if checkpoints > MAX_OFFERED or is_resuming > 1:
        raise InvalidInput(f"more than {MAX_OFFERED} checkpoints are offered")
    if (checkpoints or agreed.collaborator_seam) and not is_resuming:
        raise InvalidInput("only a resumed task has a past")
    past = 2 * is_resuming + checkpoints * data(TAG_BYTES) + data(len(agreed.collaborator_seam) // 2)
    texts = sum(map(_text, (agreed.task_id, agreed.collaborator, agreed.scheme)))
    flags = 2 * agreed.is_trainable + 2 * agreed.is_reproducible
    size = number(agreed.protocol_version) + texts + flags + data(NONCE_BYTES) + past
    return size, size


def _manifest(agreed: Agreed, facts: Facts) -> Range:
    """Within the range of what is not in the transcript: the widths, of one to three bytes each, and others' seams."""
    names = (agreed.task_id, agreed.scheme, agreed.scheme_parameters, agreed.id_normalisation, agreed.host)
    count = len(agreed.collaborators)
    size = number(agreed.protocol_version) + sum(map(_text, (*names, *agreed.collaborators)))
    size += data(SESSION_BYTES) + (count + 1) * data(NONCE_BYTES) + data(count) + 9
    size += 2 * agreed.has_projection + 2 * agreed.is_reproducible
    # These fields' numbers are beyond 15: their tags have two bytes.
    past = [data(len(agreed.resumed_from) // 2), *map(number, agreed.resumed_at)]
    size += sum(field + 1 for field in past if field) + (_SEAM if agreed.host_seam else _NO_SEAM)
    others = count - 1
    return size + data(count) + others * _NO_SEAM, size + data(3 * count) + others * _SEAM


_SEAM, _NO_SEAM = 1 + data(SEAM_BYTES), 3
"""In a list: two bytes of tag, and the length also of an empty one."""

_OF_AGREEMENT: dict[Kind, Callable[[Agreed, Facts], Range]] = {Hello: _hello, Manifest: _manifest}
_MASKED = frozenset({MaskedShare, MaskedFeatures, MaskedGradientFeatures, MaskedGradient, MaskedStep, MaskedCheck})
