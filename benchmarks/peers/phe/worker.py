"""Plain phe: loops over numbers, as its documentation has them."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.worker import Matrices, Steps, answer, main, peak_mb, save_result


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Key owner and evaluator in one process; ciphertexts stay Python objects.

    `c.ciphertext()` re-randomises by default, which is what whoever sends a reply calls: a step of its own.
    """
    from phe import paillier

    given, steps = Matrices(request), Steps(request["repeats"])
    public, private = paillier.generate_paillier_keypair(n_length=request["key_bits"])
    ciphertext_bytes = 2 * request["key_bits"] // 8

    def size(rows: list[list[Any]]) -> int:
        return sum(len(row) * ciphertext_bytes for row in rows)

    def encrypt() -> list[list[Any]]:
        return [[public.encrypt(value) for value in row] for row in given.matrix]

    def product() -> list[list[Any]]:
        columns = list(zip(*operand))
        return [
            [sum((c * x for x, c in zip(factor, column)), start=r) for column, r in zip(columns, addend)]
            for factor, addend in zip(given.factor, given.addend)
        ]

    def randomize() -> list[list[int]]:
        return [[number.ciphertext() for number in row] for row in reply]

    def decrypt() -> list[list[int]]:
        return [[private.decrypt(number) for number in row] for row in reply]

    operand = steps.measure("encrypt", encrypt, size=size, times=given.operand_times)
    reply = steps.measure("product", product, times=given.product_times)
    steps.measure("re-randomise", randomize, size=size, times=given.result_times, once=True)
    save_result(request, steps.measure("decrypt", decrypt, times=given.result_times))
    return answer(request, "phe", ("phe", "gmpy2"), steps, {"both": peak_mb()})


if __name__ == "__main__":
    main(measure)
