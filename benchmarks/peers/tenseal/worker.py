"""TenSEAL's own tensors. They multiply an encrypted matrix by a plain one from the right: M^T X^T.

    bfv_tensor     M^T batched over its n rows: one ciphertext for each of the k columns, a result for each row of X
    ckks_tensor    the same, approximate
    ckks_vector    a vector for each of the n rows of M^T and its `mm`, by rotations; the known way to multiply by a
                   matrix in TenSEAL. Its rotation keys are sent once

128 bits of security at degree 8192, the degree ours uses; one thread. R is added as a fresh encryption, which
re-randomises the reply; nothing floods its noise.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.worker import Matrices, Steps, answer, main, peak_mb, save_result

DEGREE = 8192
PLAIN_MODULUS = 1152921504606830593
"""A prime of 60 bits that allows batching: shares modulo a power of two do not fit it."""
CKKS_PRIMES = [60, 40, 60]
CKKS_SCALE = 2.0**40
FACTOR, MATRIX, RESULT = 2.0**16, 2.0**32, 2.0**48


def make_context(variant: str) -> Any:
    """Keys and parameters."""
    import tenseal as ts

    if variant == "bfv_tensor":
        return ts.context(ts.SCHEME_TYPE.BFV, DEGREE, plain_modulus=PLAIN_MODULUS, n_threads=1)
    context = ts.context(ts.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=CKKS_PRIMES, n_threads=1)
    context.global_scale = CKKS_SCALE
    if variant == "ckks_vector":
        context.generate_galois_keys()
    return context


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Key owner and evaluator in one process; what they exchange is serialised."""
    import numpy as np
    import tenseal as ts

    given, steps, variant = Matrices(request), Steps(request["repeats"]), request["variant"]
    owner = make_context(variant)
    evaluator = owner.copy()
    evaluator.make_context_public()
    scales = (1, 1, 1) if variant == "bfv_tensor" else (FACTOR, MATRIX, RESULT)
    factor, matrix, addend = (
        np.array(each) if scale == 1 else np.array(each) / scale
        for each, scale in zip((given.factor, given.matrix, given.addend), scales)
    )

    def tensors(context: Any, transposed: Any) -> list[Any]:
        if variant == "ckks_vector":
            return [ts.ckks_vector(context, row.tolist()) for row in transposed]
        batched = transposed[:, None, :].tolist()
        make = ts.bfv_tensor if variant == "bfv_tensor" else ts.ckks_tensor
        return [make(context, batched, batch=True)]

    load = getattr(ts, f"{variant}_from")

    def size(parts: list[bytes]) -> int:
        return sum(map(len, parts))

    def encrypt() -> list[bytes]:
        return [each.serialize() for each in tensors(owner, matrix.T)]

    def product() -> list[bytes]:
        plain, masks = factor.T.tolist(), tensors(evaluator, addend.T)
        return [(operand.mm(plain) + mask).serialize() for operand, mask in zip(operands, masks)]

    def decrypt() -> Any:
        plain = [load(owner, part).decrypt() for part in reply]
        if variant == "ckks_vector":
            return np.array(plain).T
        return np.array(plain[0].tolist()).reshape(addend.T.shape).T

    sent = steps.measure("encrypt", encrypt, size=size, times=given.operand_times)
    operands = steps.measure("load", lambda: [load(evaluator, part) for part in sent], times=given.operand_times)
    reply = steps.measure("product", product, times=given.product_times)
    steps.add("reply", 0.0, 0.0, bytes=size(reply), times=given.result_times)
    result = steps.measure("decrypt", decrypt, times=given.result_times)
    save_result(request, (result * scales[2]).tolist())
    keys = evaluator.serialize(save_relin_keys=False)
    return answer(
        request, "tenseal", ("tenseal", "numpy"), steps, {"both": peak_mb()}, degree=DEGREE, public_key_bytes=len(keys)
    )


if __name__ == "__main__":
    main(measure)
