"""Makes psi.json: one small PSI run, by a second implementation that shares no code with `protocols/psi`.

Field arithmetic is `pow` on Python integers, X25519 is the ladder of RFC 7748 section 5, the map is the generic
Elligator 2 of RFC 9380 section 6.7.1, the expansion is section 5.3.2 word by word. Only the (seeded, not secret) random
bytes come from the project. Run from the root of the repository: python -m tests.vectors.make_psi
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

from protocols.core.randomness import SeededRandomness

FILE = Path(__file__).with_name("psi.json")
P, A = 2**255 - 19, 486662
PAIR = hashlib.sha256(b"psi vector").digest()
HOST_IDS = ["alice", "bob", "id-0003", "Zo\u00eb", "7", "007", "only host"]
COLLABORATOR_IDS = ["007", "carol", "Zoe\u0308", "dave", "id-0003", "erin", "0x7", "frank", "only collaborator"]
CHUNK = 3


def expand_message_xof(message: bytes, dst: bytes, length: int) -> bytes:
    """RFC 9380, section 5.3.2, with SHAKE256."""
    shake = hashlib.shake_256()
    shake.update(message)
    shake.update(length.to_bytes(2, "big"))
    shake.update(dst)
    shake.update(len(dst).to_bytes(1, "big"))
    return shake.digest(length)


def elligator2(u: int) -> int:
    """RFC 9380, section 6.7.1, with Z = 2, J = 486662, K = 1; x only."""
    x1 = -A * pow(1 + 2 * u * u, -1, P) % P
    g = (x1**3 + A * x1**2 + x1) % P
    return x1 if pow(g, (P - 1) // 2, P) in (0, 1) else (-x1 - A) % P


def encode(message: bytes, dst: bytes) -> int:
    """Q.x of the suite curve25519_XOF:SHAKE256_ELL2_NU_."""
    return elligator2(int.from_bytes(expand_message_xof(message, dst, 48), "big") % P)


def x25519(scalar: bytes, u: int) -> int:
    """RFC 7748, section 5."""
    k = int.from_bytes(scalar, "little") & ~7 & (2**255 - 1) | 2**254
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return x2 * pow(z2, P - 2, P) % P


def draw(label: str, count: int) -> tuple[bytes, list[int]]:
    """The scalar, then the order: ranks of 128-bit keys whose low words come first."""
    random = SeededRandomness(1, label)
    scalar, raw = random.bytes(32), random.bytes(16 * count)
    words = [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]
    keys = [high << 64 | low for low, high in zip(words[:count], words[count:])]
    return scalar, sorted(range(count), key=keys.__getitem__)


def in_chunks(items: list[bytes]) -> list[str]:
    """Hex of consecutive chunks."""
    return [b"".join(items[at : at + CHUNK]).hex() for at in range(0, len(items), CHUNK)]


def make() -> dict[str, Any]:
    """The whole file."""
    dst = b"secure-hfl-psi-v2:curve25519_XOF:SHAKE256_ELL2_NU_:" + PAIR

    def masked(ids: list[str], scalar: bytes, order: list[int]) -> list[int]:
        points = [encode(unicodedata.normalize("NFC", name).encode(), dst) for name in ids]
        return [x25519(scalar, points[i]) for i in order]

    def digest(u: int) -> bytes:
        tag = b"secure-hfl-psi-v2:shared-point\x00\x00"
        return hashlib.sha256(tag + PAIR + u.to_bytes(32, "little")).digest()[:16]

    h, host_order = draw("psi host", len(HOST_IDS))
    c, collaborator_order = draw("psi collaborator", len(COLLABORATOR_IDS))
    host_points = masked(HOST_IDS, h, host_order)
    collaborator_points = masked(COLLABORATOR_IDS, c, collaborator_order)
    ours = [digest(x25519(c, u)) for u in host_points]
    theirs = [digest(x25519(h, u)) for u in collaborator_points]
    bits = sum(1 << j for j, d in enumerate(theirs) if d in ours)
    return {
        "pair": PAIR.hex(),
        "chunk": CHUNK,
        "host_ids": HOST_IDS,
        "collaborator_ids": COLLABORATOR_IDS,
        "host_points": in_chunks([u.to_bytes(32, "little") for u in host_points]),
        "collaborator_points": in_chunks([u.to_bytes(32, "little") for u in collaborator_points]),
        "digests": in_chunks(ours),
        "result": bits.to_bytes((len(theirs) + 7) // 8, "little").hex(),
        "host_learns": sorted(HOST_IDS[host_order[i]] for i, d in enumerate(ours) if d in theirs),
        "collaborator_learns": sorted(
            COLLABORATOR_IDS[collaborator_order[j]] for j, d in enumerate(theirs) if d in ours
        ),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n", encoding="ascii")
