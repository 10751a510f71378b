"""Makes paillier.json: python -m tests.vectors.make_paillier

Keys and randomness are seeded, so this is repeatable, and NOT SECRET. Before a case is written, `phe` decrypts every
ciphertext, and encrypts it again with the same plaintext and randomness to the same number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gmpy2
from gmpy2 import mpz
from phe import paillier as phe

from protocols.core.randomness import SeededRandomness
from protocols.he.interface import CiphertextBundle, MatrixShape
from protocols.he.paillier import PaillierBackend, PaillierSecretSide
from protocols.he.paillier_math import OPERAND, REPLY, admissible
from protocols.he.paillier_parameters import PARAMETER_SETS
from tests.protocols.he.paillier_helpers import draw, reference

PATH = Path(__file__).with_name("paillier.json")

CASES = {
    "one ciphertext a row": ("paillier-2048", MatrixShape(2, 3, 5, 17)),
    "rows share a ciphertext": ("paillier-2048", MatrixShape(5, 2, 1, 12)),
    "several ciphertexts a row": ("paillier-2048", MatrixShape(1, 2, 20, 26)),
    "full randomness": ("paillier-2048-full", MatrixShape(1, 2, 2, 20)),
}


def seeded_primes(key_bits: int) -> tuple[mpz, mpz]:
    """The first admissible primes of a seeded stream. NOT SECRET."""
    source = SeededRandomness(key_bits, "vector primes")
    while True:
        p, q = (
            gmpy2.next_prime(mpz.from_bytes(source.bytes(key_bits // 16), "big").bit_set(key_bits // 2 - 1))
            for _ in range(2)
        )
        if admissible(p, q) and (p * q).bit_length() == key_bits:
            return p, q


def replay(
    name: str, shape: MatrixShape, p: int, q: int, inputs: Any
) -> tuple[PaillierSecretSide, CiphertextBundle, CiphertextBundle]:
    """Both sides of one product with seeded randomness."""
    factor, matrix, addend = inputs
    owner = PaillierBackend(PARAMETER_SETS[name], SeededRandomness(1, "vector owner")).from_primes(p, q)
    evaluator = PaillierBackend(PARAMETER_SETS[name], SeededRandomness(2, "vector evaluator")).load_public(
        owner.public_key()
    )
    operand = owner.encrypt(matrix, shape)
    return owner, operand, evaluator.multiply_add(factor, evaluator.load_operand(operand, shape), addend, shape)


def check_with_phe(owner: PaillierSecretSide, bundle: CiphertextBundle, kind: int, shape: MatrixShape) -> None:
    """Every ciphertext of a bundle is what `phe` makes of its plaintext and its n-th root, and decrypts alike."""
    p, q, n = int(owner._key.p), int(owner._key.q), int(owner._public.n)
    theirs = phe.PaillierPrivateKey(phe.PaillierPublicKey(n), p, q)
    ciphertexts = owner._public.read(bundle, kind, owner._public.parameters.layout(shape))
    for c, ours in zip(ciphertexts, owner._key.decrypt(ciphertexts), strict=True):
        plaintext = theirs.raw_decrypt(int(c))
        root = pow(int(c), pow(n, -1, (p - 1) * (q - 1)), n)
        assert plaintext == ours
        assert theirs.public_key.raw_encrypt(plaintext, r_value=root) == c


def make_case(title: str) -> dict[str, Any]:
    """One vector, checked."""
    name, shape = CASES[title]
    p, q = seeded_primes(PARAMETER_SETS[name].key_bits)
    inputs = draw(shape, SeededRandomness(3, f"vector inputs {title}"))
    owner, operand, reply = replay(name, shape, p, q, inputs)
    check_with_phe(owner, operand, OPERAND, shape)
    check_with_phe(owner, reply, REPLY, shape)
    result = owner.decrypt(reply, shape)
    assert (result == reference(*inputs)).all()
    return {
        "title": title,
        "parameters": name,
        "shape": [shape.m, shape.k, shape.n, shape.factor_bits],
        "p": f"{p:x}",
        "q": f"{q:x}",
        "factor": inputs[0].tolist(),
        "matrix": inputs[1].tolist(),
        "addend": inputs[2].tolist(),
        "public_key": owner.public_key().hex(),
        "operand": operand.parts[0].hex(),
        "reply": reply.parts[0].hex(),
        "result": result.tolist(),
    }


def main() -> None:
    cases = [make_case(title) for title in CASES]
    PATH.write_text(json.dumps({"note": "NOT SECRET: seeded keys", "cases": cases}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
