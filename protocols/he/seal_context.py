"""SEAL's context for one parameter set, and objects in and out of it.

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
from collections.abc import Sequence
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols.core.errors import InvalidInput
from protocols.he import seal_objects as objects
from protocols.he.interface import RING_BITS
from protocols.he.parameters import BfvParameters
from protocols.he.residues import DECRYPTION_PRIMES
from protocols.he.seal_objects import Residues
from protocols.he.stock import Stock


def _close(files: Stock[int]) -> None:
    while (file := files.take()) is not None:
        os.close(file)


class SealContext:
    """SEAL's context for one parameter set, and objects in and out of it.

    Args:
        parameters: the set.
        primes: of ciphertexts; None: the set's data primes.
        special: the prime that SEAL sets apart, with which nothing is done; None: the set's.
        factor_bits: of the coefficients of factors. SEAL lifts them in half of the time where all primes are longer.
    """

    def __init__(
        self,
        parameters: BfvParameters,
        primes: tuple[int, ...] | None = None,
        special: int | None = None,
        factor_bits: int = RING_BITS,
    ) -> None:
        settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        settings.set_poly_modulus_degree(parameters.degree)
        self.primes = parameters.data_primes if primes is None else primes
        apart = parameters.special_prime if special is None else special
        settings.set_coeff_modulus([seal.Modulus(prime) for prime in (*self.primes, apart)])
        settings.set_plain_modulus(1 << factor_bits)
        self._factor_mask = np.uint64((1 << factor_bits) - 1)
        self.parameters = parameters
        self.context = seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise InvalidInput(f"SEAL refuses {parameters.name}: {self.context.parameters_error_message()}")
        self.evaluator = seal.Evaluator(self.context)
        self._levels = {}
        data = self.context.first_context_data()
        for count in range(len(self.primes), DECRYPTION_PRIMES - 1, -1):
            self._levels[count] = data.parms_id()
            data = data.next_context_data()
        self._version = objects.version_of(self.save(seal.Plaintext()))
        self._files: Stock[int] = Stock()
        # Not at exit, when this module may be half gone: the system closes them then.
        weakref.finalize(self, _close, self._files).atexit = False

    def load(self, target: Any, chunks: objects.Chunks) -> Any:
        """A SEAL object from bytes that were written here."""
        file = self._files.take()
        if file is None:
            file = os.memfd_create("seal")
        try:
            os.lseek(file, 0, os.SEEK_SET)
            if os.writev(file, chunks) != sum(map(len, chunks)):
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

    def plaintext(self, ring: NDArray[np.uint64], primes: int | None = None) -> Any:
        """A factor with coefficients [N], ring elements, in the form in which it multiplies ciphertexts.

        Args:
            ring: N coefficients, not all zero, within `factor_bits` once they are centred.
            primes: how many of the context's primes it is modulo; None: all.
        """
        plain = self.load(seal.Plaintext(), objects.plaintext(self._version, ring & self._factor_mask))
        level = self._levels[len(self.primes) if primes is None else primes]
        self.evaluator.transform_to_ntt_inplace(plain, level)
        return plain

    def ciphertext(self, polynomials: Sequence[Residues], ntt: bool = False) -> Any:
        """Two polynomials [primes, N] modulo the first primes. `ntt`: they are in transform form."""
        level = struct.pack("<4Q", *self._levels[len(polynomials[0])])
        return self.load(seal.Ciphertext(self.context), objects.ciphertext(self._version, level, polynomials, ntt))

    def polynomials(self, ciphertext: Any) -> Residues:
        """Residues [2, primes, N] of a ciphertext."""
        return objects.saved_ciphertext(self.save(ciphertext), ciphertext.coeff_modulus_size(), self.parameters.degree)
