"""The BFV backend: exact products in Z_{2^59} under encryption, through SEAL 4 (`tenseal.sealapi`).

    key owner (BfvSecret)                                          evaluator (BfvPublic)
    public_key()      -- 2 polynomials mod every prime ------->    load_public
    encrypt(M)        -- per tile: seed, c0 ------------------>    load_operand: check, expand, NTT
                                                                   multiply_add, per reply:
                                                                     mask  = encryption of zero + flooding   (stock)
                                                                     sum   = mask + sum_tiles X_tile * [M_tile]
                                                                     reply = sum + R, uniform where no result is
                                                                     drop primes, keep c0 at the results only
    decrypt           <- per reply: c0 at results, c1 ---------

**Leaks** (semi-honest): the evaluator sees ciphertexts under the owner's key, so nothing but sizes. The owner, who has
the secret key, sees c1 and the noise of c0 at the results. c1 is an RLWE sample: X * c1 plus a fresh public-key
encryption of zero, made by SEAL. The noise is flooded (`parameters`): within 2^-41 of uniform per result. Everything
after the flooding is a function of the flooded ciphertext. An owner who sends malformed operands or keys is outside
this model: what does not fit the format is refused, what fits but is not an encryption cannot be told apart.

**Files**: sealapi loads and saves through paths only. Each load and save goes through an anonymous memory file of its
own (`memfd_create`, closed at once), so nothing reaches a disk, no name is shared, and two threads do not meet. This is
the one exception to the rule that `protocols` touches no file, and it needs Linux with /proc. SEAL draws its keys and
errors from its own Blake2xb generator, seeded by the operating system; flooding and fill come from `randomness`.

Reference: Fan, Vercauteren (ePrint 2012/144); Cheetah (USENIX Security 2022); see `parameters` and `layout`.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols.errors import InvalidCiphertext, InvalidInput, OutOfRange
from protocols.he import seal_wire as wire
from protocols.he.interface import (
    RING_BITS,
    RING_MASK,
    Backend,
    CiphertextBundle,
    EncryptedOperand,
    MatrixShape,
    PublicSide,
    SecretSide,
)
from protocols.he.layout import Layout, best_layout, layout_with_tiles
from protocols.he.parameters import TRAINING, BfvParameters
from protocols.he.seal_wire import Header, Kind, Residues
from protocols.message import check_array
from protocols.randomness import OsRandomness, Randomness, expand

Ring = NDArray[np.uint64]


class _Seal:
    """SEAL's context for one parameter set, and objects in and out of it."""

    def __init__(self, parameters: BfvParameters) -> None:
        settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        settings.set_poly_modulus_degree(parameters.degree)
        settings.set_coeff_modulus([seal.Modulus(prime) for prime in parameters.primes])
        settings.set_plain_modulus(1 << RING_BITS)
        self.parameters = parameters
        self.context = seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise InvalidInput(f"SEAL refuses {parameters.name}: {self.context.parameters_error_message()}")
        self.evaluator = seal.Evaluator(self.context)
        self.key_level = struct.pack("<4Q", *self.context.key_parms_id())
        self.data_id = self.context.first_parms_id()
        self.data_level = struct.pack("<4Q", *self.data_id)
        data = self.context.first_context_data()
        for _ in range(len(parameters.data_primes) - parameters.reply_levels):
            data = data.next_context_data()
        self.reply_level = struct.pack("<4Q", *data.parms_id())

    def load(self, target: Any, raw: bytes) -> Any:
        """A SEAL object from bytes that were written here."""
        fd = os.memfd_create("seal")
        try:
            os.write(fd, raw)
            target.load(self.context, f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return target

    def save(self, source: Any) -> bytes:
        """A SEAL object's bytes in SEAL's format."""
        fd = os.memfd_create("seal")
        try:
            source.save(f"/proc/self/fd/{fd}")
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)

    def plaintext(self, ring: Ring) -> Any:
        return self.load(seal.Plaintext(), wire.seal_plaintext(ring))

    def ciphertext(self, polynomials: Residues, level: bytes) -> Any:
        return self.load(seal.Ciphertext(self.context), wire.seal_ciphertext(level, polynomials))


class _Private:
    """Refuses to be pickled and shows nothing of itself but its public name."""

    _shown: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._shown}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise InvalidInput(f"a {type(self).__name__} stays in its process; send its public key or ciphertexts instead")


def _check_parts(bundle: CiphertextBundle, what: str) -> tuple[object, ...]:
    parts = bundle.parts if isinstance(bundle, CiphertextBundle) else ()
    if not isinstance(parts, tuple) or not parts:
        raise InvalidCiphertext(f"the peer's {what} is not a bundle of ciphertexts")
    return parts


def _read_parts(
    bundle: CiphertextBundle, kind: Kind, shape: MatrixShape, parameters: BfvParameters, key_id: bytes
) -> tuple[Layout, list[bytes]]:
    """The bodies of a bundle's parts, and the layout that all of them name and that their number fits."""
    parts = _check_parts(bundle, kind.name.lower())
    first, _ = wire.parse(parts[0], kind, parameters, key_id, 0)
    best_layout(shape, parameters)  # a bad shape is this side's fault and must not be blamed on the peer
    try:
        layout = layout_with_tiles(shape, parameters, first.k_tile, first.n_tile)
    except InvalidInput as error:
        raise InvalidCiphertext(f"the peer's {kind.name.lower()} has an impossible layout: {error}") from None
    expected = layout.operand_parts if kind is Kind.OPERAND else layout.reply_parts
    if len(parts) != expected:
        raise InvalidCiphertext(f"the peer's {kind.name.lower()} has {len(parts)} ciphertexts, not {expected}")
    bodies = []
    for index, part in enumerate(parts):
        header, body = wire.parse(part, kind, parameters, key_id, index)
        if (header.k_tile, header.n_tile) != (layout.k_tile, layout.n_tile):
            raise InvalidCiphertext(f"part {index} of the peer's {kind.name.lower()} names other tiles than part 0")
        bodies.append(body)
    return layout, bodies


def _check_ring(name: str, value: NDArray[np.uint64], shape: tuple[int, int]) -> None:
    check_array(name, value, np.uint64, 2, shape)
    if (value > RING_MASK).any():
        raise OutOfRange(f"{name} has an entry that is not in Z_2^{RING_BITS}; reduce it first")


class BfvSecret(_Private, SecretSide):
    """A key pair, and the owner's half of the protocol. The secret key exists only inside SEAL."""

    def __init__(self, engine: _Seal) -> None:
        self._seal = engine
        parameters = engine.parameters
        generator = seal.KeyGenerator(engine.context)
        secret, public = generator.secret_key(), seal.PublicKey()
        generator.create_public_key(public)
        self._encryptor = seal.Encryptor(engine.context, secret)
        self._decryptor = seal.Decryptor(engine.context, secret)
        residues = wire.saved_ciphertext(engine.save(public), len(parameters.primes), parameters.degree)
        body = b"".join(wire.pack_residues(polynomial, parameters.primes) for polynomial in residues)
        self._public_key = Header(Kind.PUBLIC_KEY, parameters.identifier).to_bytes() + body
        self._key_id = wire.key_id_of(self._public_key)
        self._shown = f"{parameters.name} key {self._key_id.hex()}"

    def public_key(self) -> bytes:
        return self._public_key

    def encrypt(self, matrix: Ring, shape: MatrixShape) -> CiphertextBundle:
        """Encrypt M [k, n] symmetrically: c1 travels as a seed, which halves the bytes."""
        parameters = self._seal.parameters
        layout = best_layout(shape, parameters)
        _check_ring("the operand", matrix, (shape.k, shape.n))
        parts = []
        for index, polynomial in enumerate(layout.operand(matrix)):
            encrypted = self._encryptor.encrypt_symmetric(self._seal.plaintext(polynomial))
            saved = self._seal.save(encrypted)
            c0, seed = wire.saved_seeded(saved, len(parameters.data_primes), parameters.degree)
            header = Header(
                Kind.OPERAND, parameters.identifier, self._key_id, index, layout.k_tile, layout.n_tile
            ).to_bytes()
            parts.append(header + seed + wire.pack_residues(c0, parameters.data_primes))
        return CiphertextBundle(tuple(parts))

    def decrypt(self, reply: CiphertextBundle, shape: MatrixShape) -> Ring:
        parameters = self._seal.parameters
        layout, bodies = _read_parts(reply, Kind.REPLY, shape, parameters, self._key_id)
        out = np.empty((shape.m, shape.n), np.uint64)
        for index, body in enumerate(bodies):
            group, n_index = divmod(index, layout.n_tiles)
            places = layout.places(group, n_index)
            polynomials = self._polynomials(body, places)
            plain = seal.Plaintext()
            self._decryptor.decrypt(self._seal.ciphertext(polynomials, self._seal.reply_level), plain)
            values = wire.saved_plaintext(self._seal.save(plain), parameters.degree)[places]
            window = layout.window(group, n_index)
            out[window] = values.reshape(out[window].shape)
        return out

    def _polynomials(self, body: bytes, places: NDArray[np.int64]) -> Residues:
        """c0 (zero where nothing was sent) and c1 of one reply, [2, primes, N]."""
        parameters = self._seal.parameters
        primes = parameters.reply_primes
        c0, c1 = wire.unpack_bodies(body, primes, (len(places), parameters.degree))
        if not c1.any():
            raise InvalidCiphertext("the peer's reply is transparent: it is not encrypted")
        out = np.zeros((2, len(primes), parameters.degree), np.uint64)
        out[0][:, places] = c0
        out[1] = c1
        return out


class BfvOperand(EncryptedOperand):
    """A peer's [M], checked, in NTT form. `layout` holds the tiles its owner chose; other m may use it too."""

    def __init__(self, ciphertexts: list[Any], layout: Layout, key_id: bytes) -> None:
        self.ciphertexts = ciphertexts
        self.layout = layout
        self.key_id = key_id

    def tiles(self, n_index: int) -> list[Any]:
        """The ciphertexts of one n tile, by k tile."""
        return self.ciphertexts[n_index * self.layout.k_tiles : (n_index + 1) * self.layout.k_tiles]


class BfvPublic(_Private, PublicSide):
    """A peer's public key, the evaluator's half of the protocol, and its stock of masks."""

    def __init__(self, engine: _Seal, public_key: bytes, randomness: Randomness) -> None:
        parameters = engine.parameters
        _, body = wire.parse(public_key, Kind.PUBLIC_KEY, parameters, wire.NO_KEY, 0)
        halves = wire.unpack_bodies(body, parameters.primes, (parameters.degree, parameters.degree))
        if not all(half.any(axis=1).all() for half in halves):
            raise InvalidCiphertext("the peer's public key is transparent: half of it is zero")
        key = engine.load(seal.PublicKey(), wire.seal_ciphertext(engine.key_level, np.stack(halves), ntt=True))
        self._seal = engine
        self._encryptor = seal.Encryptor(engine.context, key)
        self._randomness = randomness
        self._key_id = wire.key_id_of(public_key)
        self._stock: deque[Any] = deque()
        self._shown = f"{parameters.name} key {self._key_id.hex()}"

    def load_operand(self, bundle: CiphertextBundle, shape: MatrixShape) -> BfvOperand:
        parameters = self._seal.parameters
        layout, bodies = _read_parts(bundle, Kind.OPERAND, shape, parameters, self._key_id)
        ciphertexts = []
        for body in bodies:
            seed, packed = body[: wire.SEED_BYTES], body[wire.SEED_BYTES :]
            (c0,) = wire.unpack_bodies(packed, parameters.data_primes, (parameters.degree,))
            raw = wire.seal_seeded(self._seal.data_level, c0, seed)
            ciphertext = self._seal.load(seal.Ciphertext(self._seal.context), raw)
            self._seal.evaluator.transform_to_ntt_inplace(ciphertext)
            ciphertexts.append(ciphertext)
        return BfvOperand(ciphertexts, layout, self._key_id)

    def prepare(self, shape: MatrixShape) -> int:
        """Make the masks of one product. They fit every shape: the count is of products of *this* shape in stock.

        It may be 0 when another thread has taken the masks already.
        """
        replies = best_layout(shape, self._seal.parameters).reply_parts
        for _ in range(replies):
            self._stock.append(self._make_mask())
        return len(self._stock) // replies

    def multiply_add(
        self, factor: NDArray[np.int64], operand: EncryptedOperand, addend: Ring, shape: MatrixShape
    ) -> CiphertextBundle:
        parameters = self._seal.parameters
        if not isinstance(operand, BfvOperand) or operand.key_id != self._key_id:
            raise InvalidInput("the operand was not loaded under this public key")
        layout = self._check_product(factor, operand.layout, addend, shape)
        fill = expand(self._randomness.seed())
        parts: list[bytes] = []
        for group in range(layout.groups):
            tiles = [self._factor(polynomial) for polynomial in layout.factor(factor, group)]
            for n_index in range(layout.n_tiles):
                places = layout.places(group, n_index)
                plain = fill.ring((parameters.degree,), RING_BITS)
                plain[places] = addend[layout.window(group, n_index)].reshape(-1)
                hidden = self._accumulate(tiles, operand.tiles(n_index))
                self._seal.evaluator.add_plain_inplace(hidden, self._seal.plaintext(plain))
                header = Header(
                    Kind.REPLY, parameters.identifier, self._key_id, len(parts), layout.k_tile, layout.n_tile
                )
                parts.append(header.to_bytes() + self._reply_body(hidden, places))
        return CiphertextBundle(tuple(parts))

    def _check_product(
        self, factor: NDArray[np.int64], loaded: Layout, addend: Ring, shape: MatrixShape
    ) -> Layout:
        if (loaded.shape.k, loaded.shape.n) != (shape.k, shape.n):
            raise InvalidInput(
                f"the operand is [{loaded.shape.k}, {loaded.shape.n}], not [{shape.k}, {shape.n}] as the product asks"
            )
        layout = layout_with_tiles(shape, self._seal.parameters, loaded.k_tile, loaded.n_tile)
        check_array("the factor", factor, np.int64, 2, (shape.m, shape.k))
        limit = (1 << shape.factor_bits) - 1
        if factor.min() < -limit or factor.max() > limit:
            raise OutOfRange(f"the factor has an entry of 2^{shape.factor_bits} or more; declare more factor_bits")
        _check_ring("the addend", addend, (shape.m, shape.n))
        return layout

    def _factor(self, polynomial: Ring) -> Any:
        """A factor tile in NTT form, or None where it is all zero, because SEAL refuses to multiply by that."""
        if not polynomial.any():
            return None
        plain = self._seal.plaintext(polynomial)
        self._seal.evaluator.transform_to_ntt_inplace(plain, self._seal.data_id)
        return plain

    def _accumulate(self, tiles: list[Any], operands: list[Any]) -> Any:
        """mask + sum over k tiles, out of NTT form: re-randomised and flooded."""
        evaluator = self._seal.evaluator
        total, product = self._take_mask(), seal.Ciphertext(self._seal.context)
        for tile, operand in zip(tiles, operands, strict=True):
            if tile is not None:
                evaluator.multiply_plain(operand, tile, product)
                evaluator.add_inplace(total, product)
        evaluator.transform_from_ntt_inplace(total)
        return total

    def _reply_body(self, hidden: Any, places: NDArray[np.int64]) -> bytes:
        """Drop primes, then keep of c0 what carries results: the rest does not exist for the key owner."""
        parameters = self._seal.parameters
        for _ in range(len(parameters.data_primes) - parameters.reply_levels):
            self._seal.evaluator.mod_switch_to_next_inplace(hidden)
        residues = wire.saved_ciphertext(self._seal.save(hidden), parameters.reply_levels, parameters.degree)
        primes = parameters.reply_primes
        return wire.pack_residues(residues[0][:, places], primes) + wire.pack_residues(residues[1], primes)

    def _take_mask(self) -> Any:
        """A mask that nobody else has or gets: `popleft` is atomic, and a mask is consumed where it is taken."""
        try:
            return self._stock.popleft()
        except IndexError:
            return self._make_mask()

    def _make_mask(self) -> Any:
        """A fresh public-key encryption of zero with flooding on every coefficient of c0, in NTT form."""
        parameters = self._seal.parameters
        mask = seal.Ciphertext(self._seal.context)
        self._encryptor.encrypt_zero(mask)
        noise = np.zeros((2, len(parameters.data_primes), parameters.degree), np.uint64)
        noise[0] = flooding_noise(expand(self._randomness.seed()), parameters)
        self._seal.evaluator.add_inplace(mask, self._seal.ciphertext(noise, self._seal.data_level))
        self._seal.evaluator.transform_to_ntt_inplace(mask)
        return mask


def flooding_noise(stream: Randomness, parameters: BfvParameters) -> Residues:
    """Integers uniform in [-2^flood_bits, 2^flood_bits), one per coefficient, as residues [data primes, N]."""
    low_bits = parameters.flood_bits + 1 - 64
    high, low = stream.ring((parameters.degree,), 64), stream.ring((parameters.degree,), low_bits)
    out = np.empty((len(parameters.data_primes), parameters.degree), np.uint64)
    for row, prime in zip(out, parameters.data_primes, strict=True):
        p, room = np.uint64(prime), 64 - prime.bit_length()
        row[:] = high % p
        for shift in range(low_bits, 0, -room):  # Horner: as many bits at a time as fit above the residue
            take = min(room, shift)
            chunk = (low >> np.uint64(shift - take)) & np.uint64((1 << take) - 1)
            row[:] = ((row << np.uint64(take)) | chunk) % p
        row[:] = (row + np.uint64(-(1 << parameters.flood_bits) % prime)) % p
    return out


class BfvBackend(Backend):
    """BFV under one named parameter set. Making one takes some 50 ms; share it between key pairs.

    Args:
        parameters: `TRAINING` for small factors, `TRIPLES` for factors that fill the ring.
        randomness: source of the seeds for flooding and fill; SEAL has its own for keys and errors.
    """

    name = "bfv"

    def __init__(self, parameters: BfvParameters = TRAINING, randomness: Randomness | None = None) -> None:
        self.parameters = parameters
        self._seal = _Seal(parameters)
        self._randomness = OsRandomness() if randomness is None else randomness

    def generate(self, randomness_label: str = "") -> BfvSecret:
        """A fresh key pair. SEAL seeds itself from the operating system, so the label changes nothing."""
        return BfvSecret(self._seal)

    def load_public(self, public_key: bytes) -> BfvPublic:
        return BfvPublic(self._seal, public_key, self._randomness)

    def check(self, shape: MatrixShape) -> None:
        best_layout(shape, self.parameters)
