"""The kernel's number-theoretic transform: against its definition, and against SEAL's."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as seal
import zstandard

from protocols.core.errors import InvalidInput
from protocols.he.native.kernel import Kernel
from tests.protocols.he.native.reference import N, primes, times, value_at
from tests.protocols.he.native.setting import SETS, each_set, each_size, kernel, needs_kernel

pytestmark = needs_kernel


def random_rows(moduli: tuple[int, ...], number: int = 0) -> np.ndarray:
    source = np.random.default_rng(number)
    return np.stack([source.integers(0, p, N, dtype=np.uint64) for p in moduli])


@each_size
@each_set
def test_values_are_those_at_the_roots(name, size):
    own = kernel(name, size)
    rows = random_rows(own.primes)
    values = own.forward(rows.copy())
    for row, found, p in zip(rows.tolist(), values, own.primes, strict=True):
        for i in (0, 1, 63, 64, 4097, N - 1):
            assert found[i] == value_at(row, i, p)


@each_size
@each_set
def test_the_inverse_undoes_it_at_extremes(name, size):
    own = kernel(name, size)
    moduli = np.array(own.primes, np.uint64)[:, None]
    alternating = np.where(np.arange(N) % 2, moduli - np.uint64(1), np.uint64(0))
    one = np.zeros((len(moduli), N), np.uint64)
    one[:, 0] = 1
    largest = np.broadcast_to(moduli - np.uint64(1), (len(moduli), N))
    halves = np.broadcast_to(moduli // np.uint64(2), (len(moduli), N)) + (np.arange(N, dtype=np.uint64) & np.uint64(1))
    for rows in (np.zeros_like(one), one, largest, alternating, halves, random_rows(own.primes, 1)):
        values = own.forward(np.array(rows, order="C"))
        assert (values < moduli).all()
        assert (own.inverse(values) == rows).all()
    assert (own.forward(one.copy()) == 1).all()


@each_size
def test_every_instruction_set_gives_the_same(size):
    rows = random_rows(kernel(SETS[0], size).primes, 2)
    rows[:, :9] = np.array(kernel(SETS[0], size).primes, np.uint64)[:, None] - np.uint64(1)
    first = kernel(SETS[0], size).forward(rows.copy())
    for name in SETS[1:]:
        assert (kernel(name, size).forward(rows.copy()) == first).all()
        assert (kernel(name, size).inverse(first.copy()) == rows).all()


@each_set
def test_products_of_values_are_products_of_polynomials(name):
    own = kernel(name)
    a, b = random_rows(own.primes, 3), random_rows(own.primes, 4)
    values = [
        [x * y % p for x, y in zip(left, right, strict=True)]
        for left, right, p in zip(
            own.forward(a.copy()).tolist(), own.forward(b.copy()).tolist(), own.primes, strict=True
        )
    ]
    product = own.inverse(np.array(values, np.uint64))
    for row, left, right, p in zip(product.tolist(), a.tolist(), b.tolist(), own.primes, strict=True):
        assert row == [x % p for x in times(left, right)]


@pytest.mark.parametrize("bits", [47, 48, 50])
def test_seal_has_the_same_values_in_the_same_order(bits, tmp_path):
    """A ciphertext is written in SEAL's format, transformed by SEAL and read back."""
    moduli = primes(bits, 2)
    settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    settings.set_poly_modulus_degree(N)
    settings.set_coeff_modulus([seal.Modulus(p) for p in (*moduli, 65537)])
    settings.set_plain_modulus(1 << 20)
    context = seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)
    level = struct.pack("<4Q", *context.first_parms_id())
    c0, c1 = random_rows(moduli, 5), random_rows(moduli, 6)
    words = np.concatenate((c0.reshape(-1), c1.reshape(-1)))
    ciphertext = seal.Ciphertext(context)
    path = tmp_path / "ciphertext"
    path.write_bytes(
        _sealed(
            struct.pack("<32sBQQQdQ", level, 0, 2, N, 2, 1.0, 1)
            + _sealed(struct.pack("<Q", words.size) + words.tobytes())
        )
    )
    ciphertext.load(context, str(path))
    seal.Evaluator(context).transform_to_ntt_inplace(ciphertext)
    found = (
        np.array([ciphertext[i] for i in range(4)], np.uint64)
        if False
        else _saved(ciphertext, tmp_path / "saved", words.size)
    )
    for name in SETS:
        own = Kernel(moduli, scale_bits=76, drop_bits=11, flood_bits=83, instruction_set=name)
        assert (own.forward(c0.copy()) == found[0]).all()
        assert (own.forward(c1.copy()) == found[1]).all()


def _sealed(body: bytes) -> bytes:
    return struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 0, 0, 16 + len(body)) + body


def _saved(ciphertext: seal.Ciphertext, path: Path, count: int) -> np.ndarray:
    ciphertext.save(str(path))
    saved = path.read_bytes()
    body = saved[16:] if saved[5] == 0 else zstandard.ZstdDecompressor().decompressobj().decompress(saved[16:])
    return np.frombuffer(body, np.uint64, count, 73 + 16 + 8).reshape(2, 2, N)


def test_parameters_out_of_range_are_refused():
    good = {"scale_bits": 76, "drop_bits": 11, "flood_bits": 83}
    for moduli in (
        (),
        primes(48, 1) * 2,
        (primes(48, 1)[0] + 2,),
        (65537,),
        primes(48, 8),
        (primes(48, 1)[0] - 2 * N,),
        (1 << 60,),
        (-1,),
    ):
        with pytest.raises(InvalidInput):
            Kernel(moduli, **good)
    for change in (
        {"scale_bits": 60},
        {"scale_bits": 97},
        {"drop_bits": 21},
        {"drop_bits": -1},
        {"flood_bits": 63},
        {"flood_bits": 125},
        {"instruction_set": "mmx"},
    ):
        with pytest.raises(InvalidInput):
            Kernel(primes(48, 3), **{**good, **change})
