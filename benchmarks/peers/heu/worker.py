"""sf-heu's numpy module: an encrypted matrix, one number a ciphertext, and its own matmul.

zpaillier          its Paillier, the default
zpaillier-split    the same with X = P - N of non-negative factors, a product each: a negative factor costs HEU eight
                   times a positive one, and who knows that can avoid it
ou                 Okamoto-Uchiyama, a faster schema of it; another assumption than Paillier's, and a plaintext of a
                   third of the key
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.worker import Matrices, Steps, answer, main, peak_mb, save_result

SCHEMAS = {"zpaillier": "ZPaillier", "zpaillier-split": "ZPaillier", "ou": "OU"}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Key owner and evaluator in one process; what they exchange is serialised."""
    import numpy as np
    from heu import numpy as hnp
    from heu import phe

    given, steps = Matrices(request), Steps(request["repeats"])
    owner = hnp.setup(getattr(phe.SchemaType, SCHEMAS[request["variant"]]), request["key_bits"])
    evaluator = hnp.setup(owner.public_key())
    factor = np.array(given.factor)
    parts = [factor]
    if request["variant"] == "zpaillier-split":
        parts = [np.maximum(factor, 0), np.maximum(-factor, 0)]

    def encode(kit: Any, matrix: Any) -> Any:
        return kit.array(np.array(matrix), kit.integer_encoder(1))

    def encrypt() -> bytes:
        return bytes(owner.encryptor().encrypt(encode(owner, given.matrix)).serialize())

    def product() -> bytes:
        compute = evaluator.evaluator()
        products = [compute.matmul(encode(evaluator, part), operand) for part in parts]
        total = products[0] if len(products) == 1 else compute.sub(*products)
        return bytes(compute.add(total, encode(evaluator, given.addend)).serialize())

    def decrypt() -> list[list[int]]:
        plain = owner.decryptor().decrypt(hnp.CiphertextArray.load_from(reply))
        return [[int(value) for value in row] for row in plain.to_numpy(phe.BigintDecoder())]

    sent = steps.measure("encrypt", encrypt, size=len, times=given.operand_times)
    operand = steps.measure("load", lambda: hnp.CiphertextArray.load_from(sent), times=given.operand_times)
    reply = steps.measure("product", product, times=given.product_times)
    steps.add("reply", 0.0, 0.0, bytes=len(reply), times=given.result_times)
    save_result(request, steps.measure("decrypt", decrypt, times=given.result_times))
    return answer(request, "heu", ("sf-heu", "numpy"), steps, {"both": peak_mb()}, schema=SCHEMAS[request["variant"]])


if __name__ == "__main__":
    main(measure)
