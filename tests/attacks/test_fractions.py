"""Documented: who owns a key can put fractions into its ciphertexts, and no test by the other side sees them.

A result is rounded to a whole number, so it stays what it was, and so does every test of a share or of a form. What is
rounded away is the product of the fractions with the other side's factor: flooding is made for honest noise, and does
not hide it. So the tests' theorems assume ciphertexts and keys as an honest party makes them (`protocols/he/`), and
against others they say nothing: the owner reads c of a test, or the factor itself. A judge convicts of it, under bfv
and paillier, if the round is kept (`an opened operand`, below). In scheme "masked" nothing finds it.

What a test would have to be: products by random factors with a mask over the whole modulus, not of whole steps only,
and not scaled down before they are sent; compared are cells that are wide beside honest noise and narrow beside the
flooding, with masks that keep honest results off the borders of cells. So c stays hidden from any ciphertext, and what
fractions add is found as often as it leaves its cell. It takes replies of the whole modulus, some 290 kB each. That is
not built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext
from protocols.core.randomness import OsRandomness
from protocols.core.sender import Sender
from protocols.he import bfv_wire as wire
from protocols.he import paillier
from protocols.he.bfv_parts import read_parts
from protocols.he.bfv_wire import Kind
from protocols.he.interface import RING_BITS, RING_MASK, CiphertextBundle, MatrixShape, as_signed
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, TRIPLES, BfvParameters
from protocols.layer.equality import Comparison
from protocols.layer.parameters import LayerParameters
from protocols.layer.shapes import add, subtract
from protocols.schemes.masked import host as host_module
from protocols.schemes.masked.triples import PROJECTION
from protocols.schemes.shares.form_test import Pairing
from protocols.schemes.shares.relation_test import ternary
from protocols.schemes.shares.test_messages import SameShareQuery
from tests.attacks.test_masked_other_share import READING, SHIFT
from tests.protocols.he.bfv_helpers import backend, public, scaled_noise_as_sent, secret
from tests.protocols.schemes.masked.helpers import values
from tests.protocols.schemes.masked.test_share_tests import Whole

Fractions = Mapping[tuple[int, int], Fraction]
ROWS, D, O, DIGITS = 6, 4, 3, 12  # noqa: E741
ALWAYS = LayerParameters(check_every=0, test_shares_every=1)


def with_fractions(bundle: Any, owner: Any, shape: MatrixShape, fractions: Fractions, set_: BfvParameters) -> Any:
    """The encrypted operand with fractions added to entries [row, column]."""
    layout, _ = read_parts(bundle, Kind.OPERAND, shape, set_, owner._key_id)
    parts, primes = list(bundle.parts), set_.operand_primes
    for (row, column), fraction in fractions.items():
        (kt, a), (nt, j) = divmod(row, layout.k_tile), divmod(column, layout.n_tile)
        index, place = nt * layout.k_tiles + kt, j * layout.k_tile + a
        head, body = parts[index][: wire.HEADER_BYTES], parts[index][wire.HEADER_BYTES :]
        seed, c0 = wire.read_operand(body, set_, primes)
        more, c0 = round(fraction * prod(primes) / (1 << RING_BITS)), c0.copy()
        for line, prime in zip(c0, primes, strict=True):
            line[place] = (int(line[place]) + more) % prime
        parts[index] = head + seed + wire.pack_residues(c0, primes)
    return CiphertextBundle(tuple(parts))


def rounded_away(owner: Any, bundle: Any, shape: MatrixShape, set_: BfvParameters) -> NDArray[np.float64]:
    """What decryption rounds away of each result, in steps of one: -1/2 to 1/2."""
    layout, _ = read_parts(bundle, Kind.REPLY, shape, set_, owner._key_id)
    out = np.zeros((shape.m, shape.n))
    for index, part in enumerate(bundle.parts):
        found, at = scaled_noise_as_sent(owner, part, np.concatenate(layout.part_places(index))), 0
        for tile in layout.part(index):
            window = out[layout.window(*tile)]
            window[:] = (found[at : at + window.size] / 2**set_.reply_bits).astype(float).reshape(window.shape)
            at += window.size
    return out


def digits_of(rest: NDArray[np.float64]) -> int:
    """x mod 4^n, signed, of x / 4^k mod 1 for k = 1 to n; each may be off by an eighth. [n]."""
    found = 0
    for k, each in enumerate(rest, start=1):
        found += (round(float(each - found / 4**k) * 4) % 4) << 2 * (k - 1)
    return found - 4 ** len(rest) if found >= 4 ** len(rest) // 2 else found


class FractionOwner:
    """The host's key in scheme "masked": fractions go into operands of a shape, and what is rounded away is kept."""

    def __init__(self, run: Whole, fractions: Fractions) -> None:
        self.secret, self.fractions = run.host.triples._secret, dict(fractions)
        self.shape = run.host._tests._shapes.of_owner(Sender.HOST, ROWS)
        self.seen: dict[bytes, NDArray[np.float64]] = {}
        run.host.triples._secret = run.host._tests._products._secret = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.secret, name)

    def _is_its(self, shape: MatrixShape) -> bool:
        return (shape.k, shape.n) == (self.shape.k, self.shape.n)

    def encrypt(self, matrix: Any, shape: MatrixShape) -> Any:
        bundle = self.secret.encrypt(matrix, shape)
        return with_fractions(bundle, self.secret, shape, self.fractions, TRIPLES) if self._is_its(shape) else bundle

    def decrypt(self, bundle: Any, shape: MatrixShape) -> Any:
        out = self.secret.decrypt(bundle, shape)
        if self._is_its(shape):
            self.seen[out.tobytes()] = rounded_away(self.secret, bundle, shape, TRIPLES)
        return out


def answer_forms(run: Whole, owner: FractionOwner) -> None:
    """The host answers each test of the form by differences of its results before they are rounded."""
    form = run.host._tests._form

    def answer(decrypt: Callable[..., Any], query: Any, rows: int) -> Any:
        decrypted, pairing = decrypt(query.parts, rows), Pairing(query.seed, rows)
        rest, sign = owner.seen[decrypted.tobytes()], np.where(pairing._is_plus, 1, -1)
        more = np.rint(rest[pairing._first] - sign * rest[pairing._second]).astype(np.int64).view(np.uint64)
        value = add(pairing.differences(decrypted), more & RING_MASK)
        yield from Comparison(Sender.HOST, form._place(Sender.COLLABORATOR), value).prove(query.element, "the form")

    form.answer = answer  # type: ignore[method-assign]


def test_masked_fractions_of_a_mask_show_features() -> None:
    """The host opens its true share, every opening is tested, all tests pass; one feature of every row is read."""
    o, feature, read = 2 * DIGITS, 2, list[NDArray[np.float64]]()
    run = Whole(ROWS, D, o, bounds=ALWAYS)
    scales = [4 ** (n // 2 + 1) for n in range(o)]  # two columns for each digit
    owner = FractionOwner(run, {(feature, n): Fraction(1, scale) for n, scale in enumerate(scales)})
    answer_forms(run, owner)
    honest = run.host._products.projection

    def projection(message: Any, rows: int, triple: Any) -> Any:
        half = triple[PROJECTION]
        rest, exact, found = owner.seen[half.share.tobytes()], half.share.copy(), []
        for i in range(rows):
            turns = np.exp(2j * np.pi * rest[i]).reshape(DIGITS, 2).sum(axis=1)
            masked = int(message.features[i, feature])
            a = (masked + digits_of(np.angle(turns) / (2 * np.pi))) % 4**DIGITS
            found.append(a - 4**DIGITS if a >= 4**DIGITS // 2 else a)
            mask = (found[-1] - masked) % (1 << RING_BITS)  # A, all of it, as it is multiplied: signed
            mask -= mask >> RING_BITS - 1 << RING_BITS
            for n, scale in enumerate(scales):  # the honest half again, for the tests and the check of z
                off = round(float(Fraction(rest[i, n]) - Fraction(mask, scale) % 1)) - mask // scale
                exact[i, n] = (int(exact[i, n]) + off) & int(RING_MASK)
        read.append(np.array(found) / 2**16)
        half.share[:] = exact
        return honest(message, rows, triple)

    run.host._products.projection = projection  # type: ignore[method-assign]
    asked = [line for _ in range(3) for line in run.batch(ROWS, "step") if line.startswith("C")]
    assert asked == ["C Form", "C SameShare", *["C Form", "C Relation"] * 2]
    for each in read:
        assert np.abs(each - values(ROWS, ROWS, D)[:, feature]).max() <= 2.0**-17


def test_masked_fractions_show_what_a_share_is_tested_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another share passes every test from the first opening on, and reads features."""
    run = Whole(ROWS, D, O, bounds=ALWAYS)
    owner = FractionOwner(run, {(n, n): Fraction(1, 4) for n in range(O)})
    answer_forms(run, owner)
    tests, products, read = run.host._tests, run.host._products, list[Any]()
    opens, encrypts, receives = products.masked_share, tests._products.encrypt_share, products.projection
    honest = tests._answer

    def answer(message: Any) -> Any:
        if not owner.fractions or not isinstance(message, SameShareQuery):
            yield from honest(message)
            return
        shape, count = tests._shapes.share_test(Sender.COLLABORATOR, 0, ROWS)
        value = add(*(tests._products.decrypt_combined(each, 0) for each in (message.before, message.now)))
        size = len(message.now) // count
        pieces = [CiphertextBundle(message.now[at : at + size]) for at in range(0, len(message.now), size)]
        rest = np.concatenate([owner.seen[owner.secret.decrypt(each, shape).tobytes()] for each in pieces])
        combination = np.rint(rest[: len(value)] * 4).astype(np.int64)
        owner.fractions.clear()  # from here on the lie is the same in every opening
        value = subtract(value, (combination << SHIFT).view(np.uint64) & RING_MASK)
        yield from Comparison(Sender.HOST, tests._place(Sender.COLLABORATOR), value).prove(message.element, "same")

    def projection(*arguments: Any) -> Any:
        own = run.host._share.values
        run.host._share.values = add(own, READING)
        read.append(receives(*arguments))
        run.host._share.values = own
        return read[-1]

    tests._answer = answer  # type: ignore[method-assign]
    products.masked_share = lambda triple: replace(opens(triple), share=add(opens(triple).share, READING))  # type: ignore[method-assign]
    tests._products.encrypt_share = lambda own: encrypts(add(own, READING))  # type: ignore[method-assign]
    products.projection = projection  # type: ignore[method-assign]
    monkeypatch.setattr(host_module, "decode_projection", lambda spec, ring, bounds: np.zeros(ring.shape, np.float32))
    asked = [run.batch(ROWS, what) for what in ("step", "step", "test")]
    assert [len([line for line in each if line.startswith("C")]) for each in asked] == [2, 2, 2]
    run.talk(run.host.before_checkpoint(), run.collaborator.before_checkpoint())
    for z in read[1:]:  # in the first, fractions of A are left
        assert np.abs(as_signed(z) * 2.0 ** -(SHIFT + 16) - values(ROWS, ROWS, D)[:, :O]).max() < 0.05


def test_masked_a_tester_s_own_fractions_show_the_step() -> None:
    """A collaborator puts them into the image that it has multiplied by lr dz: RelationQuery, once a test."""
    run, row, read, shown = Whole(ROWS, D, O, bounds=ALWAYS), 2, list[Any](), list[Any]()
    products = run.collaborator._tests._products
    owner, encrypt, decrypt = products._secret, products.encrypt_image, products.decrypt_answer
    stepped = run.host._tests.stepped
    fractions = {(row, n): Fraction(1, 4 ** (n + 1)) for n in range(DIGITS)}

    def encrypt_image(image: Any, rows: int) -> Any:
        shape = products._shapes.test_answer(Sender.COLLABORATOR, rows)
        return with_fractions(CiphertextBundle(encrypt(image, rows)), owner, shape, fractions, TRIPLES).parts

    def decrypt_answer(parts: Any, rows: int) -> Any:
        shape, out = products._shapes.test_answer(Sender.COLLABORATOR, rows), decrypt(parts, rows).T.copy()
        rest = rounded_away(owner, CiphertextBundle(parts), shape, TRIPLES)
        read.append([digits_of(rest[j, :DIGITS]) for j in range(O)])
        for j, n in np.ndindex(O, DIGITS):
            more = round(float(rest[j, n]) - read[-1][j] / 4 ** (n + 1))
            out[j, n] = (int(out[j, n]) + more) & int(RING_MASK)
        return out.T

    def watched(factor: Any, moved: Any) -> None:
        shown.append(factor[row].tolist())
        stepped(factor, moved)

    products.encrypt_image, products.decrypt_answer = encrypt_image, decrypt_answer  # type: ignore[method-assign]
    run.host._tests.stepped = watched  # type: ignore[method-assign]
    for _ in range(3):
        run.batch(ROWS, "step")
    assert read == shown[:2]


def test_bfv_a_fraction_shows_what_a_share_is_tested_by_and_a_judge_convicts() -> None:
    shape = MatrixShape(40, 20, 20, 20, square_sum=40 * 20)
    owner, evaluator, randomness, feature = secret(TRAINING), public(TRAINING), OsRandomness(), 7
    honest = owner.encrypt(randomness.ring((20, 20), RING_BITS), shape)
    fractions = {(feature, n): Fraction(1, 3) for n in range(20)}
    operand = with_fractions(honest, owner, shape, fractions, TRAINING)
    combination, mask = ternary(randomness, 40, 20), randomness.ring((40, 20), RING_BITS)
    reply = evaluator.multiply_add(combination, evaluator.load_operand(operand, shape), mask, shape)
    rest = rounded_away(owner, reply, shape, TRAINING)
    found = np.angle(np.exp(2j * np.pi * rest).sum(axis=1)) / (2 * np.pi) * 3
    assert np.array_equal(np.rint(found).astype(int), combination[:, feature])
    opened = backend(TRAINING).open_key(owner.public_key(), owner.exported())
    with pytest.raises(InvalidCiphertext, match="noisier than a fresh encryption"):
        opened.operand(operand, shape)
    opened.operand(honest, shape)


def test_paillier_what_is_above_the_slots_shows_the_factor_and_a_judge_convicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheme, randomness, shape = paillier.PaillierBackend(PAILLIER_2048), OsRandomness(), MatrixShape(4, 5, 8, 22)
    owner = scheme.generate()
    top, honest = 8 * scheme.parameters.layout(shape).slot_bytes * shape.n + 30, paillier.pack

    def pack(matrix: Any, slot_bytes: int) -> Any:
        return [each + (1 << top + 40 * k) for k, each in enumerate(honest(matrix, slot_bytes))]

    with monkeypatch.context() as patched:
        patched.setattr(paillier, "pack", pack)
        operand = owner.encrypt(randomness.ring((5, 8), RING_BITS), shape)
    evaluator = scheme.load_public(owner.public_key())
    factor = randomness.ring((4, 5), 22).astype(np.int64) - (1 << 21)
    mask = randomness.ring((4, 8), RING_BITS)
    reply = evaluator.multiply_add(factor, evaluator.load_operand(operand, shape), mask, shape)
    layout, n = scheme.parameters.layout(shape), int(owner._key.public.n)
    for row, value in zip(factor, owner._key.decrypt(owner._public.read(reply, paillier.REPLY, layout)), strict=True):
        rest, found = (int(value) - (n if int(value) > n // 2 else 0)) >> top, []
        for _ in range(5):
            found.append((rest & ((1 << 40) - 1)) - (((rest >> 39) & 1) << 40))
            rest = (rest - found[-1]) >> 40
        assert found == row.tolist()
    with pytest.raises(InvalidCiphertext, match="not made by this protocol"):
        scheme.open_key(owner.public_key(), owner.exported()).operand(operand, shape)
