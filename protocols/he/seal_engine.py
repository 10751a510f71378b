"""SEAL's context for one parameter set, objects in and out of it, and a stock of what is made ahead of time.

sealapi loads and saves through paths only. Each load and save goes through an anonymous memory file that no other
thread or process uses at the time (`memfd_create`), so nothing reaches a disk and no name is shared. Files for loading
are reused, which spares the kernel from clearing fresh pages; they hold what this process holds anyway, until the next
load or the end of the engine. Files for saving are not: SEAL truncates them. This is the one exception to the rule that
`protocols` touches no file, and it needs Linux with /proc.
"""

from __future__ import annotations

import os
import struct
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols.core.errors import InvalidCiphertext, InvalidInput
from protocols.he import seal_wire as wire
from protocols.he.interface import RING_BITS
from protocols.he.parameters import BfvParameters
from protocols.he.seal_wire import Residues

Ring = NDArray[np.uint64]
Item = TypeVar("Item")


class Stock(Generic[Item]):
    """What is made ahead of time, each item for one use. Any number of threads may put and take at once.

    A child process that was forked gets an empty stock: what it inherited is its parent's to use.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._process = os.getpid()

    def _own(self) -> deque[Item]:
        if self._process != os.getpid():
            self._items, self._process = deque(), os.getpid()
        return self._items

    def put(self, item: Item) -> None:
        self._own().append(item)

    def take(self) -> Item | None:
        """An item that nobody else has or gets, or None: `popleft` is atomic."""
        try:
            return self._own().popleft()
        except IndexError:
            return None

    def __len__(self) -> int:
        return len(self._own())


@dataclass(frozen=True, repr=False)
class Zero:
    """A symmetric encryption of zero: c0 mod each data prime, and the seed of c1. Becomes one operand part."""

    c0: Residues
    seed: bytes


def _close(files: Stock[int]) -> None:
    while (file := files.take()) is not None:
        os.close(file)


class SealEngine:
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
        self._files: Stock[int] = Stock()
        # Not at exit, when this module may be half gone: the system closes them then.
        weakref.finalize(self, _close, self._files).atexit = False

    def load(self, target: Any, chunks: wire.Chunks) -> Any:
        """A SEAL object from bytes that were written here."""
        file = self._files.take()
        if file is None:
            file = os.memfd_create("seal")
        try:
            os.lseek(file, 0, os.SEEK_SET)
            for chunk in chunks:
                if os.write(file, chunk) != len(chunk):
                    raise OSError("a memory file took only a part of what was written; is memory short?")
            target.load(self.context, f"/proc/self/fd/{file}")
        finally:
            self._files.put(file)
        return target

    def save(self, source: Any) -> bytes:
        """A SEAL object's bytes in SEAL's format."""
        file = os.memfd_create("seal")
        try:
            source.save(f"/proc/self/fd/{file}")
            return os.pread(file, os.fstat(file).st_size, 0)
        finally:
            os.close(file)

    def plaintext(self, ring: Ring) -> Any:
        return self.load(seal.Plaintext(), wire.seal_plaintext(ring))

    def plaintext_ntt(self, ring: Ring) -> Any:
        """A factor in the form in which it multiplies operands."""
        plain = self.plaintext(ring)
        self.evaluator.transform_to_ntt_inplace(plain, self.data_id)
        return plain

    def ciphertext(self, halves: Residues | tuple[Residues, Residues], level: bytes) -> Any:
        c0, c1 = halves
        return self.load(seal.Ciphertext(self.context), wire.seal_ciphertext(level, c0, c1))

    def zero(self, encryptor: Any) -> Zero:
        """A fresh symmetric encryption of zero by the owner's encryptor."""
        saved = self.save(encryptor.encrypt_zero_symmetric())
        c0, seed = wire.saved_seeded(saved, len(self.parameters.data_primes), self.parameters.degree)
        return Zero(c0, seed)

    def seeded_body(self, zero: Zero) -> bytes:
        return zero.seed + wire.pack_residues(zero.c0, self.parameters.data_primes)

    def expanded(self, body: bytes) -> Residues:
        """Residues of c0 and c1 [2, primes, N] of a `seeded_body`, checked."""
        parameters = self.parameters
        ciphertext = self._load_seeded(body)
        return wire.saved_ciphertext(self.save(ciphertext), len(parameters.data_primes), parameters.degree)

    def load_seeded(self, body: bytes) -> Any:
        """A peer's `seeded_body`, checked, expanded and in NTT form."""
        ciphertext = self._load_seeded(body)
        self.evaluator.transform_to_ntt_inplace(ciphertext)
        return ciphertext

    def _load_seeded(self, body: bytes) -> Any:
        parameters = self.parameters
        seed, packed = body[: wire.SEED_BYTES], body[wire.SEED_BYTES :]
        (c0,) = wire.unpack_bodies(packed, parameters.data_primes, (parameters.degree,))
        if not c0.any(axis=1).all():
            raise InvalidCiphertext("a polynomial of the peer's is transparent: it is zero")
        return self.load(seal.Ciphertext(self.context), wire.seal_seeded(self.data_level, c0, seed))
